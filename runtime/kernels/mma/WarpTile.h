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

  /// Adds step `step` of tiles x (whose rows from `row` on are this warp's) and y. `width`: bytes of a line. Where lines
  /// run along the side, `row` and `column` are multiples of the tile's rows and columns, and those powers of two, or 0.
  template <Major xMajor, Major yMajor, int xWidth, int yWidth>
  FLAME_DEVICE void accumulate(SharedAddress x, SharedAddress y, int row, int column, int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = xWidth / 16;
    unsigned a[rows / 16][4];
    const SharedAddress from = x + (xMajor == Major::Depth ? chunkOffset<chunks>(row + lane % 16, lane / 16)
                                                           : chunkOffset<chunks>(matrix / 2 * 8 + line, row / 8 + matrix % 2));
#pragma unroll
    for (int i = 0; i < rows / 16; ++i) {
      if constexpr (xMajor == Major::Depth)
        loadMatrices(a[i], further<chunks>(from, 16 * i, 2 * step));
      else
        loadMatricesTransposed(a[i], further<chunks>(from, 16 * step, 2 * i));
    }
    accumulate<yMajor, yWidth>(a, y, column, step);
  }

  /// The same with fragments of x in registers.
  template <Major yMajor, int yWidth>
  FLAME_DEVICE void accumulate(const unsigned (&a)[rows / 16][4], SharedAddress y, int column, int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = yWidth / 16;
    const SharedAddress from =
        y + (yMajor == Major::Depth ? chunkOffset<chunks>(column + matrix / 2 * 8 + line, matrix % 2)
                                    : chunkOffset<chunks>(matrix % 2 * 8 + line, column / 8 + matrix / 2));
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      unsigned b[4];
      if constexpr (yMajor == Major::Depth)
        loadMatrices(b, further<chunks>(from, 16 * j, 2 * step));
      else
        loadMatricesTransposed(b, further<chunks>(from, 16 * step, 2 * j));
      const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < rows / 16; ++i) {
        multiply<type>(sums[i][2 * j], a[i], left);
        multiply<type>(sums[i][2 * j + 1], a[i], right);
      }
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
