//===- NormOnnx.cpp - ONNX normalisations as compositions -------------------------------------------------------------===//
//
// Statistics are two-pass (mean, then mean of squared differences): one-pass formulas cancel.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Norm.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

namespace {
struct Standardized {
  Value normalized, mean, variance, inverse; // inverse: 1 / sqrt(variance + epsilon)
};
} // namespace

/// (x − mean) / sqrt(variance + epsilon) over `axes`, in x's element type.
static Standardized standardize(OnnxNode &n, Value x, ArrayRef<int64_t> axes, double epsilon) {
  Standardized r;
  bool nothing = axes.empty(); // of a rank-2 instance norm: every element is its own mean
  r.mean = nothing ? x : n.mean(x, axes);
  Value difference = n.sub(x, r.mean), squares = n.mul(difference, difference);
  r.variance = nothing ? squares : n.mean(squares, axes);
  r.inverse = n.reciprocal(n.sqrt(n.add(r.variance, n.scalarLike(x, epsilon))));
  r.normalized = n.mul(difference, r.inverse);
  return r;
}

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
  Value wide = n.cast(x, stash);
  Value mean = n.mean(n.mul(wide, wide), llvm::to_vector(llvm::seq<int64_t>(axis, rank)));
  Value root = n.sqrt(n.add(mean, n.scalar(stash, n.floatAttr("epsilon", 1e-5))));
  // One division a row; the last bit of the quotient is far below what `type` keeps or a test can ask for.
  n.setOutput(0, n.mul(n.narrow(n.mul(wide, n.reciprocal(root)), type), n.input(1)));
}

static void groupNorm(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x), groups = n.intAttr("num_groups");
  if (rank < 2)
    n.fail("X has rank " + Twine(rank) + "; batch and channel dimensions are needed");
  SmallVector<DimExpr> dims(n.dims(x));
  auto channels = dims[1].constant();
  if (groups <= 0 || (channels && *channels % groups != 0))
    n.fail("num_groups is " + Twine(groups) + ", which doesn't divide the " + Twine(dims[1].str()) + " channels");
  Type type = n.elementType(x), stash = n.opset >= 21 ? stashType(n) : n.elementType(n.widen(x));
  // [N, G, C/G, D1, .., Dn] from the input to the result: all of it can then be one row program.
  DimExpr inGroup = floorDiv(dims[1], n.shapes.constant(groups));
  SmallVector<DimExpr> grouped(dims);
  grouped[1] = inGroup;
  grouped.insert(grouped.begin() + 1, n.shapes.constant(groups));
  auto perGroup = [&](Value v) { // [G, C/G, 1, .., 1], or from [G]
    SmallVector<DimExpr> shape(rank, n.shapes.constant(1));
    shape[0] = n.shapes.constant(groups);
    if (n.opset >= 21)
      shape[1] = inGroup;
    return n.reshape(v, shape);
  };
  Value wide = n.cast(n.reshape(x, grouped), stash);
  Value y = standardize(n, wide, llvm::to_vector(llvm::seq<int64_t>(2, rank + 1)), n.floatAttr("epsilon", 1e-5)).normalized;
  if (n.opset >= 21)
    y = n.add(n.mul(n.narrow(y, type), perGroup(n.input(1))), perGroup(n.input(2)));
  else
    y = n.narrow(n.add(n.mul(y, perGroup(n.cast(n.input(1), stash))), perGroup(n.cast(n.input(2), stash))), type);
  n.setOutput(0, n.reshape(y, dims));
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
