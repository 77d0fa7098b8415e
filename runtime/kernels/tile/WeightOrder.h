//===- WeightOrder.h - weights of attention from one product's sums to the next one's operand ----------------------===//
//
// A warp's sums of a product (ptx/Wgmma.h) become its rows of x in registers for the next product. For elements of 16 bits they lie
// alike: a thread has columns 2 t and 2 t + 1 of eight in both. An operand of 8 bits wants four neighbours in a register, 4 t to
// 4 t + 3 of 16; a thread has the columns 2 t, 2 t + 1, 2 t + 8 and 2 t + 9 of 16. As it does not matter in which order a product adds,
// nothing is exchanged: those four are taken for neighbours, and the values' keys lie in memory so that they are:
//
//   position   0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
//   key        0  1  8  9  2  3 10 11  4  5 12 13  6  7 14 15       of each 16
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"

namespace flame {

template <Arithmetic type, int keys> struct Weights {
  static constexpr bool isByte = sizeOf(type) == 1;
  static constexpr int perStep = 32 / sizeOf(type), steps = keys / perStep;

  /// From scores, which are weights already.
  FLAME_DEVICE static void round(unsigned (&weights)[steps][4], const float (&score)[keys / 2]) {
#pragma unroll
    for (int step = 0; step < steps; ++step)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if constexpr (isByte) {
          const float *from = score + 16 * step + e / 2 * 8 + e % 2 * 2;
          weights[step][e] = narrow<type>(from[0], from[1], from[4], from[5]);
        } else {
          weights[step][e] = narrow<type>(score[8 * step + 2 * e], score[8 * step + 2 * e + 1]);
        }
      }
  }

  /// How weights of 8 bits use their range: a row's largest score, as far as it is known, gives 2^shift, and other scores may be greater by
  /// up to `slack` in units of log 2. What is greater yet might become the largest finite number instead of what it is.
  static constexpr float shift = isByte ? 6 : 0, slack = type == Arithmetic::E4M3 ? 2 : 8;
  /// True if one of them is greater than 2^(shift + slack), or a NaN. Weights are positive: what is added to a byte carries into its sign from
  /// 2^(shift + slack) · 1.5 (E4M3) or · 2 (E5M2) on.
  FLAME_DEVICE static bool exceed(const unsigned (&weights)[steps][4]) {
    constexpr unsigned up = type == Arithmetic::E4M3 ? 0x04040404 : 0x08080808;
    unsigned any = 0;
#pragma unroll
    for (int step = 0; step < steps; ++step)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        any |= weights[step][e] + up;
    return (any & 0x80808080) != 0;
  }
};

} // namespace flame
