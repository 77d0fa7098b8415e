//===- ExpandMath.cpp - elementary functions as arithmetic ------------------------------------------------------------===//
//
// exp, log, tanh and erf on f32 as polynomials, so that the loops around them vectorise; at most 2 units in the last place
// off, with infinities, NaN and subnormal numbers as the C library has them. Powers with small whole exponents become
// products. Everything else calls the C library.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace flame::cpu;
using arith::CmpFPredicate;

namespace {

/// Arithmetic on f32 and its bits, scalars or vectors alike.
class Expander {
public:
  Expander(Operation *op, bool fma) : b(op), loc(op->getLoc()), type(op->getResult(0).getType()), fused(fma) {
    Type i32 = b.getI32Type();
    bitsType = type;
    if (auto vector = dyn_cast<VectorType>(type))
      bitsType = vector.clone(i32);
    else
      bitsType = i32;
  }

  Value exp(Value x) {
    // e^x = 2^n · e^r with |r| <= ln(2) / 2. Beyond these bounds the result is 0 or infinite, as it comes out below.
    x = select(less(x, real(-104)), real(-104), x);
    x = select(less(real(89), x), real(89), x);
    // Adding 1.5 · 2^23 rounds to a whole number and leaves it in the low bits: no conversion that NaN could upset.
    Value magic = real(12582912.0);
    Value shifted = fma(x, real(1.44269504088896341), magic), n = sub(shifted, magic);
    Value r = fma(n, real(-0.693145751953125), x);
    r = fma(n, real(-1.42860682030941723212e-6), r);
    Value p = polynomial(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                             5.0000001201e-1});
    p = add(fma(mul(r, r), p, r), real(1));
    // In two steps, so that results below the normal range are rounded once.
    Value whole = subi(bits(shifted), bits(magic)), half = shiftRight(whole, 1);
    return mul(mul(p, powerOfTwo(half)), powerOfTwo(subi(whole, half)));
  }

  Value log(Value x) {
    // x = 2^n · m with sqrt(1/2) <= m < sqrt(2); log(m) from s = (m − 1) / (m + 1).
    Value tiny = less(x, real(1.17549435e-38));
    Value scaled = select(tiny, mul(x, real(33554432.0)), x);
    Value i = subi(bits(scaled), integer(0x3f3504f3));
    Value exponent = shiftRight(i, 23);
    Value mantissa = number(addi(andi(i, integer(0x007fffff)), integer(0x3f3504f3)));
    Value n = arith::SIToFPOp::create(b, loc, type, exponent);
    n = select(tiny, sub(n, real(25)), n);
    Value f = sub(mantissa, real(1)), s = div(f, add(f, real(2)));
    Value z = mul(s, s), w = mul(z, z);
    Value even = mul(w, fma(w, real(0.24279078841), real(0.40000972152)));
    Value odd = mul(z, fma(w, real(0.28498786688), real(0.66666662693)));
    Value half = mul(mul(f, f), real(0.5)), tail = add(odd, even);
    Value result = fma(s, add(half, tail), mul(n, real(9.0580006145e-6)));
    result = add(add(sub(result, half), f), mul(n, real(6.9313812256e-1)));
    result = select(compare(CmpFPredicate::OEQ, x, real(INFINITY)), x, result);
    result = select(compare(CmpFPredicate::OEQ, x, real(0)), real(-INFINITY), result);
    // Negative, or NaN.
    return select(compare(CmpFPredicate::OGE, x, real(0)), result, real(NAN));
  }

  Value tanh(Value x) {
    Value a = math::AbsFOp::create(b, loc, x), z = mul(x, x);
    Value p = polynomial(z, {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                             -3.33332819422e-1});
    Value small = fma(mul(p, z), x, x);
    Value large = sub(real(1), div(real(2), add(exp(add(a, a)), real(1))));
    // The sum of the small branch loses the sign of zero, the other one any sign.
    return math::CopySignOp::create(b, loc, select(less(a, real(0.625)), small, large), x);
  }

