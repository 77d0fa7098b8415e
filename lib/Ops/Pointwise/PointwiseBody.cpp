//===- PointwiseBody.cpp - scalar bodies of elementwise ops -----------------------------------------------------------===//
//
// Formulas are chosen for accuracy at both ends of the range: no overflow to NaN, no cancellation near 0.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Pointwise.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;
using S = ScalarBuilder;

namespace body { // the names of libm are free here
// ---- arithmetic ----------------------------------------------------------------------------------------------------
static Value add(S &s, Value x, Value y) { return s.add(x, y); }
static Value sub(S &s, Value x, Value y) { return s.sub(x, y); }
static Value mul(S &s, Value x, Value y) { return s.mul(x, y); }
static Value div(S &s, Value x, Value y) { return s.div(x, y); }
static Value fmod(S &s, Value x, Value y) { return s.rem(x, y); }
static Value max(S &s, Value x, Value y) { return s.max(x, y); }
static Value min(S &s, Value x, Value y) { return s.min(x, y); }
static Value neg(S &s, Value x) { return s.neg(x); }
static Value abs(S &s, Value x) { return s.abs(x); }
static Value sqrt(S &s, Value x) { return s.sqrt(x); }
static Value reciprocal(S &s, Value x) { return s.div(s.constant(x, 1), x); }

static Value mod(S &s, Value x, Value y) {
  Value remainder = s.rem(x, y), zero = s.constant(x, 0);
  if (s.isUnsigned())
    return remainder;
  // Python's: moved by one divisor where the signs of a non-zero remainder and the divisor differ.
  Value differ = s.make<arith::XOrIOp>(s.lt(remainder, zero), s.lt(y, zero));
  Value move = s.logicalAnd(s.ne(remainder, zero), differ);
  return s.select(move, s.add(remainder, y), remainder);
}

static Value sign(S &s, Value x) {
  Value zero = s.constant(x, 0), one = s.constant(x, 1);
  if (s.isUnsigned())
    return s.select(s.ne(x, zero), one, zero);
  // Zeros and NaN are their own sign.
  return s.select(s.gt(x, zero), one, s.select(s.lt(x, zero), s.constant(x, -1), x));
}

/// Integer power by squaring, wrapping. Powers of 64 and more are exact for −1, 0 and 1 alone: others overflow anyway.
static Value integerPower(S &s, Value x, Value y, bool isSigned) {
  Value zero = s.constantInt(y, 0), one = s.constantInt(x, 1);
  Value magnitude = isSigned ? Value(s.make<math::AbsIOp>(y)) : y;
  Value parity = s.make<arith::AndIOp>(magnitude, s.constantInt(y, 1));
  Value isLarge = s.make<arith::CmpIOp>(CmpIPredicate::ugt, magnitude, s.constantInt(y, 63));
  Value exponent = s.select(isLarge, s.add(parity, s.constantInt(y, 62)), magnitude);
  Value result = one, base = x;
  for (int bit = 0; bit < 6; ++bit) {
    Value masked = s.make<arith::AndIOp>(exponent, s.constantInt(y, int64_t(1) << bit));
    Value isSet = s.make<arith::CmpIOp>(CmpIPredicate::ne, masked, zero);
    result = s.select(isSet, s.mul(result, base), result);
    base = s.mul(base, base);
  }
  if (!isSigned)
    return result;
  // x^-n truncates to 0 except for ±1.
  Value isUnit = s.make<arith::CmpIOp>(CmpIPredicate::eq, s.mul(x, x), one);
  isUnit = s.logicalAnd(isUnit, s.make<arith::CmpIOp>(CmpIPredicate::ule, s.add(x, one), s.constantInt(x, 2)));
  Value isNegative = s.make<arith::CmpIOp>(CmpIPredicate::slt, y, zero);
  return s.select(s.logicalAnd(isNegative, s.logicalNot(isUnit)), s.constantInt(x, 0), result);
}

static Value pow(PowOp op, S &s, Value x, Value y) {
  Type from = getElementTypeOrSelf(op.getY().getType()), to = s.elementType;
  if (S::isFloat(x)) {
    Type real = to.isF64() ? to : Type(s.b.getF32Type());
    return s.pow(x, s.cast(y, from, real));
  }
  if (!S::isFloat(y))
    return integerPower(s, x, s.cast(y, from, to), !to.isUnsignedInteger() && !from.isUnsignedInteger());
  // An integer to a fractional power: in double, which holds every 32-bit integer.
  Type real = s.b.getF64Type();
  return s.cast(s.pow(s.cast(x, to, real), s.cast(y, from, real)), real, to);
}

// ---- bits and logic ------------------------------------------------------------------------------------------------
static Value bitAnd(S &s, Value x, Value y) { return s.make<arith::AndIOp>(x, y); }
static Value bitOr(S &s, Value x, Value y) { return s.make<arith::OrIOp>(x, y); }
static Value bitXor(S &s, Value x, Value y) { return s.make<arith::XOrIOp>(x, y); }
static Value bitNot(S &s, Value x) { return s.make<arith::XOrIOp>(x, s.constantInt(x, -1)); }
static Value logicalNot(S &s, Value x) { return s.logicalNot(x); }

/// Shifts by the width and more are undefined in hardware: the amount is clamped.
static Value isWide(S &s, Value y) {
  int64_t width = s.elementType.getIntOrFloatBitWidth();
  return s.make<arith::CmpIOp>(CmpIPredicate::uge, y, s.constantInt(y, width));
}
static Value shiftLeft(S &s, Value x, Value y) {
  Value wide = isWide(s, y), zero = s.constantInt(x, 0);
  return s.select(wide, zero, s.make<arith::ShLIOp>(x, s.select(wide, zero, y)));
}
static Value shiftRight(S &s, Value x, Value y) {
  Value wide = isWide(s, y);
  if (s.isUnsigned()) {
    Value zero = s.constantInt(x, 0);
    return s.select(wide, zero, s.make<arith::ShRUIOp>(x, s.select(wide, zero, y)));
  }
  int64_t width = s.elementType.getIntOrFloatBitWidth();
  return s.make<arith::ShRSIOp>(x, s.select(wide, s.constantInt(x, width - 1), y));
}

// ---- comparison ----------------------------------------------------------------------------------------------------
static Value equal(S &s, Value x, Value y) { return s.eq(x, y); }
static Value less(S &s, Value x, Value y) { return s.lt(x, y); }
static Value lessEqual(S &s, Value x, Value y) { return s.le(x, y); }
static Value greater(S &s, Value x, Value y) { return s.gt(x, y); }
static Value greaterEqual(S &s, Value x, Value y) { return s.ge(x, y); }
static Value isNaN(S &s, Value x) { return s.isNaN(x); }
static Value isInf(IsInfOp op, S &s, Value x) {
  const double inf = std::numeric_limits<double>::infinity();
  if (op.getPositive() && op.getNegative())
    return s.isInf(x);
  if (!op.getPositive() && !op.getNegative())
    return s.logicalAnd(s.isInf(x), s.isNaN(x)); // never
  return s.eq(x, s.constant(x, op.getPositive() ? inf : -inf));
}

// ---- elementary functions ------------------------------------------------------------------------------------------
template <typename Op> static Value unary(S &s, Value x) { return s.make<Op>(x); }

// ---- activations ---------------------------------------------------------------------------------------------------
static Value relu(S &s, Value x) { return s.max(x, s.constant(x, 0)); }

static Value sigmoid(S &s, Value x) {
  return s.reciprocal(s.add(s.constant(x, 1), s.exp(s.neg(x))));
}

static Value softplus(S &s, Value x) {
  Value tail = s.make<math::Log1pOp>(s.exp(s.neg(s.abs(x))));
  return s.add(s.max(x, s.constant(x, 0)), tail);
}

static Value mish(S &s, Value x) {
  // With e = exp(x): tanh(log(1 + e)) = e(e + 2) / (e(e + 2) + 2), which is 1 long before e² overflows.
  Value two = s.constant(x, 2);
  Value e = s.exp(s.min(x, s.constant(x, 30)));
  Value n = s.mul(e, s.add(e, two));
  return s.mul(x, s.div(n, s.add(n, two)));
}

static Value expm1(S &s, Value x) { return s.make<math::ExpM1Op>(x); }
static Value isNegative(S &s, Value x) { return s.lt(x, s.constant(x, 0)); }

static Value leakyRelu(LeakyReluOp op, S &s, Value x) {
  return s.select(isNegative(s, x), s.mul(s.constant(x, op.getAlpha().convertToDouble()), x), x);
}
static Value elu(EluOp op, S &s, Value x) {
  return s.select(isNegative(s, x), s.mul(s.constant(x, op.getAlpha().convertToDouble()), expm1(s, x)), x);
}
static Value celu(CeluOp op, S &s, Value x) {
  Value alpha = s.constant(x, op.getAlpha().convertToDouble());
  return s.select(isNegative(s, x), s.mul(alpha, expm1(s, s.div(x, alpha))), x);
}
static Value selu(SeluOp op, S &s, Value x) {
  double alpha = op.getAlpha().convertToDouble(), gamma = op.getGamma().convertToDouble();
  return s.select(isNegative(s, x), s.mul(s.constant(x, alpha * gamma), expm1(s, x)),
                  s.mul(s.constant(x, gamma), x));
}
static Value silu(SiluOp op, S &s, Value x) {
  double alpha = op.getAlpha().convertToDouble();
  return s.mul(x, sigmoid(s, alpha == 1 ? x : s.mul(s.constant(x, alpha), x)));
}
static Value gelu(GeluOp op, S &s, Value x) {
  if (op.getApproximate()) {
    // (1 + tanh u) / 2 = sigmoid(2u): one exponential, and no cancellation where x is negative.
    Value cube = s.mul(s.mul(x, x), x);
    Value inner = s.mul(s.constant(x, 2 * std::sqrt(2 / M_PI)), s.add(x, s.mul(s.constant(x, 0.044715), cube)));
    return s.mul(x, sigmoid(s, inner));
  }
  Value one = s.constant(x, 1);
  if (auto type = dyn_cast_if_present<FloatType>(s.resultType); type && type.getWidth() <= 16) {
    // The normal distribution's tail by formula 7.1.26 of Abramowitz and Stegun: no branches, half of erf's instructions. The
    // result is exact to 3e-7, and where x is negative, to 0.2 % down to 1e-6, since nothing cancels.
    Value a = s.abs(x), t = s.reciprocal(s.add(one, s.mul(s.constant(x, 0.3275911 * M_SQRT1_2), a)));
    Value tail = s.constant(x, 1.061405429 / 2);
    for (double factor : {-1.453152027, 1.421413741, -0.284496736, 0.254829592})
      tail = s.add(s.constant(x, factor / 2), s.mul(tail, t));
    tail = s.mul(s.mul(tail, t), s.exp(s.mul(s.constant(x, -0.5), s.mul(x, x))));
    return s.mul(x, s.select(s.lt(x, s.constant(x, 0)), tail, s.sub(one, tail)));
  }
  Value half = s.mul(s.constant(x, 0.5), x);
  return s.mul(half, s.add(one, s.erf(s.mul(s.constant(x, M_SQRT1_2), x))));
}
static Value hardSigmoid(HardSigmoidOp op, S &s, Value x) {
  Value alpha = s.constant(x, op.getAlpha().convertToDouble()), beta = s.constant(x, op.getBeta().convertToDouble());
  return s.max(s.min(s.add(s.mul(alpha, x), beta), s.constant(x, 1)), s.constant(x, 0));
}
static Value thresholdedRelu(ThresholdedReluOp op, S &s, Value x) {
  return s.select(s.gt(x, s.constant(x, op.getAlpha().convertToDouble())), x, s.constant(x, 0));
}
static Value shrink(ShrinkOp op, S &s, Value x) {
  double lambd = op.getLambd().convertToDouble();
  Value bias = s.constant(x, op.getBias().convertToDouble());
  Value inside = s.select(s.gt(x, s.constant(x, lambd)), s.sub(x, bias), s.constant(x, 0));
  return s.select(s.lt(x, s.constant(x, -lambd)), s.add(x, bias), inside);
}

// ---- selection and conversion --------------------------------------------------------------------------------------
static Value where(S &s, Value condition, Value x, Value y) { return s.select(condition, x, y); }
static Value cast(CastOp op, S &s, Value x) {
  if (op.getExcess() && isa<FloatType>(s.elementType) && computeType(op.getTo()) == computeType(s.elementType))
    return x;
  return s.cast(x, s.elementType, op.getTo(), op.getSaturate(), op.getRoundMode());
}
static Value bitcast(BitcastOp op, S &s, Value x) {
  Value stored = s.toStorage(x, s.elementType);
  Type type = S::shapedLike(storageType(op.getTo()), x);
  if (stored.getType() != type)
    stored = s.make<arith::BitcastOp>(type, stored);
  Value result = s.fromStorage(stored, op.getTo());
  return isa<IntegerType>(op.getTo()) && !op.getTo().isInteger(1) ? s.round(result, op.getTo()) : result;
}
} // namespace body

