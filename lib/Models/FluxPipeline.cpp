//===- FluxPipeline.cpp - FLUX.1 from tokens and noise to pictures
//----------------------------------------------------===//
//
// diffusers' FluxPipeline as one function: both texts are encoded, the transformer takes its steps in a loop, the
// autoencoder decodes. What no step changes is outside of the loop. Between the models numbers are rounded where the
// pipeline of libflame_diffusion rounds them, which is where diffusers does.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/ControlBuilder.h"
#include "flame/Models/Networks.h"

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

constexpr int64_t kPatch = 2; // latent pixels each way that make a token

/// Latents [B, C, H, W] as tokens [B, H W / 4, C * 4]: a patch of all channels each.
Value pack(const Scope &m, Value latents, DimExpr rows, DimExpr columns) {
  DimExpr batch = m->dim(latents, 0), channels = m->dim(latents, 1), patch = m->shapes.constant(kPatch);
  Value patches = m->reshape(latents, {batch, channels, rows, patch, columns, patch});
  return m->reshape(m->transpose(patches, {0, 2, 4, 1, 3, 5}), {batch, rows * columns, channels * (kPatch * kPatch)});
}

/// Where each token of a picture stands, f32 [rows * columns, axes]: 0, row, column; what is beyond three axes stays 0.
Value positionsOf(const Scope &m, DimExpr rows, DimExpr columns, int64_t axes) {
  Type f32 = m->b.getF32Type();
  DimExpr one = m->shapes.constant(1);
  auto column = [&](Value numbers) {
    return m->reshape(m->expand(m->cast(numbers, f32), {rows, columns}), {rows * columns, one});
  };
  SmallVector<Value> all(axes, m->fill({rows * columns, one}, m->scalar(f32, 0)));
  all[1] = column(m->unsqueeze(m->iota(rows, m->b.getI64Type()), {1}));
  all[2] = column(m->iota(columns, m->b.getI64Type()));
  return m->concat(all, 1);
}

/// What the model is told of each step, and how long it is, of the noise levels before and after all steps.
FluxSchedule scheduleOf(const Scope &m, Value sigmas, int64_t trainSteps) {
  Type f32 = m->b.getF32Type();
  DimExpr one = m->shapes.constant(1), steps = m->dim(sigmas, 0) - one;
  auto part = [&](Value numbers, DimExpr first) { return m->sliceAxis(numbers, 0, first, steps); };
  // In the model's type, whatever that is; the model multiplies by 1000 again. Two factors with nothing between them
  // would be multiplied beforehand, to one that rounds once.
  Value scaled = part(m->mul(sigmas, m->scalar(f32, double(trainSteps))), m->shapes.constant(0));
  Value timesteps = rounded(m, m->div(rounded(m, scaled), m->scalar(f32, 1000)));
  return {timesteps, m->sub(part(sigmas, one), part(sigmas, m->shapes.constant(0)))};
}

/// Throws unless a width of the transformer is that of what it gets.
void expectWidth(const Network &transformer, const char *key, int64_t wanted, int64_t is, const std::string &what) {
  if (wanted != is)
    transformer.config.fail(key, what + " " + std::to_string(is) + ": the models don't belong together");
}

} // namespace

void models::buildFluxPipeline(PipelineContext &c) {
  const Network &clip = c.networks[0], &t5 = c.networks[1], &transformer = c.networks[2], &vae = c.networks[3];
  const FluxConfig flux = fluxConfig(transformer);
  const AutoencoderConfig autoencoder = autoencoderConfig(vae, AutoencoderHalf::Decoder);
  const Scope &m = transformer.root;
  expectWidth(transformer, "in_channels", flux.channels, autoencoder.latent * kPatch * kPatch,
              "a token of the VAE's latents has");
  if (flux.axes.size() < 3)
    transformer.config.fail("axes_dims_rope", "it must have three numbers: for the text, the rows and the columns");
  const int64_t trainSteps = c.scheduler.integer("num_train_timesteps", 1000, 1, 1'000'000);

  // A picture of 1024², with the steps that the published models are for. Text as the step alone is tuned for, which gives equal bits; schnell's
  // half as long one is no slower.
  c.tuneFor({{"batch", 1}, {"height", 128}, {"width", 128}});
  c.tuneFor({{"text_tokens", 512}, {"sigmas", flux.guided ? 29 : 5}});
  c.tuneFor({{"clip_tokens", clipPositions(clip.config)}});
  Value clipIds = c.input("clip_ids", c.i64(), {"batch", "clip_tokens"});
  Value t5Ids = c.input("t5_ids", c.i64(), {"batch", "text_tokens"});
  Value noise = c.input("noise", m.type, {"batch", autoencoder.latent, "height", "width"});
  Value sigmas = c.input("sigmas", c.f32(), {"sigmas"});
  Value guidance = flux.guided ? c.input("guidance", c.f32(), {"batch"}) : Value();

  // Encode.
  Value pooled = clipText(clip, clipIds).pooled;
  expectWidth(transformer, "pooled_projection_dim", flux.pooledWidth, fixedDim(m, pooled, 1), "text_encoder gives");
  Value text = t5Encoder(t5, t5Ids);
  expectWidth(transformer, "joint_attention_dim", flux.contextWidth, fixedDim(m, text, 2), "text_encoder_2 gives");

  // Denoise.
  Scope place = m / "pos_embed";
  DimExpr rows = floorDiv(m->dim(noise, 2), m->shapes.constant(kPatch)),
          columns = floorDiv(m->dim(noise, 3), m->shapes.constant(kPatch));
  int64_t axes = flux.axes.size();
  Value textIds = place->fill({m->dim(text, 1), m->shapes.constant(axes)}, m->scalar(c.f32(), 0));
  FluxConditions conditions =
      fluxConditions(transformer, flux, m->cast(text, m.type), m->cast(pooled, m.type), guidance, textIds,
                     positionsOf(place, rows, columns, axes));
  Scope loop = m / "schedule";
  FluxSchedule schedule = scheduleOf(loop, sigmas, trainSteps);
  Value steps = loop->reshape(loop->shapeTensor(loop->dim(schedule.sizes, 0)), GraphBuilder::Axes());
  Value tokens = pack(m / "pack", noise, rows, columns);
  tokens = buildLoop(loop.graph(), steps, {}, tokens, [&](const LoopArguments &each) {
             Value next = fluxStep(transformer, flux, conditions, schedule, each.carried[0], each.iteration);
             return LoopYield{{}, {next}, {}};
           }).front();

  // Decode.
  Scope unpacked = vae.root / "tokens";
  Value grid = unpacked->reshape(unpacked->cast(tokens, vae.root.type),
                                 {unpacked->dim(tokens, 0), rows, columns, unpacked->dim(tokens, 2)});
  DecodedPictures pictures = decodePictures(vae, autoencoder, grid);
  c.output("pixels", pictures.pixels);
  c.output("not_numbers", pictures.notNumbers);
}
