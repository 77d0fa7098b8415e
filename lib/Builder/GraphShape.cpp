//===- GraphShape.cpp - constants and shape manipulation of the graph builder -----------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Index.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"

using namespace mlir;
using namespace flame;

//===------------------------------------------------------------------------------------------------------------------===//
// Constants
//===------------------------------------------------------------------------------------------------------------------===//

Value GraphBuilder::constant(ElementsAttr value) { return op<ConstantOp>({}, {attr("value", value)}); }

Value GraphBuilder::scalar(Type elementType, double value) {
  if (!isa<FloatType>(elementType))
    return scalarInt(elementType, value >= 9.2233720368547758e18 ? int64_t(uint64_t(value)) : int64_t(value));
  return constant(
      DenseElementsAttr::get(RankedTensorType::get({}, elementType), Attribute(b.getFloatAttr(elementType, value))));
}

Value GraphBuilder::scalarInt(Type elementType, int64_t value) {
  if (isa<FloatType>(elementType))
    return scalar(elementType, double(value));
  if (!isa<IntegerType>(elementType))
    fail("can't make a number of type " + dtypeName(elementType));
  APInt integer(elementType.getIntOrFloatBitWidth(), uint64_t(value), /*isSigned=*/true, /*implicitTrunc=*/true);
  return constant(DenseElementsAttr::get(RankedTensorType::get({}, elementType), integer));
}

Value GraphBuilder::i64(ArrayRef<int64_t> values) {
  return constant(DenseElementsAttr::get(RankedTensorType::get({int64_t(values.size())}, b.getI64Type()), values));
}

Value GraphBuilder::iota(DimExpr n, Type elementType) {
  return op<IotaOp>(shapeTensor(n), {attr("type", TypeAttr::get(elementType))});
}

Value GraphBuilder::fill(ArrayRef<DimExpr> dims, Value scalar) { return op<FillOp>({shapeTensor(dims), scalar}); }

//===------------------------------------------------------------------------------------------------------------------===//
// Sizes as tensors
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// Makes i64 vectors of one element that compute an expression of dims. Their inference gives the expression back.
struct DimEmitter : DimVisitor<Value> {
  explicit DimEmitter(GraphBuilder &g) : g(g) {}
  GraphBuilder &g;

  Value constant(int64_t value) override { return g.i64(value); }
  Value symbol(unsigned symbol) override {
    auto origin = g.shapes.origins().find(symbol);
    if (origin == g.shapes.origins().end())
      g.fail("internal: a dimension symbol has no origin");
    auto [kind, value, index] = origin->second;
    if (kind == SymbolOrigin::Dim)
      return g.sliceAxis(g.shapeOf(value), 0, g.shapes.constant(index), g.shapes.constant(1));
    Value element = g.rank(value) == 0
                        ? g.reshape(value, GraphBuilder::Axes{1})
                        : g.sliceAxis(value, 0, g.shapes.constant(index), g.shapes.constant(1));
    return g.cast(element, g.b.getI64Type());
  }
  Value add(Value a, Value b) override { return g.add(a, b); }
  Value mul(Value a, Value b) override { return g.mul(a, b); }
  Value floorDiv(Value a, Value b) override {
    // `div` truncates. Subtracting the remainder, which has the divisor's sign, makes the division exact.
    if (isNonNegative(a) && isNonNegative(b))
      return g.div(a, b);
    return g.div(g.sub(a, mod(a, b)), b);
  }
  Value mod(Value a, Value b) override { return g.create("flame.mod", {a, b}, {})->getResult(0); }
  Value min(Value a, Value b) override { return g.min(a, b); }
  Value max(Value a, Value b) override { return g.max(a, b); }

private:
  bool isNonNegative(Value v) { return g.shapes.element(v, 0).isNonNegative(); }
};
} // namespace

/// The value whose dims, or whose elements, these are in order; null if there is none.
static Value asWhole(GraphBuilder &g, ArrayRef<DimExpr> dims) {
  for (DimExpr dim : dims) {
    if (dim.constant())
      continue;
    auto symbol = dim.symbol();
    auto origin = symbol ? g.shapes.origins().find(*symbol) : g.shapes.origins().end();
    if (origin == g.shapes.origins().end())
      return {};
    auto [kind, value, index] = origin->second;
    if (kind == SymbolOrigin::Dim)
      return g.dims(value) == dims ? g.shapeOf(value) : Value();
    auto type = llvm::cast<RankedTensorType>(value.getType());
    if (type.getRank() != 1 || type.getDimSize(0) != int64_t(dims.size()) || !type.getElementType().isInteger(64))
      return {};
    for (auto [i, element] : llvm::enumerate(dims))
      if (g.shapes.element(value, i) != element)
        return {};
    return value;
  }
  return {};
}

