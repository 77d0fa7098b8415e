//===- ShapeOnnx.cpp - ONNX operators that reshape and combine --------------------------------------------------------===//
//
// Sizes, axes and positions may be known, symbolic or data. Known and symbolic ones become expressions of dims. What only
// data tell is computed by small integer tensors, whose elements are symbols that the runtime reads.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ShapeOnnx.h"
#include "flame/Import/StringMovement.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Shape.h"
#include "flame/Support/DimMath.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

int64_t flame::vectorLength(OnnxNode &n, Value v, StringRef what) {
  if (n.rank(v) > 1)
    n.fail(what + " must be a vector, has rank " + Twine(n.rank(v)));
  auto length = n.shapes.numElements(v).constant();
  if (!length)
    n.fail("the number of " + what +
           " is known only at run time; give that input a static shape or make it a constant");
  return *length;
}

SmallVector<DimExpr> flame::vectorElements(OnnxNode &n, Value v, StringRef what) {
  SmallVector<DimExpr> elements;
  for (int64_t i = 0, length = vectorLength(n, v, what); i < length; ++i)
    elements.push_back(n.shapes.element(v, i));
  return elements;
}

Value flame::perDimension(OnnxNode &n, Value axes, Value values, Value otherwise, int64_t rank) {
  Type i64 = n.b.getI64Type();
  Value zero = n.i64Scalar(0);
  axes = n.cast(axes, i64);
  axes = n.where(n.less(axes, zero), n.add(axes, n.i64Scalar(rank)), axes);
  Value named = n.equal(n.unsqueeze(axes, 1), n.iota(n.shapes.constant(rank), i64)); // [axes, rank]
  Value chosen = n.sum(n.where(named, n.unsqueeze(n.cast(values, i64), 1), zero), 0, false);
  Value any = n.sum(n.cast(named, i64), 0, false);
  return n.where(n.greater(any, zero), chosen, otherwise);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Reshape and its kin
//===------------------------------------------------------------------------------------------------------------------===//

/// Sizes read from data: 0 copies a dim (unless `allowZero`), -1 takes what is left.
static Value dataSizes(OnnxNode &n, Value x, Value shape, int64_t length, bool allowZero) {
  Value sizes = n.cast(shape, n.b.getI64Type()), zero = n.i64Scalar(0), one = n.i64Scalar(1);
  if (!allowZero) {
    SmallVector<DimExpr> copied(n.dims(x));
    copied.resize(length, n.shapes.constant(0));
    sizes = n.where(n.equal(sizes, zero), n.shapeTensor(copied), sizes);
  }
  Value open = n.less(sizes, zero);
  Value others = n.max(n.reduce("prod", n.where(open, one, sizes), 0, false), one);
  Value total = n.reshape(n.shapeTensor(n.shapes.numElements(x)), GraphBuilder::Axes{});
  return n.where(open, n.div(total, others), sizes);
}

static void reshape(OnnxNode &n) {
  Value x = n.input(0);
  bool allowZero = n.intAttr("allowzero", 0) != 0;
  Value shape = n.hasInput(1) ? n.input(1) : n.i64(n.intsAttr("shape"));
  std::optional<int64_t> length = n.rank(shape) == 1 ? n.dim(shape, 0).constant() : std::nullopt;
  if (!length)
    length = n.statedRank("the shape input has no static length");
  SmallVector<DimExpr> dims, asked;
  for (int64_t i = 0; i < *length; ++i)
    asked.push_back(n.shapes.element(shape, i));
  std::optional<int64_t> open;
  bool isData = false;
  DimExpr known = n.shapes.constant(1), total = n.shapes.numElements(x);
  for (auto [i, size] : llvm::enumerate(asked)) {
    if (size.isConstant(-1)) {
      if (open)
        n.fail("shape " + Twine(*open) + " and " + Twine(i) + " are both -1; only one size can be inferred");
      open = i;
      dims.push_back({});
      continue;
    }
    if (size.isConstant(0) && !allowZero) {
      if (int64_t(i) >= n.rank(x))
        n.fail("shape[" + Twine(i) + "] is 0 (copy the dimension), but the input has only rank " + Twine(n.rank(x)));
      size = n.dim(x, i);
    }
    if (size.constant() && *size.constant() < -1)
      n.fail("shape[" + Twine(i) + "] is " + size.str());
    isData |= !size.isNonNegative();
    dims.push_back(size);
    known = known * size;
  }
  if (isData) {
    Value sizes = dataSizes(n, x, shape, *length, allowZero);
    for (auto [i, size] : llvm::enumerate(dims))
      if (!size || !size.isNonNegative())
        size = n.shapes.element(sizes, i, /*nonNegative=*/true);
    return n.setOutput(0, n.reshape(x, dims));
  }
  if (open) {
    if (known.isConstant(0))
      n.fail("can't infer the size that is -1 beside a size of 0");
    dims[*open] = floorDiv(total, known);
  }
  n.setOutput(0, n.reshape(x, dims));
}

static void flatten(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x), axis = n.intAttr("axis", 1);
  if (axis < -rank || axis > rank)
    n.fail("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  axis += axis < 0 ? rank : 0;
  SmallVector<DimExpr> dims(2, n.shapes.constant(1));
  for (int64_t d = 0; d < rank; ++d)
    dims[d >= axis] = dims[d >= axis] * n.dim(x, d);
  n.setOutput(0, n.reshape(x, dims));
}

/// For run-time axes: how many kept dims stand before each one.
static Value keptBefore(OnnxNode &n, Value kept, int64_t rank) {
  Value order = n.iota(n.shapes.constant(rank), n.b.getI64Type());
  Value earlier = n.less(n.unsqueeze(order, 0), n.unsqueeze(order, 1)); // [d, e]: e before d
  return n.sum(n.where(earlier, n.unsqueeze(kept, 0), n.i64Scalar(0)), 1, false);
}

static SmallVector<DimExpr> sizesFrom(OnnxNode &n, Value sizes, int64_t rank) {
  SmallVector<DimExpr> dims;
  for (int64_t d = 0; d < rank; ++d)
    dims.push_back(n.shapes.element(sizes, d, /*nonNegative=*/true));
  return dims;
}

/// The dims of x where `dropped` (i64, one a dimension) is 0; there are `resultRank`.
static SmallVector<DimExpr> keptDims(OnnxNode &n, Value x, Value dropped, int64_t resultRank) {
  int64_t rank = n.rank(x);
  Value zero = n.i64Scalar(0), one = n.i64Scalar(1);
  Value kept = n.sub(one, n.min(dropped, one)), before = keptBefore(n, kept, rank);
  // Result dim j is the size of the kept dim that j kept ones precede.
  Value target = n.unsqueeze(n.iota(n.shapes.constant(resultRank), n.b.getI64Type()), 1); // [result, rank]
  Value here = n.logicalAnd(n.equal(target, before), n.greater(kept, zero));
  return sizesFrom(n, n.sum(n.where(here, n.shapeTensor(SmallVector<DimExpr>(n.dims(x))), zero), 1, false), resultRank);
}

static void squeeze(OnnxNode &n) {
  Value x = n.input(0);
  bool present = false;
  auto axes = n.intsInputOrAttr(1, "axes", present);
  int64_t rank = n.rank(x);
  if (axes)
    return n.setOutput(0, n.squeeze(x, *axes));
  Value zero = n.i64Scalar(0), one = n.i64Scalar(1);
  if (!present) {
    // All dims of size 1. Where only a run tells which ones are, the model has to state how many stay.
    SmallVector<DimExpr> all(n.dims(x)), dims;
    for (DimExpr dim : all)
      if (!dim.isConstant(1))
        dims.push_back(dim);
    auto stated = dyn_cast_or_null<RankedTensorType>(n.statedOutputType(0));
    int64_t resultRank = stated ? stated.getRank() : int64_t(dims.size());
    if (resultRank >= int64_t(dims.size()))
      return n.setOutput(0, n.reshape(x, dims));
    Value dropped = n.cast(n.equal(n.shapeTensor(all), one), n.b.getI64Type());
    return n.setOutput(0, n.reshape(x, keptDims(n, x, dropped, resultRank)));
  }
  Value list = n.input(1);
  auto count = n.rank(list) == 1 ? n.dim(list, 0).constant() : std::nullopt;
  int64_t resultRank = count ? rank - *count : n.statedRank("the axes input has no static length");
  if (resultRank < 0)
    n.fail("there are " + Twine(*count) + " axes for an input of rank " + Twine(rank));
  Value ones = n.expand(one, SmallVector<DimExpr>(n.dims(list)));
  n.setOutput(0, n.reshape(x, keptDims(n, x, perDimension(n, list, ones, zero, rank), resultRank)));
}

static void unsqueeze(OnnxNode &n) {
  Value x = n.input(0);
  bool present = false;
  auto axes = n.intsInputOrAttr(1, "axes", present);
  if (axes)
    return n.setOutput(0, n.unsqueeze(x, *axes));
  if (!present)
    n.fail("needs axes");
  Value list = n.input(1);
  int64_t rank = n.rank(x);
  auto count = n.shapes.numElements(list).constant();
  int64_t resultRank = count ? rank + *count : n.statedRank("the axes input has no static length");
  if (rank == 0) {
    SmallVector<DimExpr> dims(resultRank, n.shapes.constant(1));
    return n.setOutput(0, n.reshape(x, dims));
  }
  Value zero = n.i64Scalar(0), one = n.i64Scalar(1);
  if (n.rank(list) == 0)
    list = n.unsqueeze(list, 0);
  Value ones = n.expand(one, SmallVector<DimExpr>(n.dims(list)));
  Value added = n.min(perDimension(n, list, ones, zero, resultRank), one);
  Value before = n.min(keptBefore(n, n.sub(one, added), resultRank), n.i64Scalar(rank - 1));
  Value sizes = n.gather(n.shapeTensor(SmallVector<DimExpr>(n.dims(x))), before, 0);
  n.setOutput(0, n.reshape(x, sizesFrom(n, n.where(n.greater(added, zero), one, sizes), resultRank)));
}

static void transpose(OnnxNode &n) {
  Value x = n.input(0);
  SmallVector<int64_t> perm = n.intsAttr("perm");
  int64_t rank = n.rank(x);
  if (!n.hasAttr("perm"))
    perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank)));
  for (int64_t &d : perm)
    d = n.axis(d, rank, "perm");
  n.setOutput(0, n.transpose(x, perm));
}

