//===- NumberFormats.cpp - conversions between element types, storage and compute types -------------------------------===//
//
// Narrow floats (bf16, float8, float4, e8m0) are converted by integer arithmetic on the bits of f32, so that every target
// gives the same bits and vectors work as scalars do. f16 is left to the target's own conversion.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/ScalarBuilder.h"
#include "flame/IR/Flame.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

namespace {
/// A float of at most 8 bits with subnormals: code = sign | exponent | mantissa.
struct SmallFloat {
  int exponentBits, mantissaBits, bias;
  int maxCode;    // magnitude of the largest finite number
  int overflow;   // magnitude beyond that without saturation; −1: the NaN code whatever the sign
  int nanCode;    // magnitude of NaN; with `unsignedZero` the full code of the only one; −1: no NaN
  bool hasInf;    // codes between maxCode and nanCode − 1 hold infinity
  bool unsignedZero; // FNUZ: no −0, its code is NaN
};
} // namespace

static std::optional<SmallFloat> smallFloat(Type type) {
  if (isa<Float8E4M3FNType>(type))
    return SmallFloat{4, 3, 7, 0x7E, 0x7F, 0x7F, false, false};
  if (isa<Float8E5M2Type>(type))
    return SmallFloat{5, 2, 15, 0x7B, 0x7C, 0x7F, true, false};
  if (isa<Float8E4M3FNUZType>(type))
    return SmallFloat{4, 3, 8, 0x7F, -1, 0x80, false, true};
  if (isa<Float8E5M2FNUZType>(type))
    return SmallFloat{5, 2, 16, 0x7F, -1, 0x80, false, true};
  if (isa<Float4E2M1FNType>(type))
    return SmallFloat{2, 1, 1, 0x7, 0x7, -1, false, false};
  return std::nullopt;
}

namespace {
/// Bit arithmetic on 32-bit words, scalar or vector.
struct Bits {
  ScalarBuilder &s;
  Value like; // an f32 or i32 value that gives the vector shape

  Type word() const { return ScalarBuilder::shapedLike(s.b.getI32Type(), like); }
  Type real() const { return ScalarBuilder::shapedLike(s.b.getF32Type(), like); }
  Value of(uint32_t value) {
    Type type = word();
    auto attribute = s.b.getI32IntegerAttr(int32_t(value));
    if (auto vector = dyn_cast<VectorType>(type))
      return s.make<arith::ConstantOp>(DenseElementsAttr::get(vector, Attribute(attribute)));
    return s.make<arith::ConstantOp>(attribute);
  }
  Value fromFloat(Value x) { return s.make<arith::BitcastOp>(word(), x); }
  Value toFloat(Value x) { return s.make<arith::BitcastOp>(real(), x); }
  Value add(Value x, Value y) { return s.make<arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) { return s.make<arith::SubIOp>(x, y); }
  Value bitAnd(Value x, uint32_t mask) { return s.make<arith::AndIOp>(x, of(mask)); }
  Value bitOr(Value x, Value y) { return s.make<arith::OrIOp>(x, y); }
  Value shl(Value x, unsigned by) { return s.make<arith::ShLIOp>(x, of(by)); }
  Value shr(Value x, unsigned by) { return s.make<arith::ShRUIOp>(x, of(by)); }
  Value cmp(CmpIPredicate predicate, Value x, uint32_t y) { return s.make<arith::CmpIOp>(predicate, x, of(y)); }
  Value select(Value condition, Value x, Value y) { return s.make<arith::SelectOp>(condition, x, y); }
};
} // namespace

