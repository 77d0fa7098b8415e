//===- AutoencoderKL.cpp - the variational autoencoder of latent diffusion
//--------------------------------------------===//
//
// Convolutions with group norms; attention over all positions in the middle. The decoder makes pictures of latents, the
// encoder the mean and the logarithm of the variance of the latents of pictures. Scale and shift of the latents are the
// pipeline's business. The part `pictures` is that business, too: from the tokens of a transformer to pixels.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Networks.h"
#include "flame/Ops/Pointwise.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

constexpr double kEpsilon = 1e-6;
constexpr ConvOptions kPointwise{1, 1, 0, 0};

using Architecture = AutoencoderConfig;

Value normActivation(const Scope &m, const char *norm, Value x, const Architecture &a) {
  return activation(m, a.function, groupNorm(m / norm, x, a.groups, kEpsilon));
}

Value residualBlock(const Scope &m, Value x, int64_t out, const Architecture &a) {
  Value y = conv2d(m / "conv1", normActivation(m, "norm1", x, a), out);
  y = conv2d(m / "conv2", normActivation(m, "norm2", y, a), out);
  Value shortcut = fixedDim(m, x, 1) == out ? x : conv2d(m / "conv_shortcut", x, out, kPointwise);
  return m->add(shortcut, y);
}

/// One head over all positions.
Value attentionBlock(const Scope &m, Value x, const Architecture &a) {
  DimExpr n = m->dim(x, 0), c = m->dim(x, 1), h = m->dim(x, 2), w = m->dim(x, 3);
  int64_t width = fixedDim(m, x, 1);
  Value last = m->transpose(groupNorm(m / "group_norm", x, a.groups, kEpsilon), {0, 2, 3, 1});
  Value tokens = m->reshape(last, {n, h * w, c});
  auto head = [&](const char *name) { return m->unsqueeze(linear(m / name, tokens, width), {1}); };
  Value y = attention(m, head("to_q"), head("to_k"), head("to_v"), {1 / std::sqrt(double(width)), {}});
  y = linear(m / "to_out.0", m->squeeze(y, {1}), width);
  return m->add(m->transpose(m->reshape(y, {n, h, w, c}), {0, 3, 1, 2}), x);
}

Value middleBlock(const Scope &m, Value x, const Architecture &a) {
  int64_t width = fixedDim(m, x, 1);
  x = residualBlock(m / "resnets.0", x, width, a);
  if (a.middleAttention)
    x = attentionBlock(m / "attentions.0", x, a);
  return residualBlock(m / "resnets.1", x, width, a);
}

Value decode(const Scope &m, Value x, const Architecture &a) {
  x = middleBlock(m / "mid_block", conv2d(m / "conv_in", x, a.widths.back()), a);
  int64_t count = a.widths.size();
  for (int64_t i = 0; i < count; ++i) {
    Scope block = m / "up_blocks" / i;
    for (int64_t k = 0; k <= a.layers; ++k)
      x = residualBlock(block / "resnets" / k, x, a.widths[count - 1 - i], a);
    if (i + 1 < count)
      x = conv2d(block / "upsamplers.0.conv", upsampleNearest(block / "upsamplers.0", x), a.widths[count - 1 - i]);
  }
  return conv2d(m / "conv_out", normActivation(m, "conv_norm_out", x, a), a.out);
}

Value encode(const Scope &m, Value x, const Architecture &a) {
  x = conv2d(m / "conv_in", x, a.widths.front());
  int64_t count = a.widths.size();
  for (int64_t i = 0; i < count; ++i) {
    Scope block = m / "down_blocks" / i;
    for (int64_t k = 0; k < a.layers; ++k)
      x = residualBlock(block / "resnets" / k, x, a.widths[i], a);
    // A row and a column of zeros behind the picture, none before it.
    if (i + 1 < count)
      x = conv2d(block / "downsamplers.0.conv", x, a.widths[i], {3, 2, 0, 1});
  }
  x = middleBlock(m / "mid_block", x, a);
  return conv2d(m / "conv_out", normActivation(m, "conv_norm_out", x, a), 2 * a.latent);
}

/// Tokens [N, rows, columns, C * 4], each a patch of two by two latent pixels, as the latents [N, C, H, W] that the
/// decoder takes.
Value unpack(const Scope &m, Value tokens, const Architecture &a, double factor, double shift) {
  DimExpr n = m->dim(tokens, 0), rows = m->dim(tokens, 1), columns = m->dim(tokens, 2), two = m->shapes.constant(2),
          channels = m->shapes.constant(a.latent);
  Value patches = m->transpose(m->reshape(tokens, {n, rows, columns, channels, two, two}), {0, 3, 1, 4, 2, 5});
  Value latents = m->reshape(patches, {n, channels, rows * 2, columns * 2});
  // The two numbers are not rounded to the type, the results are.
  Type f32 = m->b.getF32Type();
  Value scaled = rounded(m, m->div(m->widen(latents), m->scalar(f32, factor)));
  return m->cast(m->add(scaled, m->scalar(f32, shift)), m.type);
}

