//===- ReduceOnnx.cpp - ONNX reductions, scans and softmax ------------------------------------------------------------===//
//
// Axes may be an input that is known only at run time. Each dim is then split in two, one of which is 1: the kept part
// and the reduced part. The reduction over all the second ones is static.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Reduce.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"
#include <cmath>

using namespace mlir;
using namespace flame;

namespace {
/// The operand of a reduction, brought into a form with static axes.
struct Reduction {
  OnnxNode &n;
  Value x;
  SmallVector<int64_t> axes; // none: nothing is reduced
  bool keepDims = true;
  std::optional<SmallVector<DimExpr>> finalDims; // of the result, where the axes are known at run time

  explicit Reduction(OnnxNode &n) : n(n), x(n.input(0)), keepDims(n.intAttr("keepdims", 1) != 0) {
    bool present = false, noop = n.intAttr("noop_with_empty_axes", 0) != 0;
    int64_t rank = n.rank(x);
    auto known = n.intsInputOrAttr(1, "axes", present);
    if (known)
      axes = n.axes(*known, rank);
    if (present && !known)
      splitDims(noop);
    else if (axes.empty() && !noop)
      axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  }

  Value reduce(StringRef kind, Value v) { return axes.empty() ? v : n.reduce(kind, v, axes, true); }
  /// From a result with all dims kept.
  Value finish(Value v) {
    if (finalDims)
      return n.reshape(v, *finalDims);
    return keepDims || axes.empty() ? v : n.squeeze(v, axes);
  }
  Value reduceAndFinish(StringRef kind, Value v) {
    if (finalDims || axes.empty())
      return finish(reduce(kind, v));
    return n.reduce(kind, v, axes, keepDims);
  }

private:
  void splitDims(bool noop) {
    Value list = n.input(1);
    if (n.rank(list) != 1)
      n.fail("axes must be a vector, has rank " + Twine(n.rank(list)));
    int64_t rank = n.rank(x);
    DimExpr zero = n.shapes.constant(0), one = n.shapes.constant(1), count = n.dim(list, 0);
    if (!count.constant())
      n.fail("the number of axes is known only at run time; give the axes input a static shape or make it a constant");
    if (*count.constant() > rank)
      n.fail("axes has " + Twine(*count.constant()) + " elements, the tensor " + Twine(rank) + " dimensions; no axis may stand twice");
    // The sizes of the result are sums over all assignments of axes to dimensions.
    constexpr double mostAssignments = 256;
    if (std::pow(*count.constant() + 1, rank) > mostAssignments)
      n.fail(Twine(*count.constant()) + " axes that are known only at run time, of a tensor of rank " + Twine(rank) +
             ", are too many possibilities; make the axes input a constant");
    SmallVector<DimExpr> split, kept, mask;
    for (int64_t d = 0; d < rank; ++d) {
      DimExpr named = zero;
      for (int64_t i = 0; i < *count.constant(); ++i)
        named = named + n.isEqual(n.normalizedAxis(n.shapes.element(list, i), rank), n.shapes.constant(d));
      if (*count.constant() == 0 && !noop)
        named = one;
      mask.push_back(named);
      DimExpr dim = n.dim(x, d), outer = one + (one - named) * (dim - one);
      kept.push_back(outer);
      split.push_back(outer);
      split.push_back(one + named * (dim - one));
      axes.push_back(2 * d + 1);
    }
    x = n.reshape(x, split);
    finalDims = kept;
    if (keepDims)
      return;
    // The kept dims move together: dim d comes to the position that counts the kept ones before it.
    int64_t removed = *count.constant() == 0 ? (noop ? 0 : rank) : *count.constant();
    SmallVector<DimExpr> compact(std::max<int64_t>(rank - removed, 0), zero);
    DimExpr position = zero;
    for (int64_t d = 0; d < rank; ++d) {
      for (auto [j, dim] : llvm::enumerate(compact))
        dim = dim + (one - mask[d]) * n.isEqual(position, n.shapes.constant(j)) * kept[d];
      position = position + one - mask[d];
    }
    finalDims = compact;
  }
};
} // namespace

static OnnxRegistry::Import reduction(const char *kind) {
  return [kind](OnnxNode &n) {
    Reduction r(n);
    n.setOutput(0, r.reduceAndFinish(kind, r.x));
  };
}

/// Reductions with a computation before or after run in f32 for narrower floats and, where that needs fractions, in f64
/// for integers.
static Value wideOperand(OnnxNode &n, Value x, bool fractions) {
  return fractions && !isa<FloatType>(n.elementType(x)) ? n.cast(x, n.b.getF64Type()) : n.widen(x);
}

static void reduceL1(OnnxNode &n) {
  Reduction r(n);
  n.setOutput(0, r.reduceAndFinish("sum", n.abs(r.x)));
}

static void reduceSquares(OnnxNode &n, bool root) {
  Reduction r(n);
  Value x = wideOperand(n, r.x, root);
  Value sum = r.reduceAndFinish("sum", n.mul(x, x));
  n.setOutput(0, n.cast(root ? n.sqrt(sum) : sum, n.elementType(r.x)));
}