  Value erf(Value x) {
    Value a = math::AbsFOp::create(b, loc, x);
    Value t = select(less(real(4), a), real(4), a), s = mul(t, t);
    Value high = fma(real(-1.72853470e-5), t, real(3.83197126e-4));
    Value low = fma(real(-3.88396438e-3), t, real(2.42546219e-2));
    Value r = fma(high, s, low);
    for (double coefficient : {-1.06777877e-1, -6.34846687e-1, -1.28717512e-1})
      r = fma(r, t, real(coefficient));
    r = sub(real(1), exp(fma(r, t, negate(t))));
    Value large = math::CopySignOp::create(b, loc, r, x);
    Value p = polynomial(s, {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1,
                             1.28379166e-1});
    return select(less(a, real(0.927734375)), fma(p, x, x), large);
  }

  /// x to the power of a whole number from 1 to 4.
  Value power(Value x, int exponent) {
    Value square = exponent > 1 ? mul(x, x) : x;
    return exponent <= 2 ? square : exponent == 3 ? mul(square, x) : mul(square, square);
  }

private:
  OpBuilder b;
  Location loc;
  Type type, bitsType;
  bool fused;

  Value real(double value) {
    Attribute attribute = b.getFloatAttr(getElementTypeOrSelf(type), value);
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, attribute));
    return arith::ConstantOp::create(b, loc, cast<TypedAttr>(attribute));
  }
  Value integer(int32_t value) {
    Attribute attribute = b.getI32IntegerAttr(value);
    if (auto vector = dyn_cast<VectorType>(bitsType))
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, attribute));
    return arith::ConstantOp::create(b, loc, cast<TypedAttr>(attribute));
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value negate(Value x) { return arith::NegFOp::create(b, loc, x); }
  Value fma(Value x, Value y, Value z) {
    if (fused)
      return math::FmaOp::create(b, loc, x, y, z);
    return add(mul(x, y), z);
  }
  /// Coefficients from the highest power down.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value sum = real(coefficients.front());
    for (double coefficient : coefficients.drop_front())
      sum = fma(sum, x, real(coefficient));
    return sum;
  }
  Value compare(CmpFPredicate predicate, Value x, Value y) {
    return arith::CmpFOp::create(b, loc, predicate, x, y);
  }
  Value less(Value x, Value y) { return compare(CmpFPredicate::OLT, x, y); }
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, loc, condition, x, y); }
  Value bits(Value x) { return arith::BitcastOp::create(b, loc, bitsType, x); }
  Value number(Value x) { return arith::BitcastOp::create(b, loc, type, x); }
  Value addi(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value subi(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value andi(Value x, Value y) { return arith::AndIOp::create(b, loc, x, y); }
  Value shiftRight(Value x, int32_t count) { return arith::ShRSIOp::create(b, loc, x, integer(count)); }
  Value powerOfTwo(Value n) {
    return number(arith::ShLIOp::create(b, loc, addi(n, integer(127)), integer(23)));
  }
};

/// The whole number from 1 to 4 that an exponent is known to be; 0 if it isn't.
int smallExponent(Value exponent) {
  FloatAttr scalar;
  DenseElementsAttr elements;
  if (matchPattern(exponent, m_Constant(&elements)) && elements.isSplat())
    scalar = dyn_cast<FloatAttr>(elements.getSplatValue<Attribute>());
  else
    matchPattern(exponent, m_Constant(&scalar));
  if (!scalar)
    return 0;
  double value = scalar.getValueAsDouble();
  return value == 1 || value == 2 || value == 3 || value == 4 ? int(value) : 0;
}

} // namespace

void flame::cpu::expandMath(ModuleOp module, const Target &target) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<math::ExpOp, math::LogOp, math::TanhOp, math::ErfOp, math::PowFOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    Value x = op->getOperand(0), result;
    Expander expander(op, target.fma);
    if (auto power = dyn_cast<math::PowFOp>(op)) {
      if (int exponent = smallExponent(power.getRhs()))
        result = expander.power(x, exponent);
    } else if (getElementTypeOrSelf(x.getType()).isF32()) {
      result = isa<math::ExpOp>(op)    ? expander.exp(x)
               : isa<math::LogOp>(op)  ? expander.log(x)
               : isa<math::TanhOp>(op) ? expander.tanh(x)
                                       : expander.erf(x);
    }
    if (!result)
      continue;
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
}