void flame::registerPointwiseBodies(MLIRContext *c) {
  attachPointwise<AddOp, body::add>(c);
  attachPointwise<SubOp, body::sub>(c);
  attachPointwise<MulOp, body::mul>(c);
  attachPointwise<DivOp, body::div>(c);
  attachPointwise<ModOp, body::mod>(c);
  attachPointwise<FModOp, body::fmod>(c);
  attachPointwise<PowOp, body::pow>(c);
  attachPointwise<MaxOp, body::max>(c);
  attachPointwise<MinOp, body::min>(c);
  attachPointwise<NegOp, body::neg>(c);
  attachPointwise<AbsOp, body::abs>(c);
  attachPointwise<SignOp, body::sign>(c);
  attachPointwise<ReciprocalOp, body::reciprocal>(c);
  attachPointwise<SqrtOp, body::sqrt>(c);

  attachPointwise<BitAndOp, body::bitAnd>(c);
  attachPointwise<BitOrOp, body::bitOr>(c);
  attachPointwise<BitXorOp, body::bitXor>(c);
  attachPointwise<BitNotOp, body::bitNot>(c);
  attachPointwise<ShiftLeftOp, body::shiftLeft>(c);
  attachPointwise<ShiftRightOp, body::shiftRight>(c);
  attachPointwise<AndOp, body::bitAnd>(c);
  attachPointwise<OrOp, body::bitOr>(c);
  attachPointwise<XorOp, body::bitXor>(c);
  attachPointwise<NotOp, body::logicalNot>(c);

  attachPointwise<EqualOp, body::equal>(c);
  attachPointwise<LessOp, body::less>(c);
  attachPointwise<LessEqualOp, body::lessEqual>(c);
  attachPointwise<GreaterOp, body::greater>(c);
  attachPointwise<GreaterEqualOp, body::greaterEqual>(c);
  attachPointwise<IsNaNOp, body::isNaN>(c);
  attachPointwise<IsInfOp, body::isInf>(c);

  attachPointwise<ExpOp, body::unary<math::ExpOp>>(c);
  attachPointwise<LogOp, body::unary<math::LogOp>>(c);
  attachPointwise<SinOp, body::unary<math::SinOp>>(c);
  attachPointwise<CosOp, body::unary<math::CosOp>>(c);
  attachPointwise<TanOp, body::unary<math::TanOp>>(c);
  attachPointwise<AsinOp, body::unary<math::AsinOp>>(c);
  attachPointwise<AcosOp, body::unary<math::AcosOp>>(c);
  attachPointwise<AtanOp, body::unary<math::AtanOp>>(c);
  attachPointwise<SinhOp, body::unary<math::SinhOp>>(c);
  attachPointwise<CoshOp, body::unary<math::CoshOp>>(c);
  attachPointwise<TanhOp, body::unary<math::TanhOp>>(c);
  attachPointwise<AsinhOp, body::unary<math::AsinhOp>>(c);
  attachPointwise<AcoshOp, body::unary<math::AcoshOp>>(c);
  attachPointwise<AtanhOp, body::unary<math::AtanhOp>>(c);
  attachPointwise<ErfOp, body::unary<math::ErfOp>>(c);
  attachPointwise<FloorOp, body::unary<math::FloorOp>>(c);
  attachPointwise<CeilOp, body::unary<math::CeilOp>>(c);
  attachPointwise<RoundOp, body::unary<math::RoundEvenOp>>(c);

  attachPointwise<ReluOp, body::relu>(c);
  attachPointwise<SigmoidOp, body::sigmoid>(c);
  attachPointwise<SoftplusOp, body::softplus>(c);
  attachPointwise<MishOp, body::mish>(c);
  attachPointwise<LeakyReluOp, body::leakyRelu>(c);
  attachPointwise<EluOp, body::elu>(c);
  attachPointwise<CeluOp, body::celu>(c);
  attachPointwise<SeluOp, body::selu>(c);
  attachPointwise<SiluOp, body::silu>(c);
  attachPointwise<GeluOp, body::gelu>(c);
  attachPointwise<HardSigmoidOp, body::hardSigmoid>(c);
  attachPointwise<ThresholdedReluOp, body::thresholdedRelu>(c);
  attachPointwise<ShrinkOp, body::shrink>(c);

  attachPointwise<WhereOp, body::where>(c);
  attachPointwise<CastOp, body::cast>(c);
  attachPointwise<BitcastOp, body::bitcast>(c);
}