static void reduceLogSum(OnnxNode &n) {
  Reduction r(n);
  Value sum = r.reduceAndFinish("sum", wideOperand(n, r.x, true));
  n.setOutput(0, n.cast(n.log(sum), n.elementType(r.x)));
}

static void reduceLogSumExp(OnnxNode &n) {
  Reduction r(n);
  Value x = wideOperand(n, r.x, true), largest = r.reduce("max", x);
  // Infinite maxima would make inf − inf: they are left in the exponent.
  Value isFinite = n.less(n.abs(largest), n.scalarLike(x, std::numeric_limits<double>::infinity()));
  Value shift = n.where(isFinite, largest, n.scalarLike(x, 0));
  Value sum = r.reduce("sum", n.exp(n.sub(x, shift)));
  n.setOutput(0, n.cast(r.finish(n.add(n.log(sum), shift)), n.elementType(r.x)));
}

static OnnxRegistry::Import argReduction(const char *kind) {
  return [kind](OnnxNode &n) {
    n.setOutput(0, n.argReduce(kind, n.input(0), n.intAttr("axis", 0), n.intAttr("keepdims", 1) != 0,
                               n.intAttr("select_last_index", 0) != 0));
  };
}

static OnnxRegistry::Import cumulative(const char *kind) {
  return [kind](OnnxNode &n) {
    Value x = n.input(0);
    bool exclusive = n.intAttr("exclusive", 0) != 0, reverse = n.intAttr("reverse", 0) != 0;
    DimExpr at = n.shapes.element(n.input(1), 0);
    if (auto axis = at.constant())
      return n.setOutput(0, n.scan(kind, x, *axis, exclusive, reverse));
    SmallVector<DimExpr> dims(n.dims(x));
    n.setOutput(0, n.reshape(n.scan(kind, n.collapse(x, at), 1, exclusive, reverse), dims));
  };
}

static Value softmax(OnnxNode &n, Value x, int64_t axis) { return n.softmax(x, axis); }
static Value logSoftmax(OnnxNode &n, Value x, int64_t axis) { return n.logSoftmax(x, axis); }
static Value hardmax(OnnxNode &n, Value x, int64_t axis) {
  axis = n.axis(axis, n.rank(x));
  Value largest = n.argReduce("max", x, axis, /*keepDims=*/true);
  SmallVector<DimExpr> dims(n.rank(x), n.shapes.constant(1));
  dims[axis] = n.dim(x, axis);
  Value position = n.reshape(n.iota(n.dim(x, axis), n.b.getI64Type()), dims);
  return n.cast(n.equal(position, largest), n.elementType(x));
}

using AlongAxis = Value (*)(OnnxNode &, Value, int64_t);
template <AlongAxis compute> static void alongAxis(OnnxNode &n) {
  n.setOutput(0, compute(n, n.input(0), n.intAttr("axis", -1)));
}
/// Before opset 13 the axis splits the dims in two groups, and the second counts as a whole.
template <AlongAxis compute> static void alongFlattened(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x), axis = n.intAttr("axis", 1);
  if (axis < -rank || axis > rank)
    n.fail("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  axis = axis < 0 ? axis + rank : axis;
  SmallVector<DimExpr> dims(n.dims(x));
  DimExpr outer = n.shapes.constant(1), inner = outer;
  for (auto [d, dim] : llvm::enumerate(dims))
    (int64_t(d) < axis ? outer : inner) = (int64_t(d) < axis ? outer : inner) * dim;
  n.setOutput(0, n.reshape(compute(n, n.reshape(x, {outer, inner}), 1), dims));
}

void flame::registerReduceOnnx(OnnxRegistry &r) {
  r.add("ReduceSum", reduction("sum"));
  r.add("ReduceProd", reduction("prod"));
  r.add("ReduceMax", reduction("max"));
  r.add("ReduceMin", reduction("min"));
  r.add("ReduceMean", reduction("mean"));
  r.add("ReduceL1", reduceL1);
  r.add("ReduceL2", [](OnnxNode &n) { reduceSquares(n, true); });
  r.add("ReduceSumSquare", [](OnnxNode &n) { reduceSquares(n, false); });
  r.add("ReduceLogSum", reduceLogSum);
  r.add("ReduceLogSumExp", reduceLogSumExp);
  r.add("ArgMax", argReduction("max"));
  r.add("ArgMin", argReduction("min"));
  r.add("CumSum", cumulative("sum"), 11);
  r.add("CumProd", cumulative("prod"), 26);
  r.add("Softmax", alongFlattened<softmax>, 1, "", "float");
  r.add("LogSoftmax", alongFlattened<logSoftmax>, 1, "", "float");
  r.add("Hardmax", alongFlattened<hardmax>, 1, "", "float");
  r.add("Softmax", alongAxis<softmax>, 13, "", "float");
  r.add("LogSoftmax", alongAxis<logSoftmax>, 13, "", "float");
  r.add("Hardmax", alongAxis<hardmax>, 13, "", "float");
}
