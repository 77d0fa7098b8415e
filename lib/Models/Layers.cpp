//===- Layers.cpp - see Layers.h
//--------------------------------------------------------------------------------------===//
#include "flame/Models/Layers.h"
#include "flame/Builder/NeuralOps.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/Twine.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace flame;
using namespace flame::models;

int64_t models::fixedDim(const Scope &m, Value x, int64_t d) {
  auto size = m->dim(x, m->axis(d, m->rank(x))).constant();
  if (!size)
    m->fail("dimension " + Twine(d) + " must have a known size");
  return *size;
}

Value models::linear(const Scope &m, Value x, int64_t out, bool bias) {
  Value weight = m.weight("weight", {out, fixedDim(m, x, -1)});
  Value y = m->matmul(x, m->transpose(weight, {1, 0}));
  return bias ? m->add(y, m.weight("bias", {out})) : y;
}

Value models::embedding(const Scope &m, Value ids, int64_t count, int64_t width) {
  Value table = m.weight("weight", {count, width});
  return m->gather(table, m->checkedIndices(ids, m->dim(table, 0)), 0);
}

Value models::plainLayerNorm(const Scope &m, Value x, double epsilon) {
  return m->narrow(standardize(m.graph(), m->widen(x), m->rank(x) - 1, epsilon).normalized, m.type);
}

Value models::layerNorm(const Scope &m, Value x, double epsilon) {
  int64_t width = fixedDim(m, x, -1);
  Value y = m->mul(plainLayerNorm(m, x, epsilon), m.weight("weight", {width}));
  return m->add(y, m.weight("bias", {width}));
}

Value models::rmsNorm(const Scope &m, Value x, double epsilon) {
  Value y = rmsNormalize(m.graph(), m->widen(x), m->rank(x) - 1, epsilon);
  return m->mul(m->narrow(y, m.type), m.weight("weight", {fixedDim(m, x, -1)}));
}

Value models::groupNorm(const Scope &m, Value x, int64_t groups, double epsilon) {
  int64_t channels = fixedDim(m, x, 1);
  Value weight = m.weight("weight", {channels}), bias = m.weight("bias", {channels});
  return groupNormalize(m.graph(), x, groups, weight, bias, epsilon, m->elementType(m->widen(x)));
}

Value models::conv2d(const Scope &m, Value x, int64_t out, const ConvOptions &options) {
  Value weight = m.weight("weight", {out, fixedDim(m, x, 1), options.kernel, options.kernel});
  int64_t before = options.padBefore, after = options.padAfter;
  SmallVector<int64_t> strides(2, options.stride), dilations(2, 1);
  Value y = m->op<ConvOp>({x, weight, m->i64({before, before, after, after})},
                          {m->attr("strides", GraphBuilder::Axes(strides)),
                           m->attr("dilations", GraphBuilder::Axes(dilations)), m->attr("groups", 1)});
  return m->add(y, m->unsqueeze(m.weight("bias", {out}), {1, 2}));
}

Value models::upsampleNearest(const Scope &m, Value x) {
  DimExpr n = m->dim(x, 0), c = m->dim(x, 1), h = m->dim(x, 2), w = m->dim(x, 3), two = m->shapes.constant(2);
  // With the channels inside, as convolutions on a GPU read them. The transposes are ways to read and to store.
  Value last = m->unsqueeze(m->transpose(x, {0, 2, 3, 1}), {2, 4});
  Value repeated = m->reshape(m->expand(last, {n, h, two, w, two, c}), {n, h * 2, w * 2, c});
  return m->transpose(repeated, {0, 3, 1, 2});
}

Value models::activation(const Scope &m, StringRef name, Value x) {
  if (name == "gelu")
    return m->op<GeluOp>(x);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh")
    return m->op<GeluOp>(x, m->flag("approximate", true));
  if (name == "quick_gelu")
    return m->op<SiluOp>(x, m->attrF("alpha", 1.702));
  if (name == "silu" || name == "swish")
    return m->op<SiluOp>(x);
  if (name == "relu")
    return m->op<ReluOp>(x);
  m->fail("the activation '" + name + "' is unknown; gelu, gelu_new, quick_gelu, silu and relu are there");
}

Value models::attention(const Scope &m, Value q, Value k, Value v, const AttentionOptions &options) {
  GraphBuilder &g = m.graph();
  Type wide = g.elementType(g.widen(q));
  HeadGroups groups(g, q, k);
  Value scores = groups.scores(q, k, wide);
  if (options.scale != 1)
    scores = g.mul(scores, g.scalar(wide, options.scale));
  if (options.bias)
    scores = g.add(scores, groups.ofScores(g.cast(options.bias, wide)));
  if (options.causal)
    scores = maskFuture(g, scores, g.shapes.constant(0));
  if (options.lastKey) {
    Value keys = g.iota(g.dim(scores, -1), g.b.getI64Type()),
          hidden = g.scalar(wide, -std::numeric_limits<double>::infinity());
    scores = g.where(groups.ofScores(g.lessEqual(keys, options.lastKey)), scores, hidden);
    scores = g.where(groups.ofScores(g.less(keys, options.keyBound)), scores, hidden);
  }
  return groups.join(g.matmul(g.narrow(g.softmax(scores, -1), g.elementType(v)), groups.share(v)));
}

SmallVector<double> models::rotaryFrequencies(int64_t width, double theta) {
  SmallVector<double> frequencies;
  for (int64_t i = 0; i < width; i += 2)
    frequencies.push_back(1 / std::pow(theta, double(i) / double(width)));
  return frequencies;
}

Rotation models::rotation(const Scope &m, Value positions, ArrayRef<double> frequencies, Type precision) {
  auto type = RankedTensorType::get(int64_t(frequencies.size()), m->b.getF64Type());
  Value factors = m->cast(m->constant(DenseElementsAttr::get(type, frequencies)), precision);
  Value angles = m->mul(m->unsqueeze(m->cast(positions, precision), m->rank(positions)), factors);
  return {m->cast(m->op<CosOp>(angles), m->b.getF32Type()), m->cast(m->op<SinOp>(angles), m->b.getF32Type())};
}

Value models::sinusoidalEmbedding(const Scope &m, Value numbers, int64_t width) {
  int64_t half = width / 2;
  SmallVector<float> exponents;
  for (int64_t i = 0; i < half; ++i)
    exponents.push_back(float(-std::log(10000.0)) * float(i) / float(half));
  auto type = RankedTensorType::get(half, m->b.getF32Type());
  // Computed where the model runs, as diffusers does: numbers go up to 1000, so the last bit of a frequency shows.
  Value factors = m->op<ExpOp>(m->constant(DenseElementsAttr::get(type, ArrayRef<float>(exponents))));
  Value angles = m->mul(m->unsqueeze(m->cast(numbers, m->b.getF32Type()), m->rank(numbers)), factors);
  return m->concat({m->op<CosOp>(angles), m->op<SinOp>(angles)}, -1);
}

SmallVector<Value> models::chunk(const Scope &m, Value x, int64_t count) {
  int64_t width = fixedDim(m, x, -1) / count;
  SmallVector<Value> parts;
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(m->sliceAxis(x, -1, m->shapes.constant(i * width), m->shapes.constant(width)));
  return parts;
}

Value models::rounded(const Scope &m, Value x) { return m->widen(m->cast(x, m.type)); }
