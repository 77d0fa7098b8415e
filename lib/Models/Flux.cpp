//===- Flux.cpp - FluxTransformer2DModel: the denoiser of FLUX.1
//------------------------------------------------------===//
//
// A rectified-flow transformer. Blocks of two streams, image and text, attend jointly; then blocks of one stream, text
// before image, compute attention and MLP side by side. Every block is modulated by the time step, the pooled text and,
// in distilled models, the guidance.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Layers.h"
#include "flame/Models/ModelClass.h"
#include "flame/Ops/Pointwise.h"
#include <array>
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

constexpr double kEpsilon = 1e-6;

struct Width {
  int64_t hidden, heads, head;
};

/// Two linear layers with a SiLU between them.
Value embedder(const Scope &m, Value x, int64_t hidden) {
  return linear(m / "linear_2", activation(m, "silu", linear(m / "linear_1", x, hidden)), hidden);
}

/// The embedding of a number that comes in thousandths, as the model's element type holds it.
Value numberEmbedder(const Scope &m, Value number, int64_t hidden) {
  Value thousandths = m->mul(rounded(m, number), m->scalar(m->b.getF32Type(), 1000));
  Value waves = sinusoidalEmbedding(m, rounded(m, thousandths), 256);
  return embedder(m, m->cast(waves, m.type), hidden);
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

struct Heads {
  Value query, key, value; // [B, S, H, D]
};

/// Names of one stream's projections and norms.
struct StreamNames {
  const char *query, *key, *value, *queryNorm, *keyNorm;
};
constexpr StreamNames kImage = {"to_q", "to_k", "to_v", "norm_q", "norm_k"};
constexpr StreamNames kText = {"add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"};

Heads project(const Scope &m, Value x, const Width &w, const Rotation &positions, const StreamNames &names) {
  auto heads = [&](const char *name) {
    Value y = linear(m / name, x, w.hidden);
    return m->reshape(y, {m->dim(x, 0), m->dim(x, 1), m->shapes.constant(w.heads), m->shapes.constant(w.head)});
  };
  // [S, D / 2] against [B, S, H, D / 2]
  Value cosine = m->unsqueeze(positions.cosine, {1}), sine = m->unsqueeze(positions.sine, {1});
  auto turned = [&](const char *name, const char *norm) {
    Value y = m->widen(rmsNorm(m / norm, heads(name), kEpsilon));
    return m->narrow(rotatePairs(m.graph(), y, cosine, sine, /*neighbours=*/true), m.type);
  };
  return {turned(names.query, names.queryNorm), turned(names.key, names.keyNorm), heads(names.value)};
}

/// [B, S, H * D]
Value attend(const Scope &m, const Heads &heads, const Width &w) {
  auto byHead = [&](Value x) { return m->transpose(x, {0, 2, 1, 3}); };
  Value y =
      attention(m, byHead(heads.query), byHead(heads.key), byHead(heads.value), {1 / std::sqrt(double(w.head)), {}});
  return joinHeads(m.graph(), y);
}

Value feedForward(const Scope &m, Value x) {
  int64_t hidden = fixedDim(m, x, -1);
  Value inner = activation(m, "gelu_pytorch_tanh", linear(m / "net.0.proj", x, 4 * hidden));
  return linear(m / "net.2", inner, hidden);
}

struct Streams {
  Value image, text;
};

Streams doubleBlock(const Scope &m, Streams x, Value conditioning, const Width &w, const Rotation &imagePositions,
                    const Rotation &textPositions) {
  // shift, scale, gate of the attention; shift, scale, gate of the MLP
  auto image = modulation(m / "norm1", conditioning, 6), text = modulation(m / "norm1_context", conditioning, 6);
  Scope attn = m / "attn";
  Heads ofImage = project(attn, modulate(m / "norm1", x.image, image[0], image[1]), w, imagePositions, kImage);
  Heads ofText = project(attn, modulate(m / "norm1_context", x.text, text[0], text[1]), w, textPositions, kText);
  auto joint = [&](Value a, Value b) { return attn->concat({a, b}, 1); };
  Value y = attend(
      attn, {joint(ofText.query, ofImage.query), joint(ofText.key, ofImage.key), joint(ofText.value, ofImage.value)},
      w);
  DimExpr textTokens = m->dim(x.text, 1), imageTokens = m->dim(x.image, 1);
  Value toImage = linear(attn / "to_out.0", attn->sliceAxis(y, 1, textTokens, imageTokens), w.hidden);
  Value toText = linear(attn / "to_add_out", attn->sliceAxis(y, 1, attn->shapes.constant(0), textTokens), w.hidden);
  auto rest = [&](Value stream, Value attended, ArrayRef<Value> mod, const char *norm, const char *mlp) {
    stream = addGated(m / "attn", stream, mod[2], attended);
    return addGated(m / mlp, stream, mod[5], feedForward(m / mlp, modulate(m / norm, stream, mod[3], mod[4])));
  };
  return {rest(x.image, toImage, image, "norm2", "ff"), rest(x.text, toText, text, "norm2_context", "ff_context")};
}

Value singleBlock(const Scope &m, Value x, Value conditioning, const Width &w, const Rotation &positions) {
  auto mod = modulation(m / "norm", conditioning, 3);
  Value normalized = modulate(m / "norm", x, mod[0], mod[1]);
  Value inner = activation(m, "gelu_pytorch_tanh", linear(m / "proj_mlp", normalized, 4 * w.hidden));
  Value attended = attend(m / "attn", project(m / "attn", normalized, w, positions, kImage), w);
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

} // namespace

void models::buildFluxTransformer(ModelContext &c) {
  const ModelConfig &config = c.config;
  config.expect("patch_size", 1);
  int64_t channels = config.integer("in_channels", 64), outChannels = config.integer("out_channels", channels);
  Width w;
  w.heads = config.integer("num_attention_heads", 24, 1, 4096);
  w.head = config.integer("attention_head_dim", 128, 1, 4096);
  w.hidden = w.heads * w.head;
  int64_t contextWidth = config.integer("joint_attention_dim", 4096),
          pooledWidth = config.integer("pooled_projection_dim", 768);
  SmallVector<int64_t> axes = config.integers("axes_dims_rope", SmallVector<int64_t>{16, 56, 56});
  int64_t turned = 0;
  for (int64_t width : axes) {
    turned += width;
    if (width % 2)
      config.fail("axes_dims_rope", "each must be even: elements are turned in pairs");
  }
  if (turned != w.head)
    config.fail("axes_dims_rope", "the sum must be 'attention_head_dim', which is " + std::to_string(w.head));
  int64_t doubleBlocks = c.layers("num_layers", 19, "transformer_blocks");
  int64_t singleBlocks = c.layers("num_single_layers", 38, "single_transformer_blocks");

  const Scope &m = c.root;
  Value hiddenStates = c.input("hidden_states", m.type, {"batch", "image_tokens", channels});
  Value encoderHiddenStates = c.input("encoder_hidden_states", m.type, {"batch", "text_tokens", contextWidth});
  Value pooled = c.input("pooled_projections", m.type, {"batch", pooledWidth});
  Value timestep = c.input("timestep", c.f32(), {"batch"});
  Value imageIds = c.input("img_ids", c.f32(), {"image_tokens", int64_t(axes.size())});
  Value textIds = c.input("txt_ids", c.f32(), {"text_tokens", int64_t(axes.size())});
  Value guidance = config.flag("guidance_embeds", false) ? c.input("guidance", c.f32(), {"batch"}) : Value();

  Scope embed = m / "time_text_embed";
  Value conditioning = numberEmbedder(embed / "timestep_embedder", timestep, w.hidden);
  if (guidance)
    conditioning = embed->add(conditioning, numberEmbedder(embed / "guidance_embedder", guidance, w.hidden));
  conditioning = embed->add(conditioning, embedder(embed / "text_embedder", pooled, w.hidden));

  Scope place = m / "pos_embed";
  Rotation imagePositions = rotationOf(place, imageIds, axes), textPositions = rotationOf(place, textIds, axes);
  Streams x = {linear(m / "x_embedder", hiddenStates, w.hidden),
               linear(m / "context_embedder", encoderHiddenStates, w.hidden)};
  for (int64_t i = 0; i < doubleBlocks; ++i)
    x = doubleBlock(m / "transformer_blocks" / i, x, conditioning, w, imagePositions, textPositions);

  Rotation positions = {place->concat({textPositions.cosine, imagePositions.cosine}, 0),
                        place->concat({textPositions.sine, imagePositions.sine}, 0)};
  Value joint = m->concat({x.text, x.image}, 1);
  for (int64_t i = 0; i < singleBlocks; ++i)
    joint = singleBlock(m / "single_transformer_blocks" / i, joint, conditioning, w, positions);
  Value image = m->sliceAxis(joint, 1, m->dim(x.text, 1), m->dim(x.image, 1));

  auto last = modulation(m / "norm_out", conditioning, 2); // scale, shift
  c.output("sample", linear(m / "proj_out", modulate(m / "norm_out", image, last[1], last[0]), outChannels));
}