/// What is decoded, [N, 3, H, W] in [-1, 1], as bytes [N, H, W, 3], rounded as an image processor in the model's type
/// rounds; what is no number becomes black.
Value pixels(const Scope &m, Value x) {
  Type f32 = m->b.getF32Type();
  Value half = m->scalar(f32, 0.5), zero = m->scalar(f32, 0), one = m->scalar(f32, 1);
  Value y = rounded(m, m->add(rounded(m, m->mul(m->widen(x), half)), half));
  Value level = m->where(m->greater(y, zero), m->where(m->less(y, one), y, one), zero);
  Value integer = m->op<RoundOp>(m->mul(level, m->scalar(f32, 255)));
  return m->transpose(m->cast(integer, m->b.getIntegerType(8, /*isSigned=*/false)), {0, 2, 3, 1});
}

} // namespace

AutoencoderConfig models::autoencoderConfig(const Network &n, AutoencoderHalf half) {
  const ModelConfig &config = n.config;
  AutoencoderConfig a;
  a.widths = config.integers("block_out_channels", SmallVector<int64_t>{64}, 1, 65536);
  a.layers = config.integer("layers_per_block", 1, 1, 64);
  a.groups = config.integer("norm_num_groups", 32, 1, 65536);
  a.latent = config.integer("latent_channels", 4, 1, 4096);
  a.in = config.integer("in_channels", 3, 1, 4096);
  a.out = config.integer("out_channels", 3, 1, 4096);
  a.function = config.text("act_fn", "silu");
  a.middleAttention = config.flag("mid_block_add_attention", true);
  for (int64_t width : a.widths)
    if (width % a.groups)
      config.fail("norm_num_groups",
                  "it must divide every one of 'block_out_channels', " + std::to_string(width) + " among them");
  bool encoder = half == AutoencoderHalf::Encoder;
  const char *key = encoder ? "down_block_types" : "up_block_types",
             *kind = encoder ? "DownEncoderBlock2D" : "UpDecoderBlock2D";
  std::vector<std::string> types = config.texts(key, {kind});
  if (types.size() != a.widths.size())
    config.fail(key, "there must be as many as 'block_out_channels', " + std::to_string(a.widths.size()));
  for (const std::string &type : types)
    if (type != kind)
      config.fail(key, std::string("only ") + kind + " is supported", ImportStatus::Unsupported);
  // The other half's tensors are there, too.
  n.weights.ignore(encoder ? "decoder." : "encoder.");
  n.weights.ignore(encoder ? "post_quant_conv." : "quant_conv.");
  return a;
}

Value models::decodeLatents(const Network &n, const AutoencoderConfig &a, Value latents) {
  const Scope &m = n.root;
  if (n.config.flag("use_post_quant_conv", true))
    latents = conv2d(m / "post_quant_conv", latents, a.latent, kPointwise);
  return decode(m / "decoder", latents, a);
}

DecodedPictures models::decodePictures(const Network &n, const AutoencoderConfig &a, Value tokens) {
  const ModelConfig &config = n.config;
  if (a.out != 3)
    config.fail("out_channels", "a picture has three colours");
  double factor = config.number("scaling_factor", 0.18215);
  if (factor == 0)
    config.fail("scaling_factor", "it must not be 0");
  const Scope &m = n.root;
  Value latents = unpack(m / "tokens", tokens, a, factor, config.number("shift_factor", 0));
  Value sample = decodeLatents(n, a, latents);
  Value picture = pixels(m / "pixels", sample);
  Value isNone = m->op<IsNaNOp>(sample);
  Value notNumbers = m->sum(m->cast(isNone, m->b.getI64Type()), {1, 2, 3}, /*keepDims=*/false);
  return {picture, notNumbers, sample};
}

void models::buildAutoencoderKL(ModelContext &c) {
  const bool encoder = c.part == "encoder";
  AutoencoderConfig a = autoencoderConfig(c, encoder ? AutoencoderHalf::Encoder : AutoencoderHalf::Decoder);
  const Scope &m = c.root;
  if (encoder) {
    c.tuneFor({{"batch", 1}, {"height", 1024}, {"width", 1024}});
    Value moments = encode(m / "encoder", c.input("sample", m.type, {"batch", a.in, "height", "width"}), a);
    if (c.config.flag("use_quant_conv", true))
      moments = conv2d(m / "quant_conv", moments, 2 * a.latent, kPointwise);
    DimExpr zero = m->shapes.constant(0), latent = m->shapes.constant(a.latent);
    Value low = m->scalar(m.type, -30), high = m->scalar(m.type, 20);
    c.output("mean", m->sliceAxis(moments, 1, zero, latent));
    c.output("logvar", m->max(m->min(m->sliceAxis(moments, 1, latent, latent), high), low));
  } else if (c.part == "pictures") {
    c.tuneFor({{"batch", 1}, {"rows", 64}, {"columns", 64}});
    DecodedPictures pictures =
        decodePictures(c, a, c.input("tokens", m.type, {"batch", "rows", "columns", 4 * a.latent}));
    c.output("pixels", pictures.pixels);
    c.output("not_numbers", pictures.notNumbers);
    c.output("sample", pictures.sample); // for who blends tiles
  } else {
    c.tuneFor({{"batch", 1}, {"height", 128}, {"width", 128}});
    c.output("sample", decodeLatents(c, a, c.input("latent", m.type, {"batch", a.latent, "height", "width"})));
  }
}