Value GraphBuilder::shapeTensor(ArrayRef<DimExpr> dims) {
  if (Value whole = asWhole(*this, dims))
    return whole;
  SmallVector<Value> parts;
  SmallVector<int64_t> numbers; // a run of known sizes
  auto flush = [&] {
    if (!numbers.empty())
      parts.push_back(i64(numbers));
    numbers.clear();
  };
  for (DimExpr dim : dims) {
    if (auto number = dim.constant()) {
      numbers.push_back(*number);
      continue;
    }
    flush();
    Value part = DimEmitter(*this).visit(dim);
    if (shapes.element(part, 0) != dim) {
      // The ops compute the number but inference can't say so; this builder knows.
      ResultInfo info = shapes.info(part);
      info.values = SmallVector<DimExpr>{dim};
      shapes.set(part, std::move(info));
    }
    parts.push_back(part);
  }
  flush();
  if (parts.empty())
    return i64({});
  return parts.size() == 1 ? parts[0] : concat(parts, 0);
}

Value GraphBuilder::shapeOf(Value v) { return op<ShapeOfOp>(v); }

//===------------------------------------------------------------------------------------------------------------------===//
// Shape manipulation
//===------------------------------------------------------------------------------------------------------------------===//

Value GraphBuilder::reshape(Value x, ArrayRef<DimExpr> dims) {
  ArrayRef<DimExpr> before = this->dims(x);
  if (before == dims)
    return x;
  SmallVector<DimExpr> target(dims); // `before` and what points into it don't survive new ops
  return op<ReshapeOp>({x, shapeTensor(target)});
}

Value GraphBuilder::reshape(Value x, Axes sizes) {
  SmallVector<DimExpr> dims;
  for (int64_t size : sizes)
    dims.push_back(shapes.constant(size));
  return reshape(x, dims);
}

Value GraphBuilder::transpose(Value x, Axes permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, rank(x))))
    return x;
  return op<TransposeOp>(x, {attr("perm", permutation)});
}

Value GraphBuilder::unsqueeze(Value x, Axes list) {
  SmallVector<int64_t> positions = axes(list, rank(x) + int64_t(list.size()));
  SmallVector<DimExpr> dims(this->dims(x));
  llvm::sort(positions);
  for (int64_t position : positions)
    dims.insert(dims.begin() + position, shapes.constant(1));
  return reshape(x, dims);
}

Value GraphBuilder::squeeze(Value x, Axes list) {
  SmallVector<int64_t> positions = axes(list, rank(x));
  SmallVector<DimExpr> dims;
  for (auto [d, dim] : llvm::enumerate(SmallVector<DimExpr>(this->dims(x)))) {
    if (!llvm::is_contained(positions, int64_t(d))) {
      dims.push_back(dim);
      continue;
    }
    if (dim.constant() && !dim.isConstant(1))
      fail("can't squeeze dimension " + Twine(d) + " of size " + dim.str());
  }
  return reshape(x, dims);
}

Value GraphBuilder::expand(Value x, ArrayRef<DimExpr> dims) {
  if (this->dims(x) == dims)
    return x;
  SmallVector<DimExpr> target(dims);
  return op<ExpandOp>({x, shapeTensor(target)});
}

Value GraphBuilder::concat(ArrayRef<Value> xs, int64_t axis) {
  if (xs.empty())
    fail("concat needs at least one input");
  axis = this->axis(axis, rank(xs[0]));
  return xs.size() == 1 ? xs[0] : op<ConcatOp>(xs, {attr("axis", axis)});
}

Value GraphBuilder::sliceAxis(Value x, int64_t axis, DimExpr start, DimExpr size) {
  axis = this->axis(axis, rank(x));
  SmallVector<DimExpr> sizes(dims(x)), starts(sizes.size(), shapes.constant(0));
  if (start.isConstant(0) && size == sizes[axis])
    return x;
  starts[axis] = start;
  sizes[axis] = size;
  return op<SliceOp>({x, shapeTensor(starts), shapeTensor(sizes), i64(SmallVector<int64_t>(sizes.size(), 1))});
}

Value GraphBuilder::slice(Value x, ArrayRef<DimExpr> starts, ArrayRef<DimExpr> sizes, ArrayRef<DimExpr> steps) {
  SmallVector<DimExpr> first(starts), count(sizes), by(steps);
  bool whole = ArrayRef<DimExpr>(count) == dims(x);
  for (DimExpr start : first)
    whole = whole && start.isConstant(0);
  for (DimExpr step : by)
    whole = whole && step.isConstant(1);
  return whole ? x : op<SliceOp>({x, shapeTensor(first), shapeTensor(count), shapeTensor(by)});
}

Value GraphBuilder::pad(Value x, ArrayRef<DimExpr> low, ArrayRef<DimExpr> high, Value value, StringRef mode) {
  auto isZero = [](DimExpr e) { return e.isConstant(0); };
  if (llvm::all_of(low, isZero) && llvm::all_of(high, isZero))
    return x;
  SmallVector<DimExpr> before(low), after(high);
  SmallVector<Value> operands{x, shapeTensor(before), shapeTensor(after)};
  if (value)
    operands.push_back(value);
  return op<PadOp>(operands, {attrS("mode", mode)});
}

Value GraphBuilder::gather(Value x, Value indices, int64_t axis) {
  return op<GatherOp>({x, indices}, {attr("axis", this->axis(axis, rank(x)))});
}

Value GraphBuilder::checkedIndices(Value indices, ArrayRef<DimExpr> extents) {
  return shapes.constants(indices) ? indices : op<CheckIndicesOp>({indices, shapeTensor(extents)});
}
