//===- WarpTile.h - a warp's part of a product in registers ------------------------------------------------------===//
//
// rows × columns of the result as fragments of 16 × 8. A step takes 32 bytes of the inner dim, whatever the type: two
// chunks of a tile whose lines run along the inner dim, or 16 lines of a tile of 16-bit elements that runs along the
// side.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "pipeline/Operand.h"
#include "ptx/Matrix.h"

namespace flame {

template <Arithmetic type, int tileRows, int tileColumns> struct WarpTile {
  static constexpr int rows = tileRows, columns = tileColumns;
  using Sum = typename TypeOf<type>::Sum;
  static_assert(rows % 16 == 0 && columns % 16 == 0, "fragments");
  Sum sums[rows / 16][columns / 8][4] = {};

  /// Adds step `step` of tiles x (whose rows from `row` on are this warp's) and y. `width`: bytes of a line.
  template <Major xMajor, Major yMajor, int xWidth, int yWidth>
  FLAME_DEVICE void accumulate(const unsigned char *x, const unsigned char *y, int row, int column, int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    unsigned a[rows / 16][4];
#pragma unroll
    for (int i = 0; i < rows / 16; ++i) {
      if constexpr (xMajor == Major::Depth)
        loadMatrices(a[i], x + chunkOffset<xWidth / 16>(row + 16 * i + lane % 16, 2 * step + lane / 16));
      else
        loadMatricesTransposed(
            a[i], x + chunkOffset<xWidth / 16>(16 * step + matrix / 2 * 8 + line, row / 8 + 2 * i + matrix % 2));
    }
    accumulate<yMajor, yWidth>(a, y, column, step);
  }

  /// The same with fragments of x in registers.
  template <Major yMajor, int yWidth>
  FLAME_DEVICE void accumulate(const unsigned (&a)[rows / 16][4], const unsigned char *y, int column, int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    unsigned b[columns / 16][4];
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      if constexpr (yMajor == Major::Depth)
        loadMatrices(b[j],
                     y + chunkOffset<yWidth / 16>(column + 16 * j + matrix / 2 * 8 + line, 2 * step + matrix % 2));
      else
        loadMatricesTransposed(
            b[j], y + chunkOffset<yWidth / 16>(16 * step + matrix % 2 * 8 + line, column / 8 + 2 * j + matrix / 2));
    }
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
      for (int j = 0; j < columns / 8; ++j) {
        const unsigned half[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        multiply<type>(sums[i][j], a[i], half);
      }
  }

  /// Writes the 16 rows of fragments `slab` to shared memory.
  FLAME_DEVICE void spill(int slab, Sum *shared, int pitch) const {
    const int lane = threadId() % 32;
    Sum *to = shared + lane / 4 * pitch + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
      if (i == slab) {
#pragma unroll
        for (int j = 0; j < columns / 8; ++j) {
          *(Pack<Sum, 2> *)(to + 8 * j) = {sums[i][j][0], sums[i][j][1]};
          *(Pack<Sum, 2> *)(to + 8 * pitch + 8 * j) = {sums[i][j][2], sums[i][j][3]};
        }
      }
  }
};

} // namespace flame
