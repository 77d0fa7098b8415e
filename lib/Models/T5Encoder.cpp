//===- T5Encoder.cpp - T5EncoderModel
//---------------------------------------------------------------------------------===//
//
// A transformer with RMS norms before its layers, no biases, scores that are not scaled, and a bias of the scores by
// the distance of query and key, learnt in the first block for all. Padding attends like any token.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Networks.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

struct Attention {
  int64_t heads, head, buckets, furthest;
};

/// The bucket of a distance key − query: half of the buckets for each direction; in each the small distances have their
/// own, greater ones share buckets of growing width.
int64_t bucketOf(int64_t distance, const Attention &a) {
  int64_t half = a.buckets / 2, exact = half / 2, bucket = distance > 0 ? half : 0, far = std::abs(distance);
  if (far < exact)
    return bucket + far;
  // In f32, as the model was trained.
  float log = std::log(float(far) / float(exact)) / float(std::log(double(a.furthest) / double(exact)));
  return bucket + std::min(exact + int64_t(log * float(half - exact)), half - 1);
}

/// [1, H, S, S]
Value relativeBias(const Scope &m, DimExpr tokens, const Attention &a) {
  // From the furthest distance on all are alike: a table of the others by distance, then a gather.
  SmallVector<int64_t> buckets;
  for (int64_t distance = -a.furthest; distance <= a.furthest; ++distance)
    buckets.push_back(bucketOf(distance, a));
  Value perBucket = m.weight("weight", {a.buckets, a.heads});
  Value table = m->transpose(m->gather(perBucket, m->i64(buckets), 0), {1, 0}); // [H, distances]
  Value position = m->iota(tokens, m->b.getI64Type());
  Value distance = m->sub(m->unsqueeze(position, {0}), m->unsqueeze(position, {1}));
  Value index =
      m->add(m->max(m->min(distance, m->i64Scalar(a.furthest)), m->i64Scalar(-a.furthest)), m->i64Scalar(a.furthest));
  return m->unsqueeze(m->gather(table, index, 1), {0});
}

Value selfAttention(const Scope &m, Value x, Value bias, const Attention &a) {
  auto split = [&](const char *name) {
    return splitHeads(m.graph(), linear(m / name, x, a.heads * a.head, /*bias=*/false), a.heads, name);
  };
  Value y = attention(m, split("q"), split("k"), split("v"), {1, bias});
  return linear(m / "o", joinHeads(m.graph(), y), fixedDim(m, x, -1), /*bias=*/false);
}

Value feedForward(const Scope &m, Value x, int64_t inner, bool gated, StringRef function) {
  Value y = activation(m, function, linear(m / (gated ? "wi_0" : "wi"), x, inner, /*bias=*/false));
  if (gated)
    y = m->mul(y, linear(m / "wi_1", x, inner, /*bias=*/false));
  return linear(m / "wo", y, fixedDim(m, x, -1), /*bias=*/false);
}

} // namespace

Value models::t5Encoder(const Network &n, Value ids) {
  const ModelConfig &config = n.config;
  int64_t width = config.integer("d_model", 512), inner = config.integer("d_ff", 2048);
  int64_t vocabulary = config.integer("vocab_size", 32128);
  Attention a;
  a.heads = config.integer("num_heads", 8, 1, 4096);
  a.head = config.integer("d_kv", 64, 1, 4096);
  a.buckets = config.integer("relative_attention_num_buckets", 32, 4, 4096);
  a.furthest = config.integer("relative_attention_max_distance", 128, 1, 65536);
  if (a.buckets % 4 || a.furthest <= a.buckets / 4)
    config.fail("relative_attention_num_buckets",
                "a multiple of 4, less than four times 'relative_attention_max_distance', is needed");
  double epsilon = config.number("layer_norm_epsilon", 1e-6);
  // "relu", "gated-gelu": the latter is the approximation by tanh.
  std::string kind = config.text("feed_forward_proj", "relu");
  bool gated = StringRef(kind).starts_with("gated-");
  std::string function = kind == "gated-gelu" ? "gelu_new" : gated ? kind.substr(6) : kind;
  int64_t count = n.layers("num_layers", 6, "encoder.block");
  if (count == 0)
    config.fail("num_layers", "at least one is needed: the first has the biases of all");

  const Scope &m = n.root;
  // The table is stored under either name or both.
  if (m.has("shared.weight"))
    n.weights.ignore("encoder.embed_tokens.weight");
  Value x = embedding(m.has("shared.weight") || !m.has("encoder.embed_tokens.weight") ? m / "shared"
                                                                                      : m / "encoder.embed_tokens",
                      ids, vocabulary, width);
  Value bias = relativeBias(m / "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", m->dim(ids, 1), a);
  for (int64_t i = 0; i < count; ++i) {
    Scope attend = m / "encoder.block" / i / "layer.0", forward = m / "encoder.block" / i / "layer.1";
    x = attend->add(x, selfAttention(attend / "SelfAttention", rmsNorm(attend / "layer_norm", x, epsilon), bias, a));
    x = forward->add(x, feedForward(forward / "DenseReluDense", rmsNorm(forward / "layer_norm", x, epsilon), inner,
                                    gated, function));
  }
  return rmsNorm(m / "encoder.final_layer_norm", x, epsilon);
}

void models::buildT5Encoder(ModelContext &c) {
  c.tuneFor({{"batch", 1}, {"tokens", 512}});
  c.output("last_hidden_state", t5Encoder(c, c.input("input_ids", c.i64(), {"batch", "tokens"})));
}
