//===- Convert.h - runtime/kernels/ptx/Convert.h, emulated --------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"
#include <cmath>

namespace flame {

template <Arithmetic type> float widen(unsigned short bits) {
  if constexpr (type == Arithmetic::BF16) {
    unsigned wide = (unsigned)bits << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
  } else {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return value;
  }
}
template <Arithmetic type> float widen(float value) { return value; }

/// A float of 8 bits. E4M3 is a half of other places: a bias of 7 in place of 15, and no infinity.
template <Arithmetic type> float widen(unsigned char bits) {
  if constexpr (type == Arithmetic::E5M2)
    return widen<Arithmetic::F16>((unsigned short)(bits << 8));
  else
    return (bits & 0x7f) == 0x7f
               ? NAN
               : 256 * widen<Arithmetic::F16>((unsigned short)((bits & 0x80) << 8 | (bits & 0x7f) << 7));
}

inline float asFloat(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline unsigned floatBits(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

template <Arithmetic type> unsigned short narrow(float value) {
  if constexpr (type == Arithmetic::BF16) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return value != value ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  } else {
    const _Float16 half = value;
    unsigned short bits;
    std::memcpy(&bits, &half, 2);
    return bits;
  }
}
template <Arithmetic type> unsigned narrow(float low, float high) {
  return narrow<type>(low) | (unsigned)narrow<type>(high) << 16;
}

/// The nearest of all finite numbers of 8 bits; of two the one with an even code.
template <Arithmetic type> unsigned char narrowByte(float value) {
  if (value != value)
    return 0x7f;
  constexpr int codes = type == Arithmetic::E4M3 ? 0x7f : 0x7c;
  const float size = std::fabs(value);
  int most = 0; // the greatest that is not above it
  for (int bit = 64; bit; bit /= 2)
    if (most + bit < codes && widen<type>((unsigned char)(most + bit)) <= size)
      most += bit;
  if (most + 1 < codes) {
    const float below = size - widen<type>((unsigned char)most), above = widen<type>((unsigned char)(most + 1)) - size;
    most += above < below || (above == below && most % 2 == 1);
  }
  return (unsigned char)(most | (std::signbit(value) ? 0x80 : 0));
}

inline float exp2Fast(float x) { return exp2f(x); }
inline float log2Fast(float x) { return log2f(x); }

} // namespace flame