/// f64 → f32 rounded to odd, so that a second rounding to a narrower type is correct; f32 is passed through.
static Value narrowToOdd(ScalarBuilder &s, Value x) {
  if (!getElementTypeOrSelf(x.getType()).isF64())
    return x;
  Type f32 = ScalarBuilder::shapedLike(s.b.getF32Type(), x);
  Value nearest = s.make<arith::TruncFOp>(f32, x);
  Value back = s.make<arith::ExtFOp>(x.getType(), nearest);
  Bits bits{s, nearest};
  Value word = bits.fromFloat(nearest);
  // Toward zero where the rounding went away from it, then the sticky bit. Infinity from overflow steps back to the
  // largest finite number, which every narrower format overflows from as well; NaN compares false and stays.
  Value tooFar = s.gt(s.make<math::AbsFOp>(back), s.make<math::AbsFOp>(x));
  Value toZero = bits.select(tooFar, bits.sub(word, bits.of(1)), word);
  Value inexact = s.make<arith::CmpFOp>(CmpFPredicate::ONE, back, x);
  return bits.toFloat(bits.select(inexact, bits.bitOr(toZero, bits.of(1)), word));
}

/// f32 → code of a small float in an i32; to nearest even.
static Value encodeSmall(ScalarBuilder &s, Value x, const SmallFloat &f, bool saturate) {
  Bits bits{s, x};
  const int shift = 23 - f.mantissaBits, width = f.exponentBits + f.mantissaBits;
  Value word = bits.fromFloat(x);
  Value sign = bits.shl(bits.shr(word, 31), width);
  Value magnitude = bits.bitAnd(word, 0x7FFFFFFF);
  // Normal: round the mantissa at its new end, a carry runs into the exponent; then move to the new bias.
  Value odd = bits.bitAnd(bits.shr(magnitude, shift), 1);
  Value rounded = bits.add(bits.add(magnitude, bits.of((1u << (shift - 1)) - 1)), odd);
  Value normal = bits.sub(bits.shr(rounded, shift), bits.of(uint32_t(127 - f.bias) << f.mantissaBits));
  // Subnormal: adding a number whose ulp is the subnormal step lets the adder round.
  const uint32_t anchor = uint32_t(127 + 23 + 1 - f.bias - f.mantissaBits) << 23;
  Value sum = s.make<arith::AddFOp>(bits.toFloat(magnitude), bits.toFloat(bits.of(anchor)));
  Value subnormal = bits.sub(bits.fromFloat(sum), bits.of(anchor));
  Value isSmall = bits.cmp(CmpIPredicate::ult, magnitude, uint32_t(127 + 1 - f.bias) << 23);
  Value code = bits.select(isSmall, subnormal, normal);
  // `normal` of a huge magnitude still compares right as unsigned: it only grows with the magnitude.
  Value isOver = bits.cmp(CmpIPredicate::ugt, code, f.maxCode);
  Value isNaN = bits.cmp(CmpIPredicate::ugt, magnitude, 0x7F800000);
  if (f.unsignedZero) {
    code = bits.select(isOver, bits.of(f.maxCode), code);
    Value signedCode = bits.select(bits.cmp(CmpIPredicate::eq, code, 0), code, bits.bitOr(code, sign));
    Value isBad = saturate ? isNaN : s.logicalOr(isNaN, isOver);
    return bits.select(isBad, bits.of(f.nanCode), signedCode);
  }
  code = bits.select(isOver, bits.of(saturate ? f.maxCode : f.overflow), code);
  code = bits.select(isNaN, bits.of(f.nanCode >= 0 ? f.nanCode : 0), code);
  return bits.bitOr(code, sign);
}

/// Code of a small float in an i32 → f32, exact.
static Value decodeSmall(ScalarBuilder &s, Value code, const SmallFloat &f) {
  Bits bits{s, code};
  const int width = f.exponentBits + f.mantissaBits;
  Value magnitude = bits.bitAnd(code, (1u << width) - 1);
  Value sign = bits.shl(bits.bitAnd(bits.shr(code, width), 1), 31);
  // Read with f32's bias, then scaled by a power of two: that is exact and covers subnormals.
  Value tiny = bits.toFloat(bits.shl(magnitude, 23 - f.mantissaBits));
  Value scale = bits.toFloat(bits.of(uint32_t(127 + 127 - f.bias) << 23));
  Value word = bits.fromFloat(s.make<arith::MulFOp>(tiny, scale));
  const uint32_t nan = 0x7FC00000, inf = 0x7F800000;
  if (f.hasInf)
    word = bits.select(bits.cmp(CmpIPredicate::eq, magnitude, f.maxCode + 1), bits.of(inf), word);
  if (f.unsignedZero)
    word = bits.select(bits.cmp(CmpIPredicate::eq, bits.bitAnd(code, 0xFF), f.nanCode), bits.of(nan), word);
  else if (f.hasInf)
    word = bits.select(bits.cmp(CmpIPredicate::ugt, magnitude, f.maxCode + 1), bits.of(nan), word);
  else if (f.nanCode >= 0)
    word = bits.select(bits.cmp(CmpIPredicate::eq, magnitude, f.nanCode), bits.of(nan), word);
  return bits.toFloat(bits.bitOr(word, sign));
}

