//===- PairedProducts.cpp - see PairedProducts.h --------------------------------------------------------------------------===//
#include "flame/Analysis/PairedProducts.h"

using namespace mlir;
using namespace flame;

bool flame::canBePaired(MatMulOp op, bool tf32) {
  auto xType = dyn_cast<RankedTensorType>(op.getX().getType()), yType = dyn_cast<RankedTensorType>(op.getY().getType());
  if (!xType || !yType || xType.getRank() < 2 || yType.getRank() != 2 || op.getPackedColumns())
    return false;
  Type x = xType.getElementType(), y = yType.getElementType(), result = getElementTypeOrSelf(op.getResult().getType());
  if (x != y)
    return false;
  if (x.isInteger(8))
    return result.isInteger(32);
  bool isSummedInF32 = result.isF16() || result.isBF16() || result.isF32();
  return isSummedInF32 && (x.isF16() || x.isBF16() || isa<Float8E4M3FNType, Float8E5M2Type>(x) || (tf32 && x.isF32()));
}

bool flame::arePaired(MatMulOp first, MatMulOp second, ShapeContext &shapes, bool tf32) {
  return first != second && first.getX() == second.getX() && first->getAttrDictionary() == second->getAttrDictionary() &&
         first.getY().getType() == second.getY().getType() && shapes.dims(first.getY()) == shapes.dims(second.getY()) &&
         first.getResult().getType() == second.getResult().getType() && canBePaired(first, tf32);
}
