//===- Llama.cpp - LlamaForCausalLM -----------------------------------------------------------------------------------===//
//
// A causal transformer with RMS norms, rotary positions, grouped heads and a gated MLP. Beside the logits come the keys
// and values of every layer, which later tokens attend to. The part `decode` takes new tokens behind those that caches
// of keys and values hold, and puts theirs into the caches.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Models/Layers.h"
#include "flame/Models/ModelClass.h"
#include "flame/Ops/Index.h"
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

/// Where new tokens stand in the caches, for all layers.
struct Places {
  Value positions; // i64 [B, S]
  Value rows;      // i64 [B, 1, G * S, 1]: the positions, for each of the heads that share keys and values
  Value end;       // i64 [B, 1, 1, 1]: how many tokens there are now
  Value elements;  // i64 [B, Hkv, S, D]: the positions, for each element of new keys and values
};

/// `past`, i64 [B]: how many tokens the caches hold. A run ends with an error where the new ones don't fit behind them.
Places placesOf(const Scope &m, Value past, DimExpr tokens, DimExpr capacity, const Heads &h) {
  Type i64 = m->b.getI64Type();
  DimExpr batch = m->dim(past, 0), one = m->shapes.constant(1), group = m->shapes.constant(h.query / h.key);
  auto number = [&](DimExpr size) { return m->reshape(m->shapeTensor(size), GraphBuilder::Axes()); };
  // The last token's position must be one of the cache. An index may count from the end, so a negative past is turned
  // into one that can't be.
  Value last = m->sub(m->add(past, number(tokens)), m->i64Scalar(1));
  last = m->where(m->less(past, m->i64Scalar(0)), m->sub(past, number(capacity)), last);
  Value end = m->add(m->checkedIndices(last, capacity), m->i64Scalar(1));
  Value first = m->sub(end, number(tokens));
  Places p;
  p.positions = m->add(m->unsqueeze(first, {1}), m->iota(tokens, i64));
  Value shared = m->expand(m->unsqueeze(p.positions, {1}), {batch, group, tokens});
  p.rows = m->reshape(shared, {batch, one, group * tokens, one});
  p.end = m->unsqueeze(end, {1, 2, 3});
  p.elements = m->expand(m->unsqueeze(p.positions, {1, 3}),
                         {batch, m->shapes.constant(h.key), tokens, m->shapes.constant(h.width)});
  return p;
}

/// Queries [B, H, S, D] attend to caches [B, Hkv, C, D], each to the positions up to its own. Heads that share keys and
/// values are rows of one product, so that the caches are read once for all of them.
Value cachedAttention(const Scope &m, Value q, Value keys, Value values, const Places &places, const Heads &h) {
  SmallVector<DimExpr> dims(m->dims(q));
  DimExpr rows = m->dim(places.rows, 2);
  Value grouped = m->reshape(q, {dims[0], m->shapes.constant(h.key), rows, dims[3]});
  Value y = attention(m, grouped, keys, values,
                      {1 / std::sqrt(double(h.width)), {}, /*causal=*/false, places.rows, places.end});
  return m->reshape(y, dims);
}

/// `past`: the caches of keys and values that new ones are put into; null where there are none.
Attended selfAttention(const Scope &m, Value x, const Rotation &positions, const Heads &h, const Places *places,
                       std::pair<Value, Value> past) {
  auto split = [&](const char *name, int64_t heads) {
    return splitHeads(m.graph(), linear(m / name, x, heads * h.width, h.bias), heads, name);
  };
  // [S, D / 2] or [B, 1, S, D / 2] broadcasts to [B, H, S, D / 2].
  auto turned = [&](Value v) {
    return m->narrow(rotatePairs(m.graph(), m->widen(v), positions.cosine, positions.sine, Pairs::Halves), m.type);
  };
  Value q = turned(split("q_proj", h.query)), k = turned(split("k_proj", h.key)), v = split("v_proj", h.key);
  Value y;
  if (places) {
    auto updated = [&](Value cache, Value states) {
      return m->op<ScatterElementsOp>({cache, places->elements, states}, m->attr("axis", 2));
    };
    k = updated(past.first, k);
    v = updated(past.second, v);
    y = cachedAttention(m, q, k, v, *places, h);
  } else {
    y = attention(m, q, k, v, {1 / std::sqrt(double(h.width)), {}, /*causal=*/true});
  }
  return {linear(m / "o_proj", joinHeads(m.graph(), y), fixedDim(m, x, -1), h.bias), k, v};
}

