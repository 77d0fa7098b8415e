//===- Networks.h - models as functions of values
//---------------------------------------------------------------------===//
//
// The graphs of models that pipelines are made of, without the inputs and outputs of a function: what a model that is
// compiled by itself and a pipeline that is one program have in common. All throw BuildError, and ImportError about a
// configuration.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_MODELS_NETWORKS_H
#define FLAME_MODELS_NETWORKS_H

#include "flame/Models/Layers.h"
#include "flame/Models/ModelClass.h"

namespace flame::models {

// ---- CLIPTextModel

struct ClipText {
  Value states; // [B, S, width]
  Value pooled; // [B, width]
};
/// `ids`: i64 [B, S].
ClipText clipText(const Network &n, Value ids);
/// The most tokens that the model takes.
int64_t clipPositions(const ModelConfig &config);

// ---- T5EncoderModel

/// i64 [B, S] → [B, S, d_model]
Value t5Encoder(const Network &n, Value ids);

// ---- FluxTransformer2DModel

struct FluxConfig {
  int64_t channels, outChannels, contextWidth, pooledWidth;
  int64_t heads, head, hidden;
  llvm::SmallVector<int64_t> axes; // how much of a head each axis of a position turns
  int64_t doubleBlocks, singleBlocks;
  bool guided;
};
FluxConfig fluxConfig(const Network &n);

/// What no step of denoising changes, up to where kernels of a step take over: second layers of embedders, and the bias of
/// the text, are computed with what they are added to. As part of what comes before a loop they would be rounded, and
/// steps in a loop would not be those that are run one by one.
struct FluxConditions {
  Value guidance, pooled; // behind their embedders' first layers, [B, hidden]; guidance may be null
  Value text;             // its tokens before the bias, [B, T, hidden]
  Rotation positions;     // of all tokens, text before image, [T + S, head / 2]
  Value areText;          // [T + S, 1, 1]
  DimExpr textTokens, imageTokens;
};
/// text [B, T, contextWidth], pooled [B, pooledWidth], guidance f32 [B] of a guided model, and where each token stands:
/// f32 [T, axes], [S, axes].
FluxConditions fluxConditions(const Network &n, const FluxConfig &config, Value text, Value pooled, Value guidance,
                              Value textIds, Value imageIds);
/// What the model says of tokens [B, S, channels] at a time f32 [B] or [1]: [B, S, outChannels].
Value fluxPrediction(const Network &n, const FluxConfig &config, const FluxConditions &conditions, Value tokens,
                     Value time);

/// The steps of a schedule: what the model is told of each, and by what its prediction is multiplied.
struct FluxSchedule {
  Value timesteps, sizes; // f32 [steps]
};
/// Tokens behind step number `step`, i64 []: Euler's. A step beyond the schedule is one of no size.
Value fluxStep(const Network &n, const FluxConfig &config, const FluxConditions &conditions,
               const FluxSchedule &schedule, Value tokens, Value step);

// ---- AutoencoderKL

struct AutoencoderConfig {
  llvm::SmallVector<int64_t> widths; // of the blocks, at the picture's end first
  int64_t layers, groups, latent, in, out;
  std::string function;
  bool middleAttention;
};
enum class AutoencoderHalf { Encoder, Decoder };
AutoencoderConfig autoencoderConfig(const Network &n, AutoencoderHalf half);

/// Latents [N, latent, H, W] → [N, out, k H, k W] in [-1, 1].
Value decodeLatents(const Network &n, const AutoencoderConfig &config, Value latents);

struct DecodedPictures {
  Value pixels;     // u8 [N, k H, k W, 3]
  Value notNumbers; // i64 [N]: how many elements were none
  Value sample;     // as decodeLatents gives them
};
/// Tokens [N, rows, columns, latent * 4], each a patch of two by two latent pixels in a pipeline's scale.
DecodedPictures decodePictures(const Network &n, const AutoencoderConfig &config, Value tokens);

} // namespace flame::models

#endif // FLAME_MODELS_NETWORKS_H