/// f32 → e8m0: a bare exponent. "up" and "down" go to the next power of two, "nearest" ties go up. Zero and what lies below
/// the range is 2^-127 when saturating, else NaN; the sign is dropped (ONNX leaves it open).
static Value encodeE8M0(ScalarBuilder &s, Value x, bool saturate, StringRef mode) {
  Bits bits{s, x};
  Value magnitude = bits.bitAnd(bits.fromFloat(x), 0x7FFFFFFF);
  Value exponent = bits.shr(magnitude, 23), fraction = bits.bitAnd(magnitude, 0x7FFFFF);
  Value up;
  if (mode == "down")
    up = bits.cmp(CmpIPredicate::eq, bits.of(0), 1);
  else if (mode == "nearest")
    // Ties go up; below the lowest normal number the halfway point between 2^-127 and 2^-126 is 0.75 * 2^-126.
    up = bits.select(bits.cmp(CmpIPredicate::eq, exponent, 0), bits.cmp(CmpIPredicate::uge, fraction, 0x600000),
                     bits.cmp(CmpIPredicate::uge, fraction, 0x400000));
  else
    // 2^-127 itself is an f32 subnormal with fraction 0x400000.
    up = bits.select(bits.cmp(CmpIPredicate::eq, exponent, 0), bits.cmp(CmpIPredicate::ugt, fraction, 0x400000),
                     bits.cmp(CmpIPredicate::ne, fraction, 0));
  Value code = bits.select(up, bits.add(exponent, bits.of(1)), exponent);
  Value isNaN = bits.cmp(CmpIPredicate::ugt, magnitude, 0x7F800000);
  if (saturate)
    code = bits.select(bits.cmp(CmpIPredicate::ugt, code, 254), bits.of(254), code);
  else
    isNaN = s.logicalOr(isNaN, bits.cmp(CmpIPredicate::ult, magnitude, 0x400000));
  return bits.select(isNaN, bits.of(255), code);
}

static Value decodeE8M0(ScalarBuilder &s, Value code) {
  Bits bits{s, code};
  Value word = bits.shl(code, 23);
  word = bits.select(bits.cmp(CmpIPredicate::eq, code, 0), bits.of(0x400000), word);
  word = bits.select(bits.cmp(CmpIPredicate::eq, code, 255), bits.of(0x7FC00000), word);
  return bits.toFloat(word);
}

/// True in kernels of a target that has instructions for f32 → narrow floats; its function says so.
static bool hasConversions(OpBuilder &b) {
  for (Operation *op = b.getInsertionBlock()->getParentOp(); op; op = op->getParentOp())
    if (op->hasAttr("flame.narrow_conversions"))
      return true;
  return false;
}

/// f32 → upper half of its bits in an i32, to nearest even; NaN stays NaN.
static Value encodeBF16(ScalarBuilder &s, Value x) {
  Bits bits{s, x};
  Value word = bits.fromFloat(x);
  Value odd = bits.bitAnd(bits.shr(word, 16), 1);
  Value rounded = bits.shr(bits.add(bits.add(word, bits.of(0x7FFF)), odd), 16);
  Value isNaN = bits.cmp(CmpIPredicate::ugt, bits.bitAnd(word, 0x7FFFFFFF), 0x7F800000);
  return bits.select(isNaN, bits.bitOr(bits.shr(word, 16), bits.of(0x40)), rounded);
}

