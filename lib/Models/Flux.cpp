//===- Flux.cpp - FluxTransformer2DModel: the denoiser of FLUX.1
//------------------------------------------------------===//
//
// A rectified-flow transformer. Blocks of two streams, image and text, attend jointly; then blocks of one stream, text
// before image, compute attention and MLP side by side. Every block is modulated by the time step, the pooled text and,
// in distilled models, the guidance. The part `step` is a step of denoising: it looks up where in a schedule it is, and
// goes on to the next noise level, so that nothing but its own outputs passes from step to step.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Networks.h"
#include "flame/Ops/Pointwise.h"
#include <array>
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

constexpr double kEpsilon = 1e-6;

using Width = FluxConfig;

/// Embedders are two linear layers with a SiLU between them: the first with its SiLU, and the second.
Value embedFirst(const Scope &m, Value x, int64_t hidden) {
  return activation(m, "silu", linear(m / "linear_1", x, hidden));
}
Value embedSecond(const Scope &m, Value x, int64_t hidden) { return linear(m / "linear_2", x, hidden); }

/// Of a number that comes in thousandths, as the model's element type holds it.
Value embedNumberFirst(const Scope &m, Value number, int64_t hidden) {
  Value thousandths = m->mul(rounded(m, number), m->scalar(m->b.getF32Type(), 1000));
  Value waves = sinusoidalEmbedding(m, rounded(m, thousandths), 256);
  return embedFirst(m, m->cast(waves, m.type), hidden);
}

/// [B, n] as [B, 1, n]: the same for all tokens.
Value perSample(const Scope &m, Value x) { return m->unsqueeze(x, {1}); }

Value modulate(const Scope &m, Value x, Value shift, Value scale) {
  Value one = m->scalar(m.type, 1);
  return m->add(m->mul(plainLayerNorm(m, x, kEpsilon), m->add(perSample(m, scale), one)), perSample(m, shift));
}

Value addGated(const Scope &m, Value x, Value gate, Value y) {
  Value sum = m->add(x, m->mul(perSample(m, gate), y));
  if (!m.type.isF16())
    return sum;
  Value most = m->scalar(m.type, 65504);
  return m->max(m->min(sum, most), m->neg(most));
}

/// `count` vectors of the hidden size for each sample.
SmallVector<Value> modulation(const Scope &m, Value conditioning, int64_t count) {
  Value all = linear(m / "linear", activation(m, "silu", conditioning), count * fixedDim(m, conditioning, -1));
  return chunk(m, all, count);
}

/// What is the same in all blocks: where each token stands, and in blocks of two streams which ones are text.
struct Tokens {
  Rotation positions; // [S, D / 2]
  Value areText;      // [S, 1, 1]
};

struct Heads {
  Value query, key, value; // [B, S, H * D]
};

/// RMS norm of each head, then rotation; [B, S, H * D] → [B, H, S, D]. The text's tokens have a norm of their own,
/// where there is one: `textNorm`.
Value normRotate(const Scope &m, Value x, const Width &w, const Tokens &tokens, const char *norm,
                 const char *textNorm) {
  Value heads = m->reshape(x, {m->dim(x, 0), m->dim(x, 1), m->shapes.constant(w.heads), m->shapes.constant(w.head)});
  Value weight = (m / norm).weight("weight", {w.head});
  if (textNorm)
    weight = m->where(tokens.areText, (m / textNorm).weight("weight", {w.head}), weight);
  Value y = m->mul(m->narrow(rmsNormalize(m.graph(), m->widen(heads), 3, kEpsilon), m.type), weight);
  // [S, D / 2] against [B, S, H, D / 2]
  Value cosine = m->unsqueeze(tokens.positions.cosine, {1}), sine = m->unsqueeze(tokens.positions.sine, {1});
  Value turned = rotatePairs(m.graph(), m->widen(y), cosine, sine, Pairs::NeighboursToHalves);
  return m->transpose(m->narrow(turned, m.type), {0, 2, 1, 3});
}

/// [B, S, H * D]
Value attend(const Scope &m, const Heads &x, const Width &w, const Tokens &tokens, bool twoStreams) {
  Value query = normRotate(m, x.query, w, tokens, "norm_q", twoStreams ? "norm_added_q" : nullptr);
  Value key = normRotate(m, x.key, w, tokens, "norm_k", twoStreams ? "norm_added_k" : nullptr);
  Value value = splitHeads(m.graph(), x.value, w.heads, "value");
  return joinHeads(m.graph(), attention(m, query, key, value, {1 / std::sqrt(double(w.head)), {}}));
}

Value feedForward(const Scope &m, Value x) {
  int64_t hidden = fixedDim(m, x, -1);
  Value inner = activation(m, "gelu_pytorch_tanh", linear(m / "net.0.proj", x, 4 * hidden));
  return linear(m / "net.2", inner, hidden);
}

struct Streams {
  Value image, text;
};

