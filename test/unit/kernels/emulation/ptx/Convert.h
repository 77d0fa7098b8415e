//===- Convert.h - runtime/kernels/ptx/Convert.h, emulated
//------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"

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

} // namespace flame