/// f32 or f64 → the code of a narrow float in its storage type.
static Value encode(ScalarBuilder &s, Value x, Type to, bool saturate, StringRef mode) {
  Value narrow = narrowToOdd(s, x), word;
  bool isPlainFp8 = isa<Float8E4M3FNType, Float8E5M2Type>(to) && saturate;
  if ((to.isBF16() || isPlainFp8) && hasConversions(s.b))
    return s.make<arith::BitcastOp>(ScalarBuilder::shapedLike(storageType(to), x),
                                    s.make<arith::TruncFOp>(ScalarBuilder::shapedLike(to, x), narrow).getResult());
  if (to.isBF16())
    word = encodeBF16(s, narrow);
  else if (isa<Float8E8M0FNUType>(to))
    word = encodeE8M0(s, narrow, saturate, mode);
  else
    word = encodeSmall(s, narrow, *smallFloat(to), saturate);
  return s.make<arith::TruncIOp>(ScalarBuilder::shapedLike(storageType(to), x), word);
}

Value ScalarBuilder::fromStorage(Value stored, Type type) {
  if (type.isF16())
    return make<arith::ExtFOp>(shapedLike(b.getF32Type(), stored), stored);
  if (isa<BFloat16Type, Float8E4M3FNType, Float8E5M2Type>(type) && hasConversions(b)) {
    // As a number of its own type, so that a conversion back is seen to be none.
    Value number = make<arith::BitcastOp>(shapedLike(type, stored), stored);
    return make<arith::ExtFOp>(shapedLike(b.getF32Type(), stored), number);
  }
  if (isa<FloatType>(type) && !type.isF32() && !type.isF64()) {
    Value word = make<arith::ExtUIOp>(shapedLike(b.getI32Type(), stored), stored);
    if (type.isBF16())
      return make<arith::BitcastOp>(shapedLike(b.getF32Type(), stored), Bits{*this, word}.shl(word, 16));
    if (isa<Float8E8M0FNUType>(type))
      return decodeE8M0(*this, word);
    return decodeSmall(*this, word, *smallFloat(type));
  }
  if (type.isInteger(1))
    return make<arith::CmpIOp>(CmpIPredicate::ne, stored, constantInt(stored, 0));
  return stored;
}

/// Wraps an 8-bit scalar to a 4- or 2-bit element type; others are left alone.
static Value wrapNarrow(ScalarBuilder &s, Value x, Type type) {
  if (!isa<IntegerType>(type) || type.isInteger(1) || type.getIntOrFloatBitWidth() >= 8)
    return x;
  unsigned width = type.getIntOrFloatBitWidth();
  if (type.isUnsignedInteger())
    return s.make<arith::AndIOp>(x, s.constantInt(x, (1 << width) - 1));
  Value by = s.constantInt(x, 8 - width);
  return s.make<arith::ShRSIOp>(s.make<arith::ShLIOp>(x, by), by);
}

Value ScalarBuilder::toStorage(Value computed, Type type, bool saturate) {
  // Of this type before it was widened.
  if (auto wide = computed.getDefiningOp<arith::ExtFOp>(); wide && getElementTypeOrSelf(wide.getIn().getType()) == type)
    return type.isF16() ? wide.getIn() : make<arith::BitcastOp>(shapedLike(storageType(type), computed), wide.getIn());
  if (type.isF16())
    return make<arith::TruncFOp>(shapedLike(type, computed), computed);
  if (isa<FloatType>(type) && !type.isF32() && !type.isF64())
    return encode(*this, computed, type, saturate, "up");
  if (type.isInteger(1))
    return make<arith::ExtUIOp>(shapedLike(b.getIntegerType(8), computed), computed);
  return wrapNarrow(*this, computed, type);
}

Value ScalarBuilder::round(Value x, Type type, bool saturate) {
  if (isa<FloatType>(type)) {
    if (type.isF32() || type.isF64())
      return x;
    return fromStorage(toStorage(x, type, saturate), type);
  }
  return wrapNarrow(*this, x, type);
}

