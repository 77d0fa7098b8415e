//===- Convert.h - half precision by its bits --------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"

namespace flame {

FLAME_DEVICE float asFloat(unsigned bits) { return __uint_as_float(bits); }
FLAME_DEVICE unsigned floatBits(float value) { return __float_as_uint(value); }

/// A stored 16-bit float as f32.
template <Arithmetic type> FLAME_DEVICE float widen(unsigned short bits) {
  if constexpr (type == Arithmetic::BF16) {
    return asFloat((unsigned)bits << 16);
  } else {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
    return wide;
  }
}
template <Arithmetic type> FLAME_DEVICE float widen(float value) { return value; }

/// Two numbers rounded to 16 bits, the first in the low half.
template <Arithmetic type> FLAME_DEVICE unsigned narrow(float low, float high) {
  unsigned bits;
  if constexpr (type == Arithmetic::BF16)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/// 2 to the power of x, to some 22 bits; results below the normal numbers are 0.
FLAME_DEVICE float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// The logarithm to base 2, to some 22 bits; of 0 it is minus infinity.
FLAME_DEVICE float log2Fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

} // namespace flame