Streams doubleBlock(const Scope &m, Streams x, Value conditioning, const Width &w, const Tokens &tokens) {
  // shift, scale, gate of the attention; shift, scale, gate of the MLP
  auto image = modulation(m / "norm1", conditioning, 6), text = modulation(m / "norm1_context", conditioning, 6);
  Value ofImage = modulate(m / "norm1", x.image, image[0], image[1]);
  Value ofText = modulate(m / "norm1_context", x.text, text[0], text[1]);
  Scope attn = m / "attn";
  auto joint = [&](const char *imageName, const char *textName) {
    return attn->concat({linear(attn / textName, ofText, w.hidden), linear(attn / imageName, ofImage, w.hidden)}, 1);
  };
  Heads heads = {joint("to_q", "add_q_proj"), joint("to_k", "add_k_proj"), joint("to_v", "add_v_proj")};
  Value y = attend(attn, heads, w, tokens, /*twoStreams=*/true);
  DimExpr textTokens = m->dim(x.text, 1), imageTokens = m->dim(x.image, 1);
  Value toImage = linear(attn / "to_out.0", attn->sliceAxis(y, 1, textTokens, imageTokens), w.hidden);
  Value toText = linear(attn / "to_add_out", attn->sliceAxis(y, 1, attn->shapes.constant(0), textTokens), w.hidden);
  auto rest = [&](Value stream, Value attended, ArrayRef<Value> mod, const char *norm, const char *mlp) {
    stream = addGated(attn, stream, mod[2], attended);
    return addGated(m / mlp, stream, mod[5], feedForward(m / mlp, modulate(m / norm, stream, mod[3], mod[4])));
  };
  return {rest(x.image, toImage, image, "norm2", "ff"), rest(x.text, toText, text, "norm2_context", "ff_context")};
}

Value singleBlock(const Scope &m, Value x, Value conditioning, const Width &w, const Tokens &tokens) {
  auto mod = modulation(m / "norm", conditioning, 3);
  Value normalized = modulate(m / "norm", x, mod[0], mod[1]);
  Value inner = activation(m, "gelu_pytorch_tanh", linear(m / "proj_mlp", normalized, 4 * w.hidden));
  Scope attn = m / "attn";
  auto project = [&](const char *name) { return linear(attn / name, normalized, w.hidden); };
  Heads heads = {project("to_q"), project("to_k"), project("to_v")};
  Value attended = attend(attn, heads, w, tokens, /*twoStreams=*/false);
  return addGated(m, x, mod[2], linear(m / "proj_out", m->concat({attended, inner}, -1), w.hidden));
}

/// Each axis of the ids [S, axes] turns its own part of a head.
Rotation rotationOf(const Scope &m, Value ids, ArrayRef<int64_t> axes) {
  SmallVector<Value> cosines, sines;
  for (auto [i, width] : llvm::enumerate(axes)) {
    Value position = m->squeeze(m->sliceAxis(ids, 1, m->shapes.constant(i), m->shapes.constant(1)), {1});
    Rotation part = rotation(m, position, rotaryFrequencies(width, 10000), m->b.getF64Type());
    cosines.push_back(part.cosine);
    sines.push_back(part.sine);
  }
  return {m->concat(cosines, 1), m->concat(sines, 1)};
}

/// Element number `step` of a schedule's numbers, as [1]; 0 beyond it.
Value current(const Scope &m, Value numbers, Value step) {
  Value here = m->equal(m->iota(m->dim(numbers, 0), m->b.getI64Type()), step);
  return m->sum(m->where(here, numbers, m->scalarLike(numbers, 0)), {0});
}

} // namespace

FluxConfig models::fluxConfig(const Network &n) {
  const ModelConfig &config = n.config;
  FluxConfig f;
  config.expect("patch_size", 1);
  f.channels = config.integer("in_channels", 64);
  f.outChannels = config.integer("out_channels", f.channels);
  f.heads = config.integer("num_attention_heads", 24, 1, 4096);
  f.head = config.integer("attention_head_dim", 128, 1, 4096);
  f.hidden = f.heads * f.head;
  f.contextWidth = config.integer("joint_attention_dim", 4096);
  f.pooledWidth = config.integer("pooled_projection_dim", 768);
  f.axes = config.integers("axes_dims_rope", SmallVector<int64_t>{16, 56, 56});
  int64_t turned = 0;
  for (int64_t width : f.axes) {
    turned += width;
    if (width % 2)
      config.fail("axes_dims_rope", "each must be even: elements are turned in pairs");
  }
  if (turned != f.head)
    config.fail("axes_dims_rope", "the sum must be 'attention_head_dim', which is " + std::to_string(f.head));
  f.guided = config.flag("guidance_embeds", false);
  f.doubleBlocks = n.layers("num_layers", 19, "transformer_blocks");
  f.singleBlocks = n.layers("num_single_layers", 38, "single_transformer_blocks");
  return f;
}

