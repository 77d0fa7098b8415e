//===- Bits.h - sums of any type as words ------------------------------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"

namespace flame {

FLAME_DEVICE unsigned bitsOf(float value) { return floatBits(value); }
FLAME_DEVICE unsigned bitsOf(unsigned value) { return value; }
FLAME_DEVICE unsigned bitsOf(int value) { return (unsigned)value; }

} // namespace flame
