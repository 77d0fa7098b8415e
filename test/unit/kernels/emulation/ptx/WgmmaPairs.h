//===- WgmmaPairs.h - runtime/kernels/ptx/WgmmaPairs.h, emulated --------------------------------------------------===//
#pragma once
#include "ptx/Wgmma.h"

namespace flame {

template <Arithmetic type, bool xSide = false, bool ySide = false, int sums>
void multiplyGroup(float (&d)[sums], unsigned long long x, unsigned long long y, unsigned long long x2, unsigned long long y2, bool add) {
  multiplyGroup<type, xSide, ySide>(d, x, y, add);
  multiplyGroup<type, xSide, ySide>(d, x2, y2, true);
}
template <Arithmetic type, bool ySide = false, int sums>
void multiplyGroup(float (&d)[sums], const unsigned (&x)[4], unsigned long long y, const unsigned (&x2)[4], unsigned long long y2, bool add) {
  multiplyGroup<type, ySide>(d, x, y, add);
  multiplyGroup<type, ySide>(d, x2, y2, true);
}

} // namespace flame