/// Float → integer of at least 8 bits, toward zero; NaN gives 0 and what is out of range the nearest end.
static Value floatToInt(ScalarBuilder &s, Value x, Type to) {
  unsigned width = to.getIntOrFloatBitWidth();
  bool isUnsigned = to.isUnsignedInteger();
  Type type = ScalarBuilder::shapedLike(computeType(to), x);
  // 2^(width − 1) and 2^width are exact in any float type; the largest integer below may not be.
  double high = std::ldexp(1.0, isUnsigned ? width : width - 1), low = isUnsigned ? 0.0 : -high;
  Value tooHigh = s.make<arith::CmpFOp>(CmpFPredicate::OGE, x, s.constant(x, high));
  Value tooLow = s.make<arith::CmpFOp>(CmpFPredicate::OLE, x, s.constant(x, isUnsigned ? -1.0 : low));
  Value isNaN = s.isNaN(x);
  Value zero = s.constant(x, 0);
  Value safe = s.select(s.logicalOr(s.logicalOr(tooHigh, tooLow), isNaN), zero, x);
  Value number = isUnsigned ? Value(s.make<arith::FPToUIOp>(type, safe)) : s.make<arith::FPToSIOp>(type, safe);
  APInt lowest = isUnsigned ? APInt::getZero(width) : APInt::getSignedMinValue(width);
  APInt highest = isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  number = s.select(tooHigh, s.constantInt(number, highest.getSExtValue()), number);
  return s.select(tooLow, s.constantInt(number, lowest.getSExtValue()), number);
}

Value ScalarBuilder::cast(Value x, Type from, Type to, bool saturate, StringRef roundMode) {
  if (from == to)
    return x;
  Type fromScalar = getElementTypeOrSelf(x.getType()), toScalar = computeType(to);
  Type type = shapedLike(toScalar, x);
  if (to.isInteger(1)) {
    if (isa<FloatType>(fromScalar))
      return make<arith::CmpFOp>(CmpFPredicate::UNE, x, constant(x, 0));
    return make<arith::CmpIOp>(CmpIPredicate::ne, x, constantInt(x, 0));
  }
  bool fromUnsigned = from.isUnsignedInteger() || from.isInteger(1);
  if (isa<FloatType>(fromScalar)) {
    if (to.isF64())
      return fromScalar.isF64() ? x : Value(make<arith::ExtFOp>(type, x));
    if (to.isF32())
      return fromScalar.isF64() ? Value(make<arith::TruncFOp>(type, x)) : x;
    if (to.isF16())
      return make<arith::ExtFOp>(type, Value(make<arith::TruncFOp>(shapedLike(to, x), x)));
    if (isa<FloatType>(to))
      return fromStorage(encode(*this, x, to, saturate, roundMode), to);
    if (to.getIntOrFloatBitWidth() >= 8)
      return floatToInt(*this, x, to);
    // 4 and 2 bits: the low bits of the integer part.
    Value wide = floatToInt(*this, x, b.getI32Type());
    return wrapNarrow(*this, make<arith::TruncIOp>(type, wide), to);
  }
  if (isa<FloatType>(to)) {
    Value real = fromUnsigned ? Value(make<arith::UIToFPOp>(type, x)) : make<arith::SIToFPOp>(type, x);
    if (to.isF32() || to.isF64())
      return real;
    return cast(real, b.getF32Type(), to, saturate, roundMode);
  }
  unsigned fromWidth = fromScalar.getIntOrFloatBitWidth(), toWidth = toScalar.getIntOrFloatBitWidth();
  Value number = x;
  if (fromWidth < toWidth)
    number = fromUnsigned ? Value(make<arith::ExtUIOp>(type, x)) : make<arith::ExtSIOp>(type, x);
  else if (fromWidth > toWidth)
    number = make<arith::TruncIOp>(type, x);
  return wrapNarrow(*this, number, to);
}
