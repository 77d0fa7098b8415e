//===- AttentionOnnx.cpp - scaled dot-product attention of ONNX
//-------------------------------------------------------===//
//
// Compositions of matmul, softmax and pointwise ops.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Attention.h"
#include "flame/Ops/Index.h"
#include "llvm/ADT/Twine.h"
#include <cmath>

using namespace mlir;
using namespace flame;

/// 1 / sqrt(size) as a scalar.
static Value inverseRoot(OnnxNode &n, DimExpr size, Type type) {
  if (size.constant())
    return n.scalar(type, 1 / std::sqrt(double(*size.constant())));
  Value number = n.cast(n.reshape(n.shapeTensor(size), GraphBuilder::Axes()), n.b.getF64Type());
  return n.cast(n.reciprocal(n.sqrt(number)), type);
}

/// The mask padded along its last dim to `length`, with what masks out.
static Value padMask(OnnxNode &n, Value mask, DimExpr length) {
  int64_t last = n.rank(mask) - 1;
  DimExpr size = n.dim(mask, last);
  if (size == length || size.isConstant(1))
    return mask;
  SmallVector<DimExpr> dims(n.dims(mask));
  dims[last] = length - size;
  Type type = n.elementType(mask);
  Value masked = n.scalar(type, type.isInteger(1) ? 0 : -std::numeric_limits<double>::infinity());
  return n.concat({mask, n.fill(dims, masked)}, last);
}

static void attention(OnnxNode &n) {
  Value q = n.input(0), k = n.input(1), v = n.input(2);
  Type type = n.elementType(q);
  int64_t rank = n.rank(q);
  if ((rank != 3 && rank != 4) || n.rank(k) != rank || n.rank(v) != rank)
    n.fail("Q, K and V have ranks " + Twine(rank) + ", " + Twine(n.rank(k)) + " and " + Twine(n.rank(v)) +
           "; all must be 3 or all 4");
  if (rank == 3) {
    int64_t keyHeads = n.intAttr("kv_num_heads", 0);
    q = splitHeads(n, q, n.intAttr("q_num_heads", 0), "query");
    k = splitHeads(n, k, keyHeads, "key");
    v = splitHeads(n, v, keyHeads, "value");
  }
  DimExpr past = n.shapes.constant(0);
  if (n.hasInput(4)) {
    past = n.dim(n.input(4), 2);
    k = n.concat({n.input(4), k}, 2);
  }
  if (n.hasInput(5))
    v = n.concat({n.input(5), v}, 2);
  if (n.wantsOutput(1))
    n.setOutput(1, k);
  if (n.wantsOutput(2))
    n.setOutput(2, v);

  DimExpr keys = n.dim(k, 2);
  // Scores of narrow inputs stay in f32: fused, they never are in memory, and the order of a sum decides no rounding.
  Type wide = type.getIntOrFloatBitWidth() < 32 ? Type(n.b.getF32Type()) : type;
  Value scale = n.hasAttr("scale") ? n.scalar(wide, n.floatAttr("scale")) : inverseRoot(n, n.dim(q, 3), wide);
  HeadGroups groups(n, q, k);
  Value scores = n.mul(groups.scores(q, k, wide), scale);
  int64_t mode = n.intAttr("qk_matmul_output_mode", 0);
  auto stage = [&](int64_t which, Value value) {
    if (mode == which && n.wantsOutput(3))
      n.setOutput(3, n.cast(groups.join(value), type));
  };
  stage(0, scores);
  if (double cap = n.floatAttr("softcap", 0); cap > 0)
    scores = n.mul(n.tanh(n.div(scores, n.scalar(wide, cap))), n.scalar(wide, cap));
  stage(1, scores);

  // Everything that masks out becomes −inf, where it stands.
  Value lowest = n.scalar(wide, -std::numeric_limits<double>::infinity());
  Type index = n.b.getI64Type();
  if (n.hasInput(3)) {
    Value mask = groups.ofScores(padMask(n, n.input(3), keys));
    scores = n.elementType(mask).isInteger(1) ? n.where(mask, scores, lowest) : n.add(scores, n.cast(mask, wide));
  }
  if (n.intAttr("is_causal", 0))
    scores = maskFuture(n, scores, past);
  if (n.hasInput(6)) {
    Value valid = n.less(n.iota(keys, index), n.unsqueeze(n.cast(n.input(6), index), {1, 2, 3}));
    scores = n.where(groups.ofScores(valid), scores, lowest);
  }
  stage(2, scores);
  Type precision = n.intAttr("softmax_precision", 0) ? n.dtypeAttr("softmax_precision") : wide;
  if (!isa<FloatType>(precision))
    n.fail("attribute 'softmax_precision' is " + dtypeName(precision) + "; it must be a floating-point type");
  Value weights = n.softmax(n.cast(scores, precision), -1);
  stage(3, weights);
  Value y = groups.join(n.matmul(n.narrow(weights, n.elementType(v)), groups.share(v)));
  n.setOutput(0, n.cast(rank == 3 ? joinHeads(n, y) : y, type));
}

