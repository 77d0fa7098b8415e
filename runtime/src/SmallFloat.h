//===- SmallFloat.h - f16, bf16 and the 8- and 4-bit floats on the host ---===//
//
// Exact conversion to float, correct rounding (to nearest even) from float. Used by host functions and by the readers
// and printers of tensors; kernels have their own.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_SMALLFLOAT_H
#define FLAME_RUNTIME_SMALLFLOAT_H

#include "DType.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace flame::rt {

inline float f16ToFloat(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 0x1f, mantissa = bits & 0x3ff;
  if (exponent == 0x1f)
    return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent)
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float value = std::ldexp(static_cast<float>(mantissa), -24);
  return sign ? -value : value;
}

inline uint16_t floatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) // 65520: rounds beyond the largest finite number
    return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) { // below 2^-14: a multiple of 2^-24
    const float scaled = std::nearbyint(std::bit_cast<float>(magnitude) * 16777216.0f);
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(scaled));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

inline float bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

inline uint16_t floatToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// The 8-bit (and 4-bit) floats; `bits` is the stored byte.
inline float smallFloatToFloat(DType dtype, uint8_t bits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  auto decode = [](uint8_t bits, int exponentBits, int mantissaBits, int bias) {
    const int exponent = bits >> mantissaBits & ((1 << exponentBits) - 1), mantissa = bits & ((1 << mantissaBits) - 1);
    const float value =
        exponent ? std::ldexp(static_cast<float>((1 << mantissaBits) + mantissa), exponent - bias - mantissaBits)
                 : std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissaBits);
    return bits >> (exponentBits + mantissaBits) & 1 ? -value : value;
  };
  switch (dtype) {
  case FLAME_F8E4M3FN:
    return (bits & 0x7f) == 0x7f ? nan : decode(bits, 4, 3, 7);
  case FLAME_F8E4M3FNUZ:
    return bits == 0x80 ? nan : decode(bits, 4, 3, 8);
  case FLAME_F8E5M2:
    if ((bits & 0x7c) == 0x7c)
      return bits & 3      ? nan
             : bits & 0x80 ? -std::numeric_limits<float>::infinity()
                           : std::numeric_limits<float>::infinity();
    return decode(bits, 5, 2, 15);
  case FLAME_F8E5M2FNUZ:
    return bits == 0x80 ? nan : decode(bits, 5, 2, 16);
  case FLAME_F8E8M0FNU:
    return bits == 0xff ? nan : std::ldexp(1.0f, bits - 127);
  case FLAME_F4E2M1FN:
    return decode(bits & 0xf, 2, 1, 1);
  default:
    return nan;
  }
}

/// The stored byte of the number nearest to `value`, ties to even. Beyond the largest finite number: that number where
/// `saturate` is set or the type has neither infinity nor NaN, otherwise the infinity or NaN. F8E8M0FNU ignores signs.
inline uint8_t floatToSmallFloat(DType dtype, float value, bool saturate) {
  struct Format {
    int mantissaBits, bias, maxPattern; // of the largest finite number
  };
  const Format format = dtype == FLAME_F8E4M3FN     ? Format{3, 7, 0x7E}
                        : dtype == FLAME_F8E4M3FNUZ ? Format{3, 8, 0x7F}
                        : dtype == FLAME_F8E5M2     ? Format{2, 15, 0x7B}
                        : dtype == FLAME_F8E5M2FNUZ ? Format{2, 16, 0x7F}
                        : dtype == FLAME_F8E8M0FNU  ? Format{0, 127, 0xFE}
                                                    : Format{1, 1, 0x7};
  const bool scale = dtype == FLAME_F8E8M0FNU, fourBits = dtype == FLAME_F4E2M1FN;
  const bool unsignedZero = dtype == FLAME_F8E4M3FNUZ || dtype == FLAME_F8E5M2FNUZ;
  const uint8_t sign = std::signbit(value) && !scale ? (fourBits ? 0x8 : 0x80) : 0;
  const uint8_t nan = scale ? 0xFF : unsignedZero ? 0x80 : fourBits ? format.maxPattern : sign | 0x7F;
  if (std::isnan(value))
    return nan;
  const float magnitude = std::fabs(value);
  int pattern;
  if (std::isinf(magnitude)) {
    pattern = format.maxPattern + 1;
  } else if (magnitude == 0) {
    pattern = 0;
  } else {
    // The pattern of a positive number grows with it by one unit in the last place, across exponents too.
    int exponent;
    std::frexp(magnitude, &exponent);
    exponent = std::max(exponent - 1, scale ? -127 : 1 - format.bias);
    const float units = std::nearbyint(std::ldexp(magnitude, format.mantissaBits - exponent));
    pattern = static_cast<int>(units) + ((exponent + format.bias - (scale ? 0 : 1)) << format.mantissaBits);
    if (scale)
      pattern -= 1;
  }
  if (pattern > format.maxPattern) {
    if (saturate || fourBits)
      pattern = format.maxPattern;
    else if (dtype == FLAME_F8E5M2)
      pattern = 0x7C;
    else
      return nan;
  }
  if (unsignedZero && pattern == 0)
    return 0;
  return static_cast<uint8_t>(sign | std::max(pattern, 0));
}

/// Any float type narrower than 32 bits to float.
inline float narrowToFloat(DType dtype, const void *element) {
  if (dtype == FLAME_F16)
    return f16ToFloat(*static_cast<const uint16_t *>(element));
  if (dtype == FLAME_BF16)
    return bf16ToFloat(*static_cast<const uint16_t *>(element));
  return smallFloatToFloat(dtype, *static_cast<const uint8_t *>(element));
}

constexpr bool isNarrowFloat(DType dtype) {
  switch (dtype) {
  case FLAME_F16:
  case FLAME_BF16:
  case FLAME_F8E4M3FN:
  case FLAME_F8E4M3FNUZ:
  case FLAME_F8E5M2:
  case FLAME_F8E5M2FNUZ:
  case FLAME_F4E2M1FN:
  case FLAME_F8E8M0FNU:
    return true;
  default:
    return false;
  }
}

} // namespace flame::rt

#endif
