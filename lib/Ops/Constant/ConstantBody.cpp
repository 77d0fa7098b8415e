//===- ConstantBody.cpp - elements of constants -----------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Constant.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;

/// A number of an elements attribute as a compute scalar.
static Value scalarOf(ElementBuilder &e, Type elementType, Attribute number) {
  ScalarBuilder s = e.scalars(elementType);
  if (auto integer = dyn_cast<IntegerAttr>(number)) {
    Type type = computeType(elementType);
    const APInt &value = integer.getValue();
    unsigned width = type.getIntOrFloatBitWidth();
    bool zeroExtend = elementType.isUnsignedInteger() || elementType.isInteger(1);
    return arith::ConstantOp::create(
        e.b, e.loc, e.b.getIntegerAttr(type, zeroExtend ? value.zextOrTrunc(width) : value.sextOrTrunc(width)));
  }
  auto floating = cast<FloatAttr>(number);
  auto type = cast<FloatType>(computeType(elementType));
  APFloat value = floating.getValue();
  bool losesInfo;
  value.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven, &losesInfo);
  return arith::ConstantOp::create(e.b, e.loc, e.b.getFloatAttr(type, value));
}

/// Splats and tiny tables only: everything else is a buffer, loaded from.
static Value constantElement(ConstantOp op, ElementBuilder &e, ValueRange at) {
  auto type = cast<RankedTensorType>(op.getType());
  auto elements = cast<DenseElementsAttr>(op.getValue());
  if (elements.isSplat())
    return scalarOf(e, type.getElementType(), elements.getSplatValue<Attribute>());
  Value position = e.linearize(at, e.shapes().dims(op)), result;
  for (auto [i, number] : llvm::enumerate(elements.getValues<Attribute>())) {
    Value scalar = scalarOf(e, type.getElementType(), number);
    result = i ? e.select(e.cmpi(CmpIPredicate::eq, position, e.index(int64_t(i))), scalar, result) : scalar;
  }
  return result;
}

static Value iotaElement(IotaOp op, ElementBuilder &e, ValueRange at) { return e.fromIndex(at[0], op.getType()); }

static Value fillElement(FillOp op, ElementBuilder &e, ValueRange at) { return e.element(op.getValue(), {}); }

void flame::registerConstantBodies(MLIRContext *context) {
  attachElement<ConstantOp, constantElement>(context);
  attachElement<IotaOp, iotaElement>(context);
  attachElement<FillOp, fillElement>(context);
}
