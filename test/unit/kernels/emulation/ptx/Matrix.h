//===- Matrix.h - runtime/kernels/ptx/Matrix.h, emulated ----------------------------------------------------------===//
//
// Fragments lie in registers as the PTX manual says (mma.m16n8k16, .m16n8k8 with tf32, .m16n8k32 with 8-bit integers).
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"
#include "ptx/Copy.h"

namespace flame {

inline void loadMatrices(unsigned (&m)[4], SharedAddress line, bool transposed) {
  const int lane = threadId() % 32;
  std::memcpy(emulator::slot(lane), &line, sizeof line);
  syncWarp();
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4, column = lane % 4 * 2 + half;
      const unsigned char *from;
      std::memcpy(&from, emulator::slot(matrix * 8 + (transposed ? column : row)), sizeof from);
      std::memcpy((char *)&m[matrix] + 2 * half, from + 2 * (transposed ? row : column), 2);
    }
  syncWarp();
}
inline void loadMatrices(unsigned (&m)[4], SharedAddress line) { loadMatrices(m, line, false); }
inline void loadMatricesTransposed(unsigned (&m)[4], SharedAddress line) { loadMatrices(m, line, true); }

template <Arithmetic type, typename Sum> void multiply(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  constexpr int bytes = sizeOf(type), perWord = 4 / bytes, inner = 32 / bytes;
  const int lane = threadId() % 32;
  std::memcpy(emulator::slot(lane), a, 16);
  std::memcpy(emulator::slot(lane) + 4, b, 8);
  syncWarp();
  // Element k of row (column) `line`: word and lane by thirds of the inner dim of 16 bytes each.
  auto element = [&](int first, int line, int k) -> Sum {
    const int word = first + (first == 0 ? line / 8 + k / (inner / 2) * 2 : k / (inner / 2));
    const unsigned *from = emulator::slot(line % 8 * 4 + k % (inner / 2) / perWord) + word;
    const char *at = (const char *)from + k % perWord * bytes;
    if constexpr (type == Arithmetic::I8)
      return *(const signed char *)at;
    else if constexpr (type == Arithmetic::U8)
      return *(const unsigned char *)at;
    else if constexpr (type == Arithmetic::TF32)
      return *(const float *)at;
    else
      return widen<type>(*(const unsigned short *)at);
  };
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < inner; ++k)
      d[i] += element(0, lane / 4 + i / 2 * 8, k) * element(4, lane % 4 * 2 + i % 2, k);
  syncWarp();
}

} // namespace flame
