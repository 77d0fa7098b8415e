//===- ShapeOnnxWindow.cpp - ONNX operators that cut, pad and interleave ----------------------------------------------===//
#include "ShapeOnnx.h"
#include "flame/Import/StringMovement.h"
#include "flame/Ops/Shape.h"
#include "flame/Support/DimMath.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

//===------------------------------------------------------------------------------------------------------------------===//
// Slice
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// Starts, ends and steps as ONNX states them, one a dimension.
struct Bounds {
  SmallVector<DimExpr> starts, ends, steps;
};
} // namespace

/// numpy's rules: negative positions count from the end, then both are clamped to where a step can stop.
static Value sliceWith(OnnxNode &n, Value x, const Bounds &bounds) {
  SmallVector<DimExpr> starts, sizes;
  DimExpr zero = n.shapes.constant(0);
  for (auto [d, extent] : llvm::enumerate(SmallVector<DimExpr>(n.dims(x)))) {
    DimExpr step = bounds.steps[d], backwards = isNegative(step);
    if (step.isConstant(0))
      n.fail("step " + Twine(d) + " is zero");
    auto position = [&](DimExpr e, DimExpr low) {
      // Beyond any size: clamped, not counted from the end.
      if (e.constant() && std::abs(double(*e.constant())) >= double(int64_t(1) << 48))
        return clamp(e, low, extent - backwards);
      return clamp(e + isNegative(e) * extent, low, extent - backwards);
    };
    DimExpr start = position(bounds.starts[d], zero), end = position(bounds.ends[d], zero - backwards);
    starts.push_back(start);
    sizes.push_back(rangeLength(start, end, step));
  }
  return n.slice(x, starts, sizes, bounds.steps);
}

static void slice(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x);
  constexpr int64_t infinity = std::numeric_limits<int64_t>::max();
  Bounds bounds{SmallVector<DimExpr>(rank, n.shapes.constant(0)), SmallVector<DimExpr>(rank, n.shapes.constant(infinity)),
                SmallVector<DimExpr>(rank, n.shapes.constant(1))};
  auto numbers = [&](unsigned i, StringRef name) -> Value {
    if (n.hasInput(i))
      return n.input(i);
    return n.hasAttr(name) ? n.i64(n.intsAttr(name)) : Value();
  };
  Value starts = numbers(1, "starts"), ends = numbers(2, "ends"), axes = numbers(3, "axes"),
        steps = n.hasInput(4) ? n.input(4) : Value();
  if (!starts || !ends)
    n.fail("needs starts and ends");
  if (axes && !n.shapes.constants(axes)) {
    Value one = n.i64Scalar(1);
    Value allSteps = steps ? perDimension(n, axes, steps, one, rank) : Value();
    Value first = perDimension(n, axes, starts, n.i64Scalar(0), rank),
          last = perDimension(n, axes, ends, n.i64Scalar(infinity), rank);
    for (int64_t d = 0; d < rank; ++d) {
      bounds.starts[d] = n.shapes.element(first, d);
      bounds.ends[d] = n.shapes.element(last, d);
      if (allSteps)
        bounds.steps[d] = n.shapes.element(allSteps, d);
    }
    return n.setOutput(0, sliceWith(n, x, bounds));
  }
  SmallVector<DimExpr> first = vectorElements(n, starts, "starts"), last = vectorElements(n, ends, "ends"), by;
  if (steps)
    by = vectorElements(n, steps, "steps");
  SmallVector<int64_t> positions;
  if (axes)
    positions = n.axes(*n.shapes.constants(axes), rank);
  else
    positions = llvm::to_vector(llvm::seq<int64_t>(0, first.size()));
  if (first.size() != positions.size() || last.size() != positions.size() ||
      (steps && by.size() != positions.size()))
    n.fail("starts, ends, axes and steps have different numbers of elements");
  if (int64_t(positions.size()) > rank)
    n.fail("there are " + Twine(positions.size()) + " starts for an input of rank " + Twine(rank));
  for (auto [k, d] : llvm::enumerate(positions)) {
    bounds.starts[d] = first[k];
    bounds.ends[d] = last[k];
    if (steps)
      bounds.steps[d] = by[k];
  }
  n.setOutput(0, sliceWith(n, x, bounds));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Pad and CenterCropPad
//===------------------------------------------------------------------------------------------------------------------===//

static void pad(OnnxNode &n) {
  Value x = n.input(0), value;
  int64_t rank = n.rank(x);
  Type type = n.elementType(x);
  std::string mode = n.stringAttr("mode", "constant");
  if (n.hasInput(2)) {
    value = n.reshape(n.input(2), GraphBuilder::Axes{});
    if (n.elementType(value) != type)
      n.fail("constant_value has element type " + dtypeName(n.elementType(value)) + ", data " + dtypeName(type));
  } else if (n.hasAttr("value") && n.floatAttr("value") != 0)
    value = n.scalar(type, n.floatAttr("value"));
  if (mode != "constant")
    value = {};
  SmallVector<DimExpr> low(rank, n.shapes.constant(0)), high(low);
  Value pads = n.hasInput(1) ? n.input(1) : n.i64(n.intsAttr(n.hasAttr("pads") ? "pads" : "paddings"));
  if (n.hasInput(3) && !n.shapes.constants(n.input(3))) {
    // pads are [all lows, all highs] of the axes.
    Value axes = n.input(3), both = n.cast(pads, n.b.getI64Type()), zero = n.i64Scalar(0);
    DimExpr count = n.dim(axes, 0);
    Value lows = perDimension(n, axes, n.sliceAxis(both, 0, n.shapes.constant(0), count), zero, rank),
          highs = perDimension(n, axes, n.sliceAxis(both, 0, count, count), zero, rank);
    for (int64_t d = 0; d < rank; ++d) {
      low[d] = n.shapes.element(lows, d);
      high[d] = n.shapes.element(highs, d);
    }
    return n.setOutput(0, n.pad(x, low, high, value, mode));
  }
  SmallVector<int64_t> axes;
  if (n.hasInput(3))
    axes = n.axes(*n.shapes.constants(n.input(3)), rank);
  else
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  SmallVector<DimExpr> both;
  // A length that is not static can only be this one.
  for (size_t i = 0; i < 2 * axes.size(); ++i)
    both.push_back(n.shapes.element(pads, i));
  if (auto length = n.shapes.numElements(pads).constant(); length && *length != int64_t(both.size()))
    n.fail("pads must have " + Twine(both.size()) + " elements, a begin and an end for each of " +
           Twine(axes.size()) + " axes; they have " + Twine(*length));
  for (auto [k, d] : llvm::enumerate(axes)) {
    low[d] = both[k];
    high[d] = both[axes.size() + k];
  }
  n.setOutput(0, n.pad(x, low, high, value, mode));
}

