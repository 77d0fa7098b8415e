//===- Convert.h - half precision by its bits --------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"

namespace flame {

FLAME_DEVICE float asFloat(unsigned bits) { return __uint_as_float(bits); }

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

} // namespace flame
