//===- Wgmma.h - runtime/kernels/ptx/Wgmma.h, emulated ------------------------------------------------------------===//
//
// Products happen when they are waited for, from what operands hold then; sums that are not added to are NaN until then. For
// elements of 16 bits.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"
#include "ptx/Tensor.h"

namespace flame {

inline void fenceProducts() {}
inline void commitProducts() { emulator::commitWork(0); }
template <int pending> void waitProducts() { emulator::waitForWork(0, pending); }
template <typename Values> void pin(Values &) {}

inline unsigned long long matrixAt(SharedAddress tile, int farBytes) {
  return (unsigned long long)(farBytes / 16) << 16 | (tile - emulator::shared()) / 16;
}
/// Element `k` of the 16 of the inner dim, in line `side`.
template <Arithmetic type, bool alongSide> float matrixElement(unsigned long long matrix, int side, int k) {
  unsigned char *from = emulator::shared() + (matrix & 0xffff) * 16 +
                        (alongSide ? k * 128 + side / 64 * (matrix >> 16 & 0xffff) * 16 + side % 64 * 2 : side * 128 + k * 2);
  unsigned short bits;
  std::memcpy(&bits, swizzled(from), 2);
  return widen<type>(bits);
}

/// d[…] += Σ x(row, k) y(column, k) over the thread's sums.
template <int sums, typename X, typename Y> void addProducts(float (&d)[sums], bool add, X x, Y y) {
  const int lane = threadId() % 32;
  for (int i = 0; i < sums; ++i) {
    const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    float sum = add ? d[i] : 0;
    for (int k = 0; k < 16; ++k)
      sum += x(row, k) * y(column, k);
    d[i] = sum;
  }
}
template <int sums> void poison(float (&d)[sums], bool add) {
  for (float &sum : d)
    sum = add ? sum : NAN;
}

template <Arithmetic type, bool xSide = false, bool ySide = false, int sums>
void multiplyGroup(float (&d)[sums], unsigned long long x, unsigned long long y, bool add) {
  poison(d, add);
  emulator::start(0, [&d, x, y, add] {
    const int first = threadId() % 128 / 32 * 16;
    addProducts(
        d, add, [&](int row, int k) { return matrixElement<type, xSide>(x, first + row, k); },
        [&](int column, int k) { return matrixElement<type, ySide>(y, column, k); });
  });
}
/// Rows of x are shared by four lanes: word 0 has k 0 … 7 of the first eight rows, 1 of the others, 2 and 3 k 8 … 15.
template <Arithmetic type, bool ySide = false, int sums>
void multiplyGroup(float (&d)[sums], const unsigned (&x)[4], unsigned long long y, bool add) {
  poison(d, add);
  emulator::start(0, [&d, &x, y, add] {
    std::memcpy(emulator::slot(threadId() % 32), x, 16);
    syncWarp();
    addProducts(
        d, add,
        [&](int row, int k) {
          const unsigned *words = emulator::slot(row % 8 * 4 + k % 8 / 2);
          return widen<type>((unsigned short)(words[row / 8 + k / 8 * 2] >> k % 2 * 16));
        },
        [&](int column, int k) { return matrixElement<type, ySide>(y, column, k); });
    syncWarp();
  });
}

} // namespace flame
