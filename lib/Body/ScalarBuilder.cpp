//===- ScalarBuilder.cpp - scalar arithmetic in compute types ---------------------------------------------------------===//
#include "flame/Body/ScalarBuilder.h"
#include "flame/IR/Flame.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace flame;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

Type flame::storageType(Type elementType) {
  MLIRContext *context = elementType.getContext();
  if (elementType.isF32() || elementType.isF64() || elementType.isF16())
    return elementType;
  return IntegerType::get(context, 8 * std::max(1u, dtypeBytes(elementType)));
}

Type flame::computeType(Type elementType) {
  MLIRContext *context = elementType.getContext();
  if (isa<FloatType>(elementType))
    return elementType.isF64() ? elementType : Float32Type::get(context);
  if (elementType.isInteger(1))
    return IntegerType::get(context, 1);
  return IntegerType::get(context, 8 * std::max(1u, dtypeBytes(elementType)));
}

Type ScalarBuilder::shapedLike(Type scalar, Value like) {
  if (auto vector = dyn_cast<VectorType>(like.getType()))
    return vector.clone(scalar);
  return scalar;
}

static TypedAttr splat(Type type, Attribute value) {
  if (auto vector = dyn_cast<VectorType>(type))
    return DenseElementsAttr::get(vector, value);
  return cast<TypedAttr>(value);
}

Value ScalarBuilder::constant(Value like, double value) {
  Type type = like.getType(), scalar = getElementTypeOrSelf(type);
  Attribute attribute = isa<FloatType>(scalar) ? Attribute(b.getFloatAttr(scalar, value))
                                               : Attribute(b.getIntegerAttr(scalar, int64_t(value)));
  return make<arith::ConstantOp>(splat(type, attribute));
}

Value ScalarBuilder::constantInt(Value like, int64_t value) {
  Type type = like.getType(), scalar = getElementTypeOrSelf(type);
  if (isa<FloatType>(scalar))
    return constant(like, double(value));
  unsigned width = scalar.isIndex() ? 64 : scalar.getIntOrFloatBitWidth();
  return make<arith::ConstantOp>(
      splat(type, b.getIntegerAttr(scalar, APInt(width, uint64_t(value), /*isSigned=*/true, /*implicitTrunc=*/true))));
}

Value ScalarBuilder::number(Type elementType, double value) {
  Type type = computeType(elementType);
  if (isa<FloatType>(type))
    return make<arith::ConstantOp>(b.getFloatAttr(type, value));
  if (type.isInteger(1))
    return boolean(value != 0);
  return integer(elementType, value >= 9.2233720368547758e18 ? int64_t(uint64_t(value)) : int64_t(value));
}

Value ScalarBuilder::integer(Type elementType, int64_t value) {
  Type type = computeType(elementType);
  if (isa<FloatType>(type))
    return make<arith::ConstantOp>(b.getFloatAttr(type, double(value)));
  return make<arith::ConstantOp>(b.getIntegerAttr(
      type, APInt(type.getIntOrFloatBitWidth(), uint64_t(value), /*isSigned=*/true, /*implicitTrunc=*/true)));
}

Value ScalarBuilder::boolean(bool value) { return make<arith::ConstantOp>(b.getBoolAttr(value)); }

Value ScalarBuilder::lowest(Type elementType) {
  if (isa<FloatType>(elementType))
    return number(elementType, -std::numeric_limits<double>::infinity());
  if (elementType.isUnsignedInteger() || elementType.isInteger(1))
    return integer(elementType, 0);
  return integer(elementType, APInt::getSignedMinValue(elementType.getIntOrFloatBitWidth()).getSExtValue());
}

Value ScalarBuilder::highest(Type elementType) {
  if (isa<FloatType>(elementType))
    return number(elementType, std::numeric_limits<double>::infinity());
  unsigned width = elementType.getIntOrFloatBitWidth();
  if (elementType.isUnsignedInteger() || elementType.isInteger(1))
    return integer(elementType, int64_t(APInt::getMaxValue(width).getZExtValue()));
  return integer(elementType, APInt::getSignedMaxValue(width).getSExtValue());
}

Value ScalarBuilder::add(Value x, Value y) {
  return isFloat(x) ? Value(make<arith::AddFOp>(x, y)) : make<arith::AddIOp>(x, y);
}
Value ScalarBuilder::sub(Value x, Value y) {
  return isFloat(x) ? Value(make<arith::SubFOp>(x, y)) : make<arith::SubIOp>(x, y);
}
Value ScalarBuilder::mul(Value x, Value y) {
  return isFloat(x) ? Value(make<arith::MulFOp>(x, y)) : make<arith::MulIOp>(x, y);
}

/// A divisor that can't trap: `one` in place of zero, and of −1 where the dividend may be the lowest value.
static Value safeDivisor(ScalarBuilder &s, Value x, Value y, Value zeroDivisor) {
  return s.select(zeroDivisor, s.constantInt(y, 1), y);
}