static void shape(OnnxNode &n) {
  SmallVector<DimExpr> dims(n.dims(n.input(0)));
  int64_t rank = dims.size();
  auto bound = [&](StringRef name, int64_t otherwise) {
    int64_t at = n.intAttr(name, otherwise);
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  int64_t start = bound("start", 0), end = bound("end", rank);
  Value all = n.shapeOf(n.input(0));
  n.setOutput(0, n.sliceAxis(all, 0, n.shapes.constant(start), n.shapes.constant(std::max<int64_t>(end - start, 0))));
}

static void size(OnnxNode &n) {
  Value count = n.shapeTensor(n.shapes.numElements(n.input(0)));
  n.setOutput(0, n.reshape(count, GraphBuilder::Axes{}));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Expand, Tile, Concat, Split
//===------------------------------------------------------------------------------------------------------------------===//

static void expand(OnnxNode &n) {
  Value x = n.input(0), shape = n.input(1);
  auto length = n.dim(shape, 0).constant();
  if (!length)
    length = n.statedRank("the shape input has no static length");
  SmallVector<DimExpr> dims(n.dims(x));
  int64_t rank = std::max<int64_t>(dims.size(), *length);
  dims.insert(dims.begin(), rank - dims.size(), n.shapes.constant(1));
  for (int64_t i = 0; i < *length; ++i) {
    DimExpr &dim = dims[rank - *length + i];
    DimExpr merged = n.shapes.broadcast(dim, n.shapes.element(shape, i, /*nonNegative=*/true));
    if (!merged)
      n.fail("can't broadcast dimension " + dim.str() + " to " + n.shapes.element(shape, i).str());
    dim = merged;
  }
  n.setOutput(0, n.expand(x, dims));
}

static void tile(OnnxNode &n) {
  Value x = n.input(0), repeats = n.cast(n.input(1), n.b.getI64Type());
  // The first version had the number of tiles and the axis as scalars.
  if (n.numInputs() == 3) {
    Value one = n.i64(SmallVector<int64_t>(n.rank(x), 1));
    auto asVector = [&](Value v) { return n.reshape(n.cast(v, n.b.getI64Type()), GraphBuilder::Axes{1}); };
    repeats = perDimension(n, asVector(n.input(2)), asVector(repeats), one, n.rank(x));
  }
  n.setOutput(0, n.op<TileOp>({x, repeats}));
}

static void concat(OnnxNode &n) {
  SmallVector<Value> xs;
  for (unsigned i = 0; i < n.numInputs(); ++i)
    xs.push_back(n.input(i));
  if (!n.hasAttr("axis") && n.opset >= 4)
    n.fail("attribute 'axis' is missing");
  n.setOutput(0, n.concat(xs, n.intAttr("axis", 1)));
}

static void split(OnnxNode &n) {
  Value x = n.input(0);
  int64_t axis = n.axis(n.intAttr("axis", 0), n.rank(x)), parts = n.numOutputs();
  DimExpr extent = n.dim(x, axis), start = n.shapes.constant(0);
  SmallVector<DimExpr> sizes;
  if (n.hasInput(1))
    sizes = vectorElements(n, n.input(1), "split sizes");
  else if (n.hasAttr("split"))
    for (int64_t size : n.intsAttr("split"))
      sizes.push_back(n.shapes.constant(size));
  else {
    if (n.hasAttr("num_outputs") && n.intAttr("num_outputs") != parts)
      n.fail("num_outputs is " + Twine(n.intAttr("num_outputs")) + ", but the node has " + Twine(parts) + " outputs");
    bool even = n.opset < 18;
    if (even && extent.constant() && *extent.constant() % parts)
      n.fail("can't split dimension " + Twine(axis) + " of size " + extent.str() + " into " + Twine(parts) +
             " equal parts");
    DimExpr count = n.shapes.constant(parts), part = even ? floorDiv(extent, count) : ceilDiv(extent, count);
    sizes.assign(parts, part);
    if (!even) // the last part is smaller
      sizes.back() = extent - part * (parts - 1);
  }
  if (int64_t(sizes.size()) != parts)
    n.fail("there are " + Twine(sizes.size()) + " split sizes for " + Twine(parts) + " outputs");
  for (auto [i, size] : llvm::enumerate(sizes)) {
    if (size.constant() && *size.constant() < 0)
      n.fail("split size " + Twine(i) + " is negative: " + size.str());
    if (n.wantsOutput(i))
      n.setOutput(i, n.sliceAxis(x, axis, start, size));
    start = start + size;
  }
  if (start.constant() && extent.constant() && start != extent)
    n.fail("the split sizes add up to " + start.str() + ", dimension " + Twine(axis) + " has size " + extent.str());
}

void flame::registerShapeOnnx(OnnxRegistry &registry) {
  registry.add("Reshape", movingStrings(reshape), 1, "", "all");
  registry.add("Flatten", movingStrings(flatten), 1, "", "all");
  registry.add("Squeeze", movingStrings(squeeze), 1, "", "all");
  registry.add("Unsqueeze", movingStrings(unsqueeze), 1, "", "all");
  registry.add("Transpose", movingStrings(transpose), 1, "", "all");
  registry.add("Shape", shape, 1, "", "all");
  registry.add("Size", size, 1, "", "all");
  registry.add("Expand", movingStrings(expand), 8, "", "all");
  registry.add("Tile", movingStrings(tile), 1, "", "all");
  registry.add("Concat", movingStrings(concat), 1, "", "all");
  registry.add("Split", movingStrings(split), 1, "", "all");
  registerWindowOnnx(registry);
}
