//===- ScalePattern.cpp - see ScalePattern.h ------------------------------------------------------------------------------===//
#include "ScalePattern.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"

using namespace mlir;
using namespace flame;

namespace {
using Dims = SmallVector<ScaleDim>;

/// What stands beside each other: dims of the source and repetitions, dims of one element left out.
struct Part {
  std::optional<int64_t> source;
  DimExpr size;
};

/// The same elements in dims of other sizes. Empty where a dim would be more than one dim of the source and repetitions of its elements.
std::optional<Dims> regroup(ArrayRef<ScaleDim> from, ArrayRef<DimExpr> sizes, ShapeContext &shapes) {
  DimExpr one = shapes.constant(1);
  SmallVector<Part> parts;
  for (const ScaleDim &dim : from) {
    if (dim.isCut)
      return std::nullopt;
    if (dim.source)
      parts.push_back({dim.source, dim.size});
    if (!dim.repeats.isConstant(1))
      parts.push_back({std::nullopt, dim.repeats});
  }
  Dims dims;
  ArrayRef<Part> rest = parts;
  for (DimExpr size : sizes) {
    ScaleDim dim{std::nullopt, one, one};
    DimExpr reach = one;
    while (reach != size && !rest.empty()) {
      const Part &part = rest.front();
      if (part.source) {
        if (reach != one)
          return std::nullopt;
        dim.source = part.source, dim.size = part.size;
      } else {
        dim.repeats = dim.repeats * part.size;
      }
      reach = reach * part.size;
      rest = rest.drop_front();
    }
    if (reach != size)
      return std::nullopt;
    dims.push_back(dim);
  }
  return rest.empty() ? std::optional(dims) : std::nullopt;
}

/// As numpy.broadcast_to.
void expand(Dims &dims, ArrayRef<DimExpr> sizes, DimExpr one) {
  dims.insert(dims.begin(), sizes.size() - dims.size(), ScaleDim{std::nullopt, one, one});
  for (auto [dim, size] : llvm::zip(dims, sizes))
    if (!dim.source && dim.repeats.isConstant(1))
      dim.repeats = size;
}

/// True for the first elements along each dim.
bool isBeginning(SliceOp slice, ShapeContext &shapes) {
  for (int64_t d = 0; d < shapes.rank(slice.getX()); ++d)
    if (!shapes.element(slice.getStarts(), d).isConstant(0) || !shapes.element(slice.getSteps(), d).isConstant(1))
      return false;
  return true;
}

ScalePattern look(Value value, ShapeContext &shapes) {
  DimExpr one = shapes.constant(1);
  SmallVector<DimExpr> sizes(shapes.dims(value));
  ScalePattern own{value, {}};
  for (auto [d, size] : llvm::enumerate(sizes)) {
    if (size.isConstant(1))
      own.dims.push_back({std::nullopt, one, one});
    else
      own.dims.push_back({int64_t(d), size, one});
  }
  Operation *op = value.getDefiningOp();
  if (auto cast = dyn_cast_if_present<CastOp>(op)) {
    // Of a narrower float: no number changes.
    Type from = getElementTypeOrSelf(cast.getX().getType());
    return getElementTypeOrSelf(value.getType()).isF32() && (from.isF16() || from.isBF16()) ? look(cast.getX(), shapes) : own;
  }
  if (!isa_and_present<ReshapeOp, ExpandOp, TransposeOp, SliceOp>(op))
    return own;
  ScalePattern inner = look(op->getOperand(0), shapes);
  if (isa<ReshapeOp>(op)) {
    std::optional<Dims> dims = regroup(inner.dims, sizes, shapes);
    if (!dims)
      return own;
    inner.dims = *dims;
  } else if (isa<ExpandOp>(op)) {
    expand(inner.dims, sizes, one);
  } else if (auto transpose = dyn_cast<TransposeOp>(op)) {
    Dims dims;
    for (int64_t d : transpose.getPerm())
      dims.push_back(inner.dims[d]);
    inner.dims = dims;
  } else {
    auto slice = cast<SliceOp>(op);
    if (!isBeginning(slice, shapes))
      return own;
    for (auto [dim, size] : llvm::zip(inner.dims, sizes))
      if (dim.size * dim.repeats != size) {
        if (!dim.source || ceilDiv(size, dim.repeats) != dim.size)
          return own;
        dim.isCut = true;
      }
  }
  return inner;
}

} // namespace

std::optional<ScalePattern> flame::scalePattern(Value scale, ArrayRef<DimExpr> dims, ArrayRef<DimExpr> wanted, ShapeContext &shapes) {
  if (shapes.rank(scale) > int64_t(dims.size()))
    return std::nullopt;
  ScalePattern pattern = look(scale, shapes);
  expand(pattern.dims, dims, shapes.constant(1));
  if (dims != wanted) {
    std::optional<Dims> grouped = regroup(pattern.dims, wanted, shapes);
    if (!grouped)
      return std::nullopt;
    pattern.dims = *grouped;
  }
  return pattern;
}