/// A subgraph that maps one tensor to another of the same type.
static Value modify(OnnxNode &n, StringRef attribute, Value x) {
  if (!n.hasAttr(attribute))
    return x;
  SmallVector<Value> results = n.inlineGraph(attribute, {x});
  if (results.size() != 1 || n.rank(results[0]) != n.rank(x) || n.elementType(results[0]) != n.elementType(x))
    n.fail("the subgraph '" + attribute + "' must give one tensor of the type of its input");
  return results[0];
}

static void flexAttention(OnnxNode &n) {
  Value q = n.input(0), k = n.input(1), v = n.input(2);
  Type type = n.elementType(q);
  for (unsigned i = 0; i < 3; ++i)
    if (n.rank(n.input(i)) != 4)
      n.fail("input " + Twine(i) + " has rank " + Twine(n.rank(n.input(i))) + "; it must be 4");
  Type precision = n.intAttr("softmax_precision", 0) ? n.dtypeAttr("softmax_precision")
                   : type.isF64()                    ? type
                                                     : Type(n.b.getF32Type());
  Value scale = n.hasAttr("scale") ? n.scalar(precision, n.floatAttr("scale")) : inverseRoot(n, n.dim(q, 3), precision);
  Value left = n.mul(n.cast(q, precision), scale), right = n.transpose(n.cast(k, precision), {0, 1, 3, 2});
  Value scores = modify(n, "score_mod", multiplyHeads(n, left, right));
  Value weights = modify(n, "prob_mod", n.softmax(scores, -1));
  n.setOutput(0, n.cast(multiplyHeads(n, weights, n.cast(v, precision)), type));
}

static void linearAttention(OnnxNode &n) {
  std::string rule = n.stringAttr("update_rule", "gated_delta");
  bool gated = rule == "gated" || rule == "gated_delta", delta = rule == "delta" || rule == "gated_delta";
  if (!gated && !delta && rule != "linear")
    n.fail("attribute 'update_rule' is \"" + rule +
           "\"; it must be \"linear\", \"gated\", \"delta\" or \"gated_delta\"");
  int64_t heads = n.intAttr("q_num_heads"), keyHeads = n.intAttr("kv_num_heads");
  if (heads <= 0 || keyHeads <= 0 || heads % keyHeads != 0)
    n.fail("q_num_heads is " + Twine(heads) + ", kv_num_heads " + Twine(keyHeads) +
           "; the first must be a positive multiple of the second");
  for (unsigned i = 0; i < 3; ++i)
    if (n.rank(n.input(i)) != 3)
      n.fail("input " + Twine(i) + " has rank " + Twine(n.rank(n.input(i))) + "; it must be 3");
  // The state accumulates in f32.
  Type type = n.elementType(n.input(0)), wide = n.b.getF32Type();
  Value q = n.cast(splitHeads(n, n.input(0), heads, "query"), wide);
  Value k = n.cast(splitHeads(n, n.input(1), keyHeads, "key"), wide);
  Value v = n.cast(splitHeads(n, n.input(2), keyHeads, "value"), wide);
  Type stateType = n.hasInput(3) ? n.elementType(n.input(3)) : type;
  Value state = n.hasInput(3) ? n.cast(n.input(3), wide)
                              : n.fill({n.dim(k, 0), n.dim(k, 1), n.dim(k, 3), n.dim(v, 3)}, n.scalar(wide, 0));
  SmallVector<Value> operands{q, k, v, state};
  if (gated)
    operands.push_back(n.cast(splitHeads(n, n.input(4), keyHeads, "decay"), wide));
  if (delta) {
    Value beta = n.cast(n.input(5), wide);
    operands.push_back(n.unsqueeze(n.transpose(beta, {0, 2, 1}), 3));
  }
  double scale = n.floatAttr("scale", 0);
  if (scale == 0) {
    auto width = n.dim(q, 3).constant();
    if (!width)
      n.fail("the head size is known only at run time; set the attribute 'scale'");
    scale = 1 / std::sqrt(double(*width));
  }
  auto op = n.create<LinearAttentionOp>(
      operands, {n.flag("gated", gated), n.flag("delta", delta), n.attrF("scale", scale)}, 2);
  n.setOutput(0, n.cast(joinHeads(n, op.getOutput()), type));
  if (n.wantsOutput(1))
    n.setOutput(1, n.cast(op.getNewState(), stateType));
}

namespace flame {
void registerCacheOnnx(OnnxRegistry &r); // AttentionOnnxCache.cpp
}

void flame::registerAttentionOnnx(OnnxRegistry &r) {
  r.add("Attention", attention, 23, "", "float");
  r.add("FlexAttention", flexAttention, 1, "ai.onnx.preview", "float");
  r.add("LinearAttention", linearAttention, 27, "", "float");
  registerCacheOnnx(r);
}
