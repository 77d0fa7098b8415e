//===- GraphReduce.cpp - reductions and what is made of them ----------------------------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Reduce.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;
using namespace flame;

Value GraphBuilder::reduce(StringRef kind, Value x, Axes list, bool keepDims) {
  SmallVector<int64_t> all = list.empty() ? llvm::to_vector(llvm::seq<int64_t>(0, rank(x))) : axes(list, rank(x));
  return op<ReduceOp>(x, {attrS("kind", kind), attr("axes", Axes(all)), flag("keepdims", keepDims)});
}

Value GraphBuilder::argReduce(StringRef kind, Value x, int64_t at, bool keepDims, bool last) {
  return op<ArgReduceOp>(x, {attrS("kind", kind), attr("axis", axis(at, rank(x))), flag("keepdims", keepDims),
                             flag("select_last_index", last)});
}

Value GraphBuilder::scan(StringRef kind, Value x, int64_t at, bool exclusive, bool reverse) {
  return op<ScanOp>(x, {attrS("kind", kind), attr("axis", axis(at, rank(x))), flag("exclusive", exclusive),
                        flag("reverse", reverse)});
}

Value GraphBuilder::widen(Value x) {
  Type type = elementType(x);
  bool isNarrow = isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32;
  return isNarrow ? cast(x, b.getF32Type()) : x;
}

Value GraphBuilder::softmax(Value x, int64_t axis) {
  Value wide = widen(x);
  Value e = exp(sub(wide, reduce("max", wide, axis, true)));
  return cast(mul(e, reciprocal(sum(e, axis))), elementType(x)); // one division a row
}

Value GraphBuilder::logSoftmax(Value x, int64_t axis) {
  Value wide = widen(x);
  Value shifted = sub(wide, reduce("max", wide, axis, true));
  return cast(sub(shifted, log(sum(exp(shifted), axis))), elementType(x));
}

DimExpr GraphBuilder::isLess(DimExpr x, DimExpr y) {
  return flame::min(flame::max(y - x, shapes.constant(0)), shapes.constant(1));
}

DimExpr GraphBuilder::isEqual(DimExpr x, DimExpr y) {
  if (x == y)
    return shapes.constant(1);
  return shapes.constant(1) - flame::min(flame::max(x - y, y - x), shapes.constant(1));
}

DimExpr GraphBuilder::normalizedAxis(DimExpr at, int64_t rank) {
  if (auto known = at.constant())
    return shapes.constant(axis(*known, rank));
  return at + isLess(at, shapes.constant(0)) * rank;
}

std::array<DimExpr, 3> GraphBuilder::around(ArrayRef<DimExpr> dims, DimExpr at) {
  DimExpr one = shapes.constant(1), outer = one, size = one, inner = one;
  for (auto [d, dim] : llvm::enumerate(dims)) {
    DimExpr here = shapes.constant(d);
    outer = outer * (one + isLess(here, at) * (dim - one));
    size = size * (one + isEqual(here, at) * (dim - one));
    inner = inner * (one + isLess(at, here) * (dim - one));
  }
  return {outer, size, inner};
}

Value GraphBuilder::collapse(Value x, DimExpr at) {
  SmallVector<DimExpr> all(dims(x));
  auto [outer, size, inner] = around(all, normalizedAxis(at, rank(x)));
  return reshape(x, {outer, size, inner});
}
