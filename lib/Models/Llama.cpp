//===- Llama.cpp - LlamaForCausalLM: the prefill
//----------------------------------------------------------------------===//
//
// A causal transformer with RMS norms, rotary positions, grouped heads and a gated MLP. Beside the logits come the keys
// and values of every layer, which later tokens attend to.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Layers.h"
#include "flame/Models/ModelClass.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::models;

namespace {

struct Heads {
  int64_t query, key, width;
  bool bias;
};

struct Attended {
  Value states, keys, values; // keys and values [B, Hkv, S, D]
};

Attended selfAttention(const Scope &m, Value x, const Rotation &positions, const Heads &h) {
  auto split = [&](const char *name, int64_t heads) {
    return splitHeads(m.graph(), linear(m / name, x, heads * h.width, h.bias), heads, name);
  };
  // [S, D / 2] broadcasts to [B, H, S, D / 2].
  auto turned = [&](Value v) {
    return m->narrow(rotatePairs(m.graph(), m->widen(v), positions.cosine, positions.sine, Pairs::Halves),
                     m.type);
  };
  Value q = turned(split("q_proj", h.query)), k = turned(split("k_proj", h.key)), v = split("v_proj", h.key);
  Value y = attention(m, q, k, v, {1 / std::sqrt(double(h.width)), {}, /*causal=*/true});
  return {linear(m / "o_proj", joinHeads(m.graph(), y), fixedDim(m, x, -1), h.bias), k, v};
}

Value mlp(const Scope &m, Value x, int64_t inner, StringRef function, bool bias) {
  Value gate = activation(m, function, linear(m / "gate_proj", x, inner, bias));
  return linear(m / "down_proj", m->mul(gate, linear(m / "up_proj", x, inner, bias)), fixedDim(m, x, -1), bias);
}

/// The angles' frequencies, with the scaling that llama3 has for long contexts.
SmallVector<double> frequenciesOf(const ModelConfig &config, int64_t width) {
  SmallVector<double> frequencies = rotaryFrequencies(width, config.number("rope_theta", 10000));
  if (!config.has("rope_scaling"))
    return frequencies;
  ModelConfig scaling(config.json.at("rope_scaling"), config.file + ": rope_scaling");
  std::string kind = scaling.text("rope_type", scaling.text("type", "default"));
  if (kind == "default")
    return frequencies;
  if (kind != "llama3")
    config.fail("rope_scaling", "of the types, only llama3 and default are supported", ImportStatus::Unsupported);
  double factor = scaling.number("factor"), low = scaling.number("low_freq_factor"),
         high = scaling.number("high_freq_factor");
  double context = scaling.number("original_max_position_embeddings");
  for (double &frequency : frequencies) {
    double wave = 2 * M_PI / frequency, smooth = (context / wave - low) / (high - low);
    smooth = std::min(std::max(smooth, 0.0), 1.0);
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
  return frequencies;
}

} // namespace

void models::buildLlama(ModelContext &c) {
  const ModelConfig &config = c.config;
  int64_t width = config.integer("hidden_size", 4096), inner = config.integer("intermediate_size", 11008);
  int64_t vocabulary = config.integer("vocab_size", 32000);
  Heads h;
  h.query = config.integer("num_attention_heads", 32, 1, 4096);
  h.key = config.integer("num_key_value_heads", h.query, 1, 4096);
  config.divide("num_attention_heads", h.query, "num_key_value_heads", h.key);
  h.width = config.has("head_dim") ? config.integer("head_dim", std::nullopt, 2, 4096)
                                   : config.divide("hidden_size", width, "num_attention_heads", h.query);
  if (h.width % 2)
    config.fail("num_attention_heads", "heads of " + std::to_string(h.width) + " elements can't be turned in pairs");
  h.bias = config.flag("attention_bias", false);
  bool mlpBias = config.flag("mlp_bias", false);
  double epsilon = config.number("rms_norm_eps", 1e-6);
  std::string function = config.text("hidden_act", "silu");
  int64_t count = c.layers("num_hidden_layers", 32, "model.layers");

  const Scope m = c.root / "model";
  c.tuneFor({{"batch", 1}, {"tokens", 512}});
  Value ids = c.input("input_ids", c.i64(), {"batch", "tokens"});
  Value x = embedding(m / "embed_tokens", ids, vocabulary, width);
  Scope place = m / "rotary_emb";
  Rotation positions =
      rotation(place, place->iota(place->dim(ids, 1), c.i64()), frequenciesOf(config, h.width), c.f32());
  std::vector<std::pair<Value, Value>> cache;
  for (int64_t i = 0; i < count; ++i) {
    Scope layer = m / "layers" / i;
    c.weights.ignore(layer.path + ".self_attn.rotary_emb.inv_freq"); // old files have them
    Attended a = selfAttention(layer / "self_attn", rmsNorm(layer / "input_layernorm", x, epsilon), positions, h);
    x = layer->add(x, a.states);
    x = layer->add(
        x, mlp(layer / "mlp", rmsNorm(layer / "post_attention_layernorm", x, epsilon), inner, function, mlpBias));
    cache.emplace_back(a.keys, a.values);
  }
  x = rmsNorm(m / "norm", x, epsilon);
  bool tied = config.flag("tie_word_embeddings", false);
  if (tied)
    c.weights.ignore("lm_head.weight");
  c.output("logits", linear(tied ? m / "embed_tokens" : c.root / "lm_head", x, vocabulary, /*bias=*/false));
  for (auto [i, layer] : llvm::enumerate(cache)) {
    c.output("present." + std::to_string(i) + ".key", layer.first);
    c.output("present." + std::to_string(i) + ".value", layer.second);
  }
}