static void centerCropPad(OnnxNode &n) {
  Value x = n.input(0), shape = n.input(1);
  int64_t rank = n.rank(x);
  SmallVector<int64_t> axes = n.hasAttr("axes") ? n.axes(n.intsAttr("axes"), rank)
                                                : llvm::to_vector(llvm::seq<int64_t>(0, rank));
  DimExpr zero = n.shapes.constant(0), two = n.shapes.constant(2);
  SmallVector<DimExpr> low(rank, zero), high(rank, zero);
  for (auto [k, d] : llvm::enumerate(axes)) {
    DimExpr target = n.shapes.element(shape, k, /*nonNegative=*/true), extent = n.dim(x, d);
    // Half of what is missing goes before, half of what is too much is cut off before.
    low[d] = floorDiv(max(target - extent, zero), two) - floorDiv(max(extent - target, zero), two);
    high[d] = target - extent - low[d];
  }
  n.setOutput(0, n.pad(x, low, high));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Masks and blocks
//===------------------------------------------------------------------------------------------------------------------===//

static void trilu(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x);
  if (rank < 2)
    n.fail("the input must have rank 2 or more, has rank " + Twine(rank));
  Type i64 = n.b.getI64Type();
  Value row = n.unsqueeze(n.iota(n.dim(x, rank - 2), i64), 1), column = n.iota(n.dim(x, rank - 1), i64);
  Value k = n.hasInput(1) ? n.reshape(n.cast(n.input(1), i64), GraphBuilder::Axes{}) : n.i64Scalar(0);
  Value diagonal = n.add(row, k);
  Value keep = n.intAttr("upper", 1) ? n.greaterEqual(column, diagonal) : n.lessEqual(column, diagonal);
  n.setOutput(0, n.where(keep, x, n.scalarLike(x, 0)));
}

static int64_t blockSize(OnnxNode &n, Value x) {
  int64_t block = n.intAttr("blocksize");
  if (block < 1)
    n.fail("blocksize is " + Twine(block) + "; it must be positive");
  if (n.rank(x) != 4)
    n.fail("the input must have rank 4 [N, C, H, W], has rank " + Twine(n.rank(x)));
  return block;
}

static void depthToSpace(OnnxNode &n) {
  Value x = n.input(0);
  int64_t block = blockSize(n, x);
  std::string mode = n.stringAttr("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    n.fail("mode is \"" + mode + "\"; it must be \"DCR\" or \"CRD\"");
  DimExpr batch = n.dim(x, 0), channels = n.dim(x, 1), height = n.dim(x, 2), width = n.dim(x, 3),
          b = n.shapes.constant(block), depth = floorDiv(channels, b * b);
  if (channels.constant() && *channels.constant() % (block * block))
    n.fail("the number of channels, " + channels.str() + ", is no multiple of blocksize²");
  bool depthFirst = mode == "CRD";
  Value split = depthFirst ? n.reshape(x, {batch, depth, b, b, height, width})
                           : n.reshape(x, {batch, b, b, depth, height, width});
  Value moved = depthFirst ? n.transpose(split, {0, 1, 4, 2, 5, 3}) : n.transpose(split, {0, 3, 4, 1, 5, 2});
  n.setOutput(0, n.reshape(moved, {batch, depth, height * b, width * b}));
}

static void spaceToDepth(OnnxNode &n) {
  Value x = n.input(0);
  int64_t block = blockSize(n, x);
  DimExpr batch = n.dim(x, 0), channels = n.dim(x, 1), b = n.shapes.constant(block);
  DimExpr rows = floorDiv(n.dim(x, 2), b), columns = floorDiv(n.dim(x, 3), b);
  for (int64_t d : {2, 3})
    if (n.dim(x, d).constant() && *n.dim(x, d).constant() % block)
      n.fail("dimension " + Twine(d) + " of size " + n.dim(x, d).str() + " is no multiple of blocksize");
  Value split = n.reshape(x, {batch, channels, rows, b, columns, b});
  n.setOutput(0, n.reshape(n.transpose(split, {0, 3, 5, 1, 2, 4}), {batch, channels * b * b, rows, columns}));
}

void flame::registerWindowOnnx(OnnxRegistry &registry) {
  registry.add("Slice", movingStrings(slice), 1, "", "all");
  registry.add("Pad", pad, 1, "", "all");
  registry.add("CenterCropPad", centerCropPad, 18, "", "all");
  registry.add("Trilu", trilu, 14, "", "all");
  registry.add("DepthToSpace", movingStrings(depthToSpace), 1, "", "all");
  registry.add("SpaceToDepth", movingStrings(spaceToDepth), 1, "", "all");
}
