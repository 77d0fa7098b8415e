//===- NormOnnx.cpp - ONNX normalisations as compositions -------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Norm.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

/// A vector over the channels, shaped to broadcast against dims [.., C, D1, .., Dn].
static Value perChannel(OnnxNode &n, Value v, int64_t spatialRank) {
  return spatialRank <= 0 ? v : n.unsqueeze(v, llvm::to_vector(llvm::seq<int64_t>(1, spatialRank + 1)));
}

/// The precision of the statistics: `stash_type`.
static Type stashType(OnnxNode &n) {
  Type type = n.dtypeAttr("stash_type");
  if (type && !isa<FloatType>(type))
    n.fail("attribute 'stash_type' is " + dtypeName(type) + "; it must be a floating-point type");
  return type ? type : Type(n.b.getF32Type());
}

static void batchNorm(OnnxNode &n) {
  Value x = n.input(0), wide = n.widen(x);
  Type type = n.elementType(wide);
  int64_t rank = n.rank(x);
  double epsilon = n.floatAttr("epsilon", 1e-5), momentum = n.floatAttr("momentum", 0.9);
  bool wantsStatistics = n.wantsOutput(1) || n.wantsOutput(2);
  bool training = n.opset >= 14 ? n.intAttr("training_mode", 0) != 0
                  : n.opset < 7 ? wantsStatistics && n.intAttr("is_test", 0) == 0
                                : wantsStatistics;
  auto channel = [&](Value v) {
    // Without `spatial` (opset 7 and 8) there is a parameter for every position.
    return n.rank(v) > 1 ? n.cast(v, type) : perChannel(n, n.cast(v, type), rank - 2);
  };
  Value scale = n.input(1), bias = n.input(2), mean = n.input(3), variance = n.input(4);
  if (!training) {
    // As one multiply-add, whose factors depend on parameters alone.
    Value wideScale = n.cast(scale, type);
    Value inverse = n.reciprocal(n.sqrt(n.add(n.cast(variance, type), n.scalar(type, epsilon))));
    Value factor = n.mul(wideScale, inverse);
    Value offset = n.sub(n.cast(bias, type), n.mul(n.cast(mean, type), factor));
    return n.setOutput(0, n.narrow(n.add(n.mul(wide, channel(factor)), channel(offset)), n.elementType(x)));
  }
  SmallVector<int64_t> axes;
  for (int64_t d = 0; d < rank; ++d)
    if (d != 1)
      axes.push_back(d);
  Standardized r = standardize(n, wide, axes, epsilon);
  Value y = n.add(n.mul(r.normalized, channel(scale)), channel(bias));
  n.setOutput(0, n.narrow(y, n.elementType(x)));
  auto running = [&](Value old, Value current) {
    Value flat = rank == 1 ? current : n.squeeze(current, axes);
    Value kept = n.mul(n.cast(old, type), n.scalar(type, momentum));
    return n.cast(n.add(kept, n.mul(flat, n.scalar(type, 1 - momentum))), n.elementType(old));
  };
  if (n.wantsOutput(1))
    n.setOutput(1, running(mean, r.mean));
  if (n.wantsOutput(2))
    n.setOutput(2, running(variance, r.variance));
  if (n.wantsOutput(3))
    n.setOutput(3, n.cast(n.squeeze(r.mean, axes), n.elementType(mean)));
  if (n.wantsOutput(4))
    n.setOutput(4, n.cast(n.squeeze(r.variance, axes), n.elementType(variance)));
}

static void instanceNorm(OnnxNode &n) {
  Value x = n.input(0), wide = n.widen(x);
  Type type = n.elementType(wide);
  int64_t rank = n.rank(x);
  if (rank < 2)
    n.fail("input has rank " + Twine(rank) + "; batch and channel dimensions are needed");
  Standardized r = standardize(n, wide, llvm::to_vector(llvm::seq<int64_t>(2, rank)), n.floatAttr("epsilon", 1e-5));
  Value scale = perChannel(n, n.cast(n.input(1), type), rank - 2), bias = perChannel(n, n.cast(n.input(2), type), rank - 2);
  n.setOutput(0, n.narrow(n.add(n.mul(r.normalized, scale), bias), n.elementType(x)));
}

static void layerNorm(OnnxNode &n) {
  Value x = n.input(0);
  Type type = n.elementType(x), stash = stashType(n);
  int64_t rank = n.rank(x), axis = n.axis(n.intAttr("axis", -1), rank);
  Standardized r =
      standardize(n, n.cast(x, stash), llvm::to_vector(llvm::seq<int64_t>(axis, rank)), n.floatAttr("epsilon", 1e-5));
  Value y = n.mul(n.narrow(r.normalized, type), n.input(1));
  n.setOutput(0, n.hasInput(2) ? n.add(y, n.input(2)) : y);
  if (n.wantsOutput(1))
    n.setOutput(1, r.mean);
  if (n.wantsOutput(2))
    n.setOutput(2, r.inverse);
}

