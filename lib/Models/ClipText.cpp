//===- ClipText.cpp - CLIPTextModel, CLIPTextModelWithProjection
//------------------------------------------------------===//
//
// A causal transformer with norms before its layers; the pooled output is the last state at the end-of-text token.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Networks.h"
#include "flame/Ops/Index.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

Value selfAttention(const Scope &m, Value x, int64_t heads) {
  int64_t width = fixedDim(m, x, -1);
  auto split = [&](const char *name) { return splitHeads(m.graph(), linear(m / name, x, width), heads, name); };
  AttentionOptions options{1 / std::sqrt(double(width / heads)), {}, /*causal=*/true};
  Value y = attention(m, split("q_proj"), split("k_proj"), split("v_proj"), options);
  return linear(m / "out_proj", joinHeads(m.graph(), y), width);
}

Value mlp(const Scope &m, Value x, int64_t inner, StringRef function) {
  return linear(m / "fc2", activation(m, function, linear(m / "fc1", x, inner)), fixedDim(m, x, -1));
}

/// The state at each sample's end-of-text token.
Value pool(const Scope &m, Value states, Value ids, int64_t endOfText) {
  // Configurations from before the token's number was put right say 2; there it is the highest of all ids.
  Value found = endOfText == 2 ? ids : m->cast(m->equal(ids, m->i64Scalar(endOfText)), m->b.getI64Type());
  Value position = m->unsqueeze(m->argReduce("max", found, 1, /*keepDims=*/true), 2);
  Value index = m->expand(position, {m->dim(states, 0), m->shapes.constant(1), m->dim(states, 2)});
  return m->squeeze(m->op<GatherElementsOp>({states, index}, m->attr("axis", 1)), {1});
}

} // namespace

int64_t models::clipPositions(const ModelConfig &config) { return config.integer("max_position_embeddings", 77); }

ClipText models::clipText(const Network &n, Value ids) {
  const ModelConfig &config = n.config;
  int64_t width = config.integer("hidden_size", 512), heads = config.integer("num_attention_heads", 8, 1, 4096);
  config.divide("hidden_size", width, "num_attention_heads", heads);
  int64_t inner = config.integer("intermediate_size", 2048), vocabulary = config.integer("vocab_size", 49408);
  int64_t positions = clipPositions(config);
  int64_t endOfText = config.integer("eos_token_id", 49407, 0);
  double epsilon = config.number("layer_norm_eps", 1e-5);
  std::string function = config.text("hidden_act", "quick_gelu");
  // Version 5 of transformers may save the encoder by itself, without the name that it had in the whole model.
  bool isWhole = !n.weights.numBlocks("encoder.layers");
  std::string prefix = isWhole ? "text_model." : "";
  int64_t count = n.layers("num_hidden_layers", 12, prefix + "encoder.layers");
  n.weights.ignore(prefix + "embeddings.position_ids"); // 0, 1, 2, …: old files have them

  const Scope m = isWhole ? n.root / "text_model" : n.root;
  Scope embed = m / "embeddings";
  Value place = embed->checkedIndices(embed->iota(embed->dim(ids, 1), n.root->b.getI64Type()), embed->shapes.constant(positions));
  Value x = embed->add(embedding(embed / "token_embedding", ids, vocabulary, width),
                       embedding(embed / "position_embedding", place, positions, width));
  for (int64_t i = 0; i < count; ++i) {
    Scope layer = m / "encoder.layers" / i;
    x = layer->add(x, selfAttention(layer / "self_attn", layerNorm(layer / "layer_norm1", x, epsilon), heads));
    x = layer->add(x, mlp(layer / "mlp", layerNorm(layer / "layer_norm2", x, epsilon), inner, function));
  }
  Value states = layerNorm(m / "final_layer_norm", x, epsilon);
  return {states, pool(m / "pooled", states, ids, endOfText)};
}

static ClipText encode(ModelContext &c) {
  c.tuneFor({{"batch", 1}, {"tokens", 77}});
  return clipText(c, c.input("input_ids", c.i64(), {"batch", "tokens"}));
}

void models::buildClipText(ModelContext &c) {
  ClipText text = encode(c);
  c.output("last_hidden_state", text.states);
  c.output("pooler_output", text.pooled);
}

void models::buildClipTextWithProjection(ModelContext &c) {
  ClipText text = encode(c);
  int64_t width = c.config.integer("projection_dim", 512);
  c.output("text_embeds", linear(c.root / "text_projection", text.pooled, width, /*bias=*/false));
  c.output("last_hidden_state", text.states);
}
