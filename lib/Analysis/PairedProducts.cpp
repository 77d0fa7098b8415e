//===- PairedProducts.cpp - see PairedProducts.h --------------------------------------------------------------------------===//
#include "flame/Analysis/PairedProducts.h"

using namespace mlir;
using namespace flame;

/// Of elements of these types.
static bool canBePaired(Type x, Type y, Type result, bool tf32) {
  if (x != y)
    return false;
  if (x.isInteger(8))
    return result.isInteger(32);
  bool isSummedInF32 = result.isF16() || result.isBF16() || result.isF32();
  return isSummedInF32 && (x.isF16() || x.isBF16() || isa<Float8E4M3FNType, Float8E5M2Type>(x) || (tf32 && x.isF32()));
}

bool flame::canBePaired(MatMulOp op, bool tf32) {
  auto xType = dyn_cast<RankedTensorType>(op.getX().getType()), yType = dyn_cast<RankedTensorType>(op.getY().getType());
  return xType && yType && xType.getRank() >= 2 && yType.getRank() == 2 && !op.getPackedColumns() &&
         ::canBePaired(xType.getElementType(), yType.getElementType(), getElementTypeOrSelf(op.getResult().getType()), tf32);
}

bool flame::canBePaired(GroupedMatMulOp op, bool tf32) {
  auto elementType = [](Value value) { return getElementTypeOrSelf(value.getType()); };
  return ::canBePaired(elementType(op.getX()), elementType(op.getY()), elementType(op.getResult()), tf32);
}

template <typename Op> static bool differInElements(Op first, Op second, ShapeContext &shapes) {
  return first != second && first.getX() == second.getX() && first->getAttrDictionary() == second->getAttrDictionary() &&
         first.getY().getType() == second.getY().getType() && shapes.dims(first.getY()) == shapes.dims(second.getY()) &&
         first.getResult().getType() == second.getResult().getType();
}

bool flame::arePaired(MatMulOp first, MatMulOp second, ShapeContext &shapes, bool tf32) {
  return differInElements(first, second, shapes) && canBePaired(first, tf32);
}

bool flame::arePaired(GroupedMatMulOp first, GroupedMatMulOp second, ShapeContext &shapes, bool tf32) {
  return differInElements(first, second, shapes) && first.getEnds() == second.getEnds() && canBePaired(first, tf32);
}