static void rmsNorm(OnnxNode &n) {
  Value x = n.input(0);
  Type type = n.elementType(x), stash = stashType(n);
  int64_t rank = n.rank(x), axis = n.axis(n.intAttr("axis", -1), rank);
  Value normalized =
      rmsNormalize(n, n.cast(x, stash), llvm::to_vector(llvm::seq<int64_t>(axis, rank)), n.floatAttr("epsilon", 1e-5));
  n.setOutput(0, n.mul(n.narrow(normalized, type), n.input(1)));
}

static void groupNorm(OnnxNode &n) {
  Value x = n.input(0);
  if (n.rank(x) < 2)
    n.fail("X has rank " + Twine(n.rank(x)) + "; batch and channel dimensions are needed");
  // Since opset 21 there is a factor a channel, and it meets what is rounded already.
  bool perChannel = n.opset >= 21;
  Type stash = perChannel ? stashType(n) : n.elementType(n.widen(x));
  int64_t groups = n.intAttr("num_groups");
  auto factor = [&](unsigned i) {
    Value v = perChannel ? n.input(i) : n.cast(n.input(i), stash);
    DimExpr size = perChannel ? n.dim(x, 1) : n.shapes.constant(groups);
    if (n.rank(v) != 1 || (n.dim(v, 0) != size && n.dim(v, 0).constant() && size.constant()))
      n.fail("input " + Twine(i) + " must be a vector with an element " + (perChannel ? "a channel" : "a group"));
    return n.reshape(v, {size});
  };
  n.setOutput(0, groupNormalize(n, x, groups, factor(1), factor(2), n.floatAttr("epsilon", 1e-5), stash));
}

static void lrn(OnnxNode &n) {
  Value x = n.input(0), wide = n.widen(x);
  int64_t size = n.intAttr("size");
  if (size <= 0)
    n.fail("size is " + Twine(size) + "; it must be positive");
  if (n.rank(x) < 2)
    n.fail("X has rank " + Twine(n.rank(x)) + "; batch and channel dimensions are needed");
  Value sum = n.op<WindowSumOp>(n.mul(wide, wide),
                                {n.attr("axis", 1), n.attr("before", (size - 1) / 2), n.attr("after", size / 2)});
  Value scaled = n.mul(sum, n.scalarLike(wide, n.floatAttr("alpha", 1e-4) / double(size)));
  Value base = n.add(scaled, n.scalarLike(wide, n.floatAttr("bias", 1)));
  n.setOutput(0, n.cast(n.div(wide, n.pow(base, n.scalarLike(wide, n.floatAttr("beta", 0.75)))), n.elementType(x)));
}

static void lpNorm(OnnxNode &n) {
  Value x = n.input(0), wide = n.widen(x);
  int64_t p = n.intAttr("p", 2), axis = n.intAttr("axis", -1);
  if (p != 1 && p != 2)
    n.fail("p is " + Twine(p) + "; it must be 1 or 2");
  Value norm = p == 1 ? n.sum(n.abs(wide), axis) : n.sqrt(n.sum(n.mul(wide, wide), axis));
  Value zero = n.scalarLike(wide, 0);
  n.setOutput(0, n.cast(n.where(n.equal(norm, zero), zero, n.div(wide, norm)), n.elementType(x)));
}

static void meanVarianceNorm(OnnxNode &n) {
  Value x = n.input(0), wide = n.widen(x);
  SmallVector<int64_t> axes = n.hasAttr("axes") ? n.intsAttr("axes") : SmallVector<int64_t>{0, 2, 3};
  Value difference = n.sub(wide, n.mean(wide, axes));
  Value deviation = n.sqrt(n.mean(n.mul(difference, difference), axes));
  // The operator's function body adds this to the deviation: a constant input gives 0.
  n.setOutput(0, n.cast(n.div(difference, n.add(deviation, n.scalarLike(wide, 1e-9))), n.elementType(x)));
}

void flame::registerNormOnnx(OnnxRegistry &r) {
  r.add("BatchNormalization", batchNorm, 6, "", "float");
  r.add("InstanceNormalization", instanceNorm, 6, "", "float");
  r.add("LayerNormalization", layerNorm, 17, "", "float");
  r.add("RMSNormalization", rmsNorm, 23, "", "float");
  r.add("GroupNormalization", groupNorm, 18, "", "float");
  r.add("LRN", lrn, 1, "", "float");
  r.add("LpNormalization", lpNorm, 1, "", "float");
  r.add("MeanVarianceNormalization", meanVarianceNorm, 9, "", "float");
}