Value mlp(const Scope &m, Value x, int64_t inner, StringRef function, bool bias) {
  Value gate = activation(m, function, linear(m / "gate_proj", x, inner, bias));
  return linear(m / "down_proj", m->mul(gate, linear(m / "up_proj", x, inner, bias)), fixedDim(m, x, -1), bias);
}

/// The angles' frequencies, with the scaling that llama3 has for long contexts. transformers 5 writes all about them as
/// `rope_parameters`, version 4 `rope_theta` and `rope_scaling`.
SmallVector<double> frequenciesOf(const ModelConfig &config, int64_t width) {
  const char *key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (config.has(key) && !config.json.at(key).is_object())
    config.fail(key, "it must be an object");
  ModelConfig scaling(config.has(key) ? config.json.at(key) : Json::object(), config.file + ": " + key);
  SmallVector<double> frequencies =
      rotaryFrequencies(width, scaling.number("rope_theta", config.number("rope_theta", 10000)));
  std::string kind = scaling.text("rope_type", scaling.text("type", "default"));
  if (kind == "default")
    return frequencies;
  if (kind != "llama3")
    config.fail(key, "of the types, only llama3 and default are supported", ImportStatus::Unsupported);
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
  const bool isDecode = c.part == "decode";
  if (isDecode)
    c.tuneFor({{"batch", 1}, {"tokens", 1}, {"capacity", 4096}});
  else
    c.tuneFor({{"batch", 1}, {"tokens", 512}});
  Value ids = c.input("input_ids", c.i64(), {"batch", "tokens"});
  std::vector<std::pair<Value, Value>> cache(count);
  auto named = [](const char *when, int64_t layer, const char *what) {
    return std::string(when) + "." + std::to_string(layer) + "." + what;
  };
  std::optional<Places> places;
  if (isDecode) {
    Value past = c.input("past_lengths", c.i64(), {"batch"});
    for (int64_t i = 0; i < count; ++i)
      for (auto [what, tensor] : {std::pair("key", &cache[i].first), std::pair("value", &cache[i].second)})
        *tensor = c.input(named("past", i, what), m.type, {"batch", h.key, "capacity", h.width});
    if (count)
      places = placesOf(m / "cache", past, m->dim(ids, 1), m->dim(cache[0].first, 2), h);
  }
  Value x = embedding(m / "embed_tokens", ids, vocabulary, width);
  Scope place = m / "rotary_emb";
  Value at = places ? place->unsqueeze(places->positions, {1}) : place->iota(place->dim(ids, 1), c.i64());
  Rotation positions = rotation(place, at, frequenciesOf(config, h.width), c.f32());
  for (int64_t i = 0; i < count; ++i) {
    Scope layer = m / "layers" / i;
    c.weights.ignore(layer.path + ".self_attn.rotary_emb.inv_freq"); // old files have them
    Attended a = selfAttention(layer / "self_attn", rmsNorm(layer / "input_layernorm", x, epsilon), positions, h,
                               places ? &*places : nullptr, cache[i]);
    x = layer->add(x, a.states);
    x = layer->add(
        x, mlp(layer / "mlp", rmsNorm(layer / "post_attention_layernorm", x, epsilon), inner, function, mlpBias));
    cache[i] = {a.keys, a.values};
  }
  x = rmsNorm(m / "norm", x, epsilon);
  bool tied = config.flag("tie_word_embeddings", false);
  if (tied)
    c.weights.ignore("lm_head.weight");
  c.output("logits", linear(tied ? m / "embed_tokens" : c.root / "lm_head", x, vocabulary, /*bias=*/false));
  for (auto [i, layer] : llvm::enumerate(cache)) {
    c.output(named("present", i, "key"), layer.first);
    c.output(named("present", i, "value"), layer.second);
  }
}
