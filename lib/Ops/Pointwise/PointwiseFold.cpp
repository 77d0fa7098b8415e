//===- PointwiseFold.cpp - elementwise ops that give back an operand --------------------------------------------------===//
//
// Only what holds bit by bit: x + 0.0 is no identity (it turns −0 into 0), x - 0.0 is one.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Ops/Pointwise.h"

using namespace mlir;
using namespace flame;

/// True if the attribute is one number, repeated or not, equal to `value`; for a float zero the sign must be right too.
static bool isNumber(Attribute attribute, double value) {
  auto elements = dyn_cast_or_null<DenseElementsAttr>(attribute);
  if (!elements || !elements.isSplat())
    return false;
  if (isa<FloatType>(elements.getElementType()))
    return elements.getSplatValue<APFloat>().isExactlyValue(value);
  if (!elements.getElementType().isIntOrIndex())
    return false;
  APInt number = elements.getSplatValue<APInt>();
  return number == APInt(number.getBitWidth(), uint64_t(int64_t(value)), /*isSigned=*/true, /*implicitTrunc=*/true);
}

/// True if the result has operand `i`'s type, and its shape at run time as well.
static bool keepsShape(Operation *op, unsigned i) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
  if (!type || type != op->getResult(0).getType())
    return false;
  if (type.hasStaticShape())
    return true;
  // An unknown dim stays what it is if nothing else has more than one element.
  for (auto [j, operand] : llvm::enumerate(op->getOperands())) {
    auto other = dyn_cast<RankedTensorType>(operand.getType());
    if (j != i && operand != op->getOperand(i) &&
        !(other && other.hasStaticShape() && other.getNumElements() == 1 && other.getRank() <= type.getRank()))
      return false;
  }
  return true;
}

/// True if every value of `narrow` comes back from `wide` unchanged.
static bool survives(Type narrow, Type wide) {
  if (isa<FloatType>(narrow) != isa<FloatType>(wide))
    return false;
  unsigned from = narrow.getIntOrFloatBitWidth(), to = wide.getIntOrFloatBitWidth();
  if (isa<FloatType>(narrow))
    return (wide.isF64() && from <= 32) || (wide.isF32() && from <= 16);
  return from < to && to > 1;
}

static OpFoldResult foldCast(CastOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getX().getType());
  if (!type)
    return {};
  if (type.getElementType() == op.getTo())
    return type == op.getType() ? OpFoldResult(op.getX()) : OpFoldResult();
  // There and back. e8m0 and other narrow floats are exact in f32 too.
  if (auto inner = op.getX().getDefiningOp<CastOp>())
    if (inner.getX().getType() == op.getType() && survives(op.getTo(), type.getElementType()))
      return inner.getX();
  return {};
}

OpFoldResult flame::foldPointwise(Operation *op, ArrayRef<Attribute> constants) {
  if (auto cast = dyn_cast<CastOp>(op))
    return foldCast(cast);
  auto operandIf = [&](unsigned i, bool condition) -> OpFoldResult {
    return condition && keepsShape(op, i) ? OpFoldResult(op->getOperand(i)) : OpFoldResult();
  };
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(op->getOperand(0).getType()));
  if (isa<AddOp>(op)) {
    double zero = isFloat ? -0.0 : 0;
    if (OpFoldResult x = operandIf(0, isNumber(constants[1], zero)))
      return x;
    return operandIf(1, isNumber(constants[0], zero));
  }
  if (isa<SubOp, ShiftLeftOp, ShiftRightOp, BitXorOp, BitOrOp>(op))
    return operandIf(0, isNumber(constants[1], 0));
  if (isa<MulOp>(op)) {
    if (OpFoldResult x = operandIf(0, isNumber(constants[1], 1)))
      return x;
    return operandIf(1, isNumber(constants[0], 1));
  }
  if (isa<DivOp, PowOp>(op))
    return operandIf(0, isNumber(constants[1], 1));
  if (isa<MaxOp, MinOp, AndOp, OrOp, BitAndOp>(op) && op->getOperand(0) == op->getOperand(1))
    return operandIf(0, true);
  if (isa<WhereOp>(op)) {
    if (op->getOperand(1) == op->getOperand(2))
      return operandIf(1, true);
    auto condition = dyn_cast_or_null<DenseElementsAttr>(constants[0]);
    if (!condition || !condition.isSplat())
      return {};
    return operandIf(condition.getSplatValue<bool>() ? 1 : 2, true);
  }
  // An involution twice.
  if (isa<NegOp, NotOp, BitNotOp>(op))
    if (Operation *inner = op->getOperand(0).getDefiningOp(); inner && inner->getName() == op->getName())
      return inner->getOperand(0).getType() == op->getResult(0).getType() ? inner->getOperand(0) : OpFoldResult();
  return {};
}