FluxConditions models::fluxConditions(const Network &n, const FluxConfig &f, Value text, Value pooled, Value guidance,
                                      Value textIds, Value imageIds) {
  const Scope &m = n.root;
  Scope embed = m / "time_text_embed", place = m / "pos_embed";
  FluxConditions c;
  if (f.guided)
    c.guidance = embedNumberFirst(embed / "guidance_embedder", guidance, f.hidden);
  c.pooled = embedFirst(embed / "text_embedder", pooled, f.hidden);
  c.text = linear(m / "context_embedder", text, f.hidden, /*bias=*/false);
  c.textTokens = m->dim(textIds, 0), c.imageTokens = m->dim(imageIds, 0);
  Value number = place->iota(c.textTokens + c.imageTokens, m->b.getI64Type());
  Value first = place->reshape(place->shapeTensor(c.textTokens), GraphBuilder::Axes());
  c.positions = rotationOf(place, place->concat({textIds, imageIds}, 0), f.axes);
  c.areText = place->unsqueeze(place->less(number, first), {1, 2});
  return c;
}

Value models::fluxPrediction(const Network &n, const FluxConfig &f, const FluxConditions &c, Value tokens, Value time) {
  const Scope &m = n.root;
  Scope embed = m / "time_text_embed";
  Scope ofTime = embed / "timestep_embedder", ofText = m / "context_embedder";
  Value conditioning = embedSecond(ofTime, embedNumberFirst(ofTime, time, f.hidden), f.hidden);
  if (c.guidance)
    conditioning = embed->add(conditioning, embedSecond(embed / "guidance_embedder", c.guidance, f.hidden));
  conditioning = embed->add(conditioning, embedSecond(embed / "text_embedder", c.pooled, f.hidden));
  Tokens all = {c.positions, c.areText};
  Streams x = {linear(m / "x_embedder", tokens, f.hidden), ofText->add(c.text, ofText.weight("bias", {f.hidden}))};
  for (int64_t i = 0; i < f.doubleBlocks; ++i)
    x = doubleBlock(m / "transformer_blocks" / i, x, conditioning, f, all);
  Value joint = m->concat({x.text, x.image}, 1);
  for (int64_t i = 0; i < f.singleBlocks; ++i)
    joint = singleBlock(m / "single_transformer_blocks" / i, joint, conditioning, f, all);
  Value image = m->sliceAxis(joint, 1, c.textTokens, c.imageTokens);
  auto last = modulation(m / "norm_out", conditioning, 2); // scale, shift
  return linear(m / "proj_out", modulate(m / "norm_out", image, last[1], last[0]), f.outChannels);
}

Value models::fluxStep(const Network &n, const FluxConfig &f, const FluxConditions &c, const FluxSchedule &schedule,
                       Value tokens, Value step) {
  if (f.channels != f.outChannels)
    n.config.fail("out_channels", "a step of denoising needs as many as 'in_channels'");
  Scope m = n.root / "schedule";
  Value prediction = fluxPrediction(n, f, c, tokens, current(m, schedule.timesteps, step));
  // A number that multiplies a tensor, and the product, have the tensor's type in PyTorch.
  Value size = rounded(m, current(m, schedule.sizes, step));
  Value change = rounded(m, m->mul(m->widen(prediction), size));
  return m->cast(m->add(m->widen(tokens), change), m.type);
}

void models::buildFluxTransformer(ModelContext &c) {
  const FluxConfig f = fluxConfig(c);
  const Scope &m = c.root;
  const bool isStep = c.part == "step";
  c.tuneFor({{"batch", 1}, {"image_tokens", 4096}, {"text_tokens", 512}, {"steps", 4}}); // a picture of 1024²
  Value tokens = c.input("hidden_states", m.type, {"batch", "image_tokens", f.channels});
  Value text = c.input("encoder_hidden_states", m.type, {"batch", "text_tokens", f.contextWidth});
  Value pooled = c.input("pooled_projections", m.type, {"batch", f.pooledWidth});
  Value step, timestep;
  FluxSchedule schedule;
  if (isStep) {
    step = c.input("step", c.i64(), {});
    schedule = {c.input("timesteps", c.f32(), {"steps"}), c.input("step_sizes", c.f32(), {"steps"})};
  } else {
    timestep = c.input("timestep", c.f32(), {"batch"});
  }
  Value imageIds = c.input("img_ids", c.f32(), {"image_tokens", int64_t(f.axes.size())});
  Value textIds = c.input("txt_ids", c.f32(), {"text_tokens", int64_t(f.axes.size())});
  Value guidance = f.guided ? c.input("guidance", c.f32(), {"batch"}) : Value();

  FluxConditions conditions = fluxConditions(c, f, text, pooled, guidance, textIds, imageIds);
  if (!isStep)
    return c.output("sample", fluxPrediction(c, f, conditions, tokens, timestep));
  c.output("sample", fluxStep(c, f, conditions, schedule, tokens, step));
  c.output("next_step", (m / "schedule")->add(step, m->i64Scalar(1)));
}