Value ScalarBuilder::div(Value x, Value y) {
  if (isFloat(x))
    return make<arith::DivFOp>(x, y);
  Value zero = constantInt(y, 0), byZero = make<arith::CmpIOp>(CmpIPredicate::eq, y, zero);
  Value divisor = safeDivisor(*this, x, y, byZero);
  if (isUnsigned())
    return select(byZero, zero, make<arith::DivUIOp>(x, divisor));
  // lowest / −1 overflows, and traps on x86: it is −lowest, which wraps to lowest.
  Value minusOne = make<arith::CmpIOp>(CmpIPredicate::eq, y, constantInt(y, -1));
  Value quotient = make<arith::DivSIOp>(x, select(minusOne, constantInt(y, 1), divisor));
  return select(byZero, zero, select(minusOne, sub(zero, x), quotient));
}

Value ScalarBuilder::rem(Value x, Value y) {
  if (isFloat(x))
    return make<arith::RemFOp>(x, y);
  Value zero = constantInt(y, 0), byZero = make<arith::CmpIOp>(CmpIPredicate::eq, y, zero);
  Value divisor = safeDivisor(*this, x, y, byZero);
  if (isUnsigned())
    return select(byZero, zero, make<arith::RemUIOp>(x, divisor));
  Value minusOne = make<arith::CmpIOp>(CmpIPredicate::eq, y, constantInt(y, -1));
  return make<arith::RemSIOp>(x, select(minusOne, constantInt(y, 1), divisor));
}

Value ScalarBuilder::neg(Value x) { return isFloat(x) ? Value(make<arith::NegFOp>(x)) : sub(constantInt(x, 0), x); }

Value ScalarBuilder::abs(Value x) {
  if (isFloat(x))
    return make<math::AbsFOp>(x);
  return isUnsigned() || isBool(x) ? x : Value(make<math::AbsIOp>(x));
}

Value ScalarBuilder::max(Value x, Value y) {
  if (isFloat(x))
    return make<arith::MaximumFOp>(x, y);
  return isUnsigned() || isBool(x) ? Value(make<arith::MaxUIOp>(x, y)) : make<arith::MaxSIOp>(x, y);
}
Value ScalarBuilder::min(Value x, Value y) {
  if (isFloat(x))
    return make<arith::MinimumFOp>(x, y);
  return isUnsigned() || isBool(x) ? Value(make<arith::MinUIOp>(x, y)) : make<arith::MinSIOp>(x, y);
}

Value ScalarBuilder::compare(CmpFPredicate f, CmpIPredicate s, CmpIPredicate u, Value x, Value y) {
  if (isFloat(x))
    return make<arith::CmpFOp>(f, x, y);
  return make<arith::CmpIOp>(isUnsigned() || isBool(x) ? u : s, x, y);
}
Value ScalarBuilder::eq(Value x, Value y) {
  return compare(CmpFPredicate::OEQ, CmpIPredicate::eq, CmpIPredicate::eq, x, y);
}
Value ScalarBuilder::ne(Value x, Value y) {
  return compare(CmpFPredicate::UNE, CmpIPredicate::ne, CmpIPredicate::ne, x, y);
}
Value ScalarBuilder::lt(Value x, Value y) {
  return compare(CmpFPredicate::OLT, CmpIPredicate::slt, CmpIPredicate::ult, x, y);
}
Value ScalarBuilder::le(Value x, Value y) {
  return compare(CmpFPredicate::OLE, CmpIPredicate::sle, CmpIPredicate::ule, x, y);
}
Value ScalarBuilder::gt(Value x, Value y) {
  return compare(CmpFPredicate::OGT, CmpIPredicate::sgt, CmpIPredicate::ugt, x, y);
}
Value ScalarBuilder::ge(Value x, Value y) {
  return compare(CmpFPredicate::OGE, CmpIPredicate::sge, CmpIPredicate::uge, x, y);
}
Value ScalarBuilder::select(Value condition, Value x, Value y) { return make<arith::SelectOp>(condition, x, y); }
Value ScalarBuilder::logicalNot(Value x) { return make<arith::XOrIOp>(x, constantInt(x, 1)); }

arith::FastMathFlags ScalarBuilder::approximation() const {
  auto narrow = dyn_cast_or_null<FloatType>(resultType);
  return narrow && narrow.getWidth() <= 16 ? arith::FastMathFlags::afn : arith::FastMathFlags::none;
}

Value ScalarBuilder::exp(Value x) { return make<math::ExpOp>(x, approximation()); }
Value ScalarBuilder::reciprocal(Value x) { return make<arith::DivFOp>(constant(x, 1), x, approximation()); }
Value ScalarBuilder::log(Value x) { return make<math::LogOp>(x); }
Value ScalarBuilder::sqrt(Value x) { return make<math::SqrtOp>(x); }
Value ScalarBuilder::tanh(Value x) { return make<math::TanhOp>(x); }
Value ScalarBuilder::erf(Value x) { return make<math::ErfOp>(x); }
Value ScalarBuilder::pow(Value x, Value y) { return make<math::PowFOp>(x, y); }
Value ScalarBuilder::floor(Value x) { return isFloat(x) ? Value(make<math::FloorOp>(x)) : x; }
Value ScalarBuilder::ceil(Value x) { return isFloat(x) ? Value(make<math::CeilOp>(x)) : x; }
Value ScalarBuilder::isNaN(Value x) { return make<arith::CmpFOp>(CmpFPredicate::UNO, x, x); }
Value ScalarBuilder::isInf(Value x) {
  return eq(abs(x), constant(x, std::numeric_limits<double>::infinity()));
}
