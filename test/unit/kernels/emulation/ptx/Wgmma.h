//===- Wgmma.h - runtime/kernels/ptx/Wgmma.h, emulated ------------------------------------------------------------===//
//
// Products happen when they are waited for, from what operands hold then; sums that are not added to are NaN until then,
// or a number that stands out. Floats of 8 bits are added up exactly here, where the hardware has few bits for it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"
#include "ptx/Tensor.h"
#include <type_traits>

namespace flame {

inline void fenceProducts() {}
inline void commitProducts() { emulator::commitWork(0); }
template <int pending> void waitProducts() { emulator::waitForWork(0, pending); }
template <typename Values> void pin(Values &) {}

inline unsigned long long matrixAt(SharedAddress tile, int farBytes) {
  return (unsigned long long)(farBytes / 16) << 16 | (tile - emulator::shared()) / 16;
}
/// Element `k` of the 32 bytes of the inner dim, in line `side`.
template <Arithmetic type, bool alongSide> auto matrixElement(unsigned long long matrix, int side, int k) {
  constexpr int bytes = sizeOf(type);
  static_assert(!alongSide || bytes == 2, "others have lines along the inner dim alone");
  const unsigned char *from = swizzled(
      emulator::shared() + (matrix & 0xffff) * 16 +
      (alongSide ? k * 128 + side / 64 * (matrix >> 16 & 0xffff) * 16 + side % 64 * 2 : side * 128 + k * bytes));
  if constexpr (type == Arithmetic::I8) {
    return int(*(const signed char *)from);
  } else if constexpr (type == Arithmetic::U8) {
    return int(*from);
  } else if constexpr (type == Arithmetic::TF32) {
    unsigned bits;
    std::memcpy(&bits, from, 4);
    return asFloat(bits & ~0x1fffu); // the hardware doesn't look at them
  } else if constexpr (bytes == 1) {
    return widen<type>(*from);
  } else {
    unsigned short bits;
    std::memcpy(&bits, from, 2);
    return widen<type>(bits);
  }
}

/// d[…] += Σ x(row, k) y(column, k) over the thread's sums.
template <int inner, int sums, typename Sum, typename X, typename Y> void addProducts(Sum (&d)[sums], bool add, X x, Y y) {
  const int lane = threadId() % 32;
  for (int i = 0; i < sums; ++i) {
    const int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    Sum sum = add ? d[i] : 0;
    for (int k = 0; k < inner; ++k)
      sum += x(row, k) * y(column, k);
    d[i] = sum;
  }
}
template <int sums, typename Sum> void poison(Sum (&d)[sums], bool add) {
  for (Sum &sum : d)
    sum = add ? sum : std::is_same_v<Sum, int> ? Sum(0x7eadbeef) : Sum(NAN);
}

template <Arithmetic type, bool xSide = false, bool ySide = false, typename Sum, int sums>
void multiplyGroup(Sum (&d)[sums], unsigned long long x, unsigned long long y, bool add) {
  poison(d, add);
  emulator::start(0, [&d, x, y, add] {
    const int first = threadId() % 128 / 32 * 16;
    addProducts<32 / sizeOf(type)>(
        d, add, [&](int row, int k) { return matrixElement<type, xSide>(x, first + row, k); },
        [&](int column, int k) { return matrixElement<type, ySide>(y, column, k); });
  });
}
/// For elements of 16 bits. Rows of x are shared by four lanes: word 0 has k 0 … 7 of the first eight rows, 1 of the others, 2 and 3 k 8 … 15.
template <Arithmetic type, bool ySide = false, int sums>
void multiplyGroup(float (&d)[sums], const unsigned (&x)[4], unsigned long long y, bool add) {
  poison(d, add);
  emulator::start(0, [&d, &x, y, add] {
    std::memcpy(emulator::slot(threadId() % 32), x, 16);
    syncWarp();
    addProducts<16>(
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
