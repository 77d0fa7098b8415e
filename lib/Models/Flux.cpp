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

/// The steps of a schedule: what the model is told of each, and by what its prediction is multiplied.
struct Schedule {
  Value step, timesteps, sizes; // i64 [], f32 [steps], f32 [steps]

  /// The current step's element of one of them, as [1]. A step beyond the schedule has zeros.
  Value current(const Scope &m, Value of) const {
    Value here = m->equal(m->iota(m->dim(of, 0), m->b.getI64Type()), step);
    return m->sum(m->where(here, of, m->scalarLike(of, 0)), {0});
  }
};

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
  c.tuneFor({{"batch", 1}, {"image_tokens", 4096}, {"text_tokens", 512}, {"steps", 4}}); // a picture of 1024²
  Value hiddenStates = c.input("hidden_states", m.type, {"batch", "image_tokens", channels});
  Value encoderHiddenStates = c.input("encoder_hidden_states", m.type, {"batch", "text_tokens", contextWidth});
  Value pooled = c.input("pooled_projections", m.type, {"batch", pooledWidth});
  bool isStep = c.part == "step";
  Schedule schedule;
  Value timestep;
  if (isStep) {
    schedule = {c.input("step", c.i64(), {}), c.input("timesteps", c.f32(), {"steps"}),
                c.input("step_sizes", c.f32(), {"steps"})};
    timestep = schedule.current(m / "schedule", schedule.timesteps);
  } else {
    timestep = c.input("timestep", c.f32(), {"batch"});
  }
  Value imageIds = c.input("img_ids", c.f32(), {"image_tokens", int64_t(axes.size())});
  Value textIds = c.input("txt_ids", c.f32(), {"text_tokens", int64_t(axes.size())});
  Value guidance = config.flag("guidance_embeds", false) ? c.input("guidance", c.f32(), {"batch"}) : Value();

  Scope embed = m / "time_text_embed";
  Value conditioning = numberEmbedder(embed / "timestep_embedder", timestep, w.hidden);
  if (guidance)
    conditioning = embed->add(conditioning, numberEmbedder(embed / "guidance_embedder", guidance, w.hidden));
  conditioning = embed->add(conditioning, embedder(embed / "text_embedder", pooled, w.hidden));

  Streams x = {linear(m / "x_embedder", hiddenStates, w.hidden),
               linear(m / "context_embedder", encoderHiddenStates, w.hidden)};
  Scope place = m / "pos_embed";
  DimExpr textTokens = m->dim(textIds, 0), imageTokens = m->dim(imageIds, 0);
  Value number = place->iota(textTokens + imageTokens, c.i64());
  Value first = place->reshape(place->shapeTensor(textTokens), GraphBuilder::Axes());
  Tokens tokens = {rotationOf(place, place->concat({textIds, imageIds}, 0), axes),
                   place->unsqueeze(place->less(number, first), {1, 2})};
  for (int64_t i = 0; i < doubleBlocks; ++i)
    x = doubleBlock(m / "transformer_blocks" / i, x, conditioning, w, tokens);
  Value joint = m->concat({x.text, x.image}, 1);
  for (int64_t i = 0; i < singleBlocks; ++i)
    joint = singleBlock(m / "single_transformer_blocks" / i, joint, conditioning, w, tokens);
  Value image = m->sliceAxis(joint, 1, textTokens, imageTokens);

  auto last = modulation(m / "norm_out", conditioning, 2); // scale, shift
  Value prediction = linear(m / "proj_out", modulate(m / "norm_out", image, last[1], last[0]), outChannels);
  if (!isStep)
    return c.output("sample", prediction);
  // Euler's step; a number that multiplies a tensor, and the product, have the tensor's type in PyTorch.
  Scope after = m / "schedule";
  if (channels != outChannels)
    config.fail("out_channels", "a step of denoising needs as many as 'in_channels'");
  Value size = rounded(after, schedule.current(after, schedule.sizes));
  Value change = rounded(after, after->mul(after->widen(prediction), size));
  c.output("sample", after->cast(after->add(after->widen(hiddenStates), change), m.type));
  c.output("next_step", after->add(schedule.step, after->i64Scalar(1)));
}
