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

template <Arithmetic type, int rows, int columns> struct WarpTile {
  using Sum = typename TypeOf<type>::Sum;
  static_assert(rows % 16 == 0 && columns % 16 == 0, "fragments");
  Sum sums[rows / 16][columns / 8][4] = {};

  /// What a step multiplies.
  struct Fragments {
    unsigned a[rows / 16][4], b[columns / 16][4];
  };

  /// Loads step `step` of tiles x (whose rows from `row` on are this warp's) and y. `width`: bytes of a line.
  template <Major xMajor, Major yMajor, int xWidth, int yWidth>
  FLAME_DEVICE static void load(Fragments &f, const unsigned char *x, const unsigned char *y, int row, int column,
                                int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
#pragma unroll
    for (int i = 0; i < rows / 16; ++i) {
      if constexpr (xMajor == Major::Depth)
        loadMatrices(f.a[i], x + chunkOffset<xWidth / 16>(row + 16 * i + lane % 16, 2 * step + lane / 16));
      else
        loadMatricesTransposed(
            f.a[i], x + chunkOffset<xWidth / 16>(16 * step + matrix / 2 * 8 + line, row / 8 + 2 * i + matrix % 2));
    }
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      if constexpr (yMajor == Major::Depth)
        loadMatrices(f.b[j],
                     y + chunkOffset<yWidth / 16>(column + 16 * j + matrix / 2 * 8 + line, 2 * step + matrix % 2));
      else
        loadMatricesTransposed(
            f.b[j], y + chunkOffset<yWidth / 16>(16 * step + matrix % 2 * 8 + line, column / 8 + 2 * j + matrix / 2));
    }
  }

  FLAME_DEVICE void multiplyAdd(const Fragments &f) {
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
      for (int j = 0; j < columns / 8; ++j) {
        const unsigned half[2] = {f.b[j / 2][j % 2 * 2], f.b[j / 2][j % 2 * 2 + 1]};
        multiply<type>(sums[i][j], f.a[i], half);
      }
  }

  /// Adds `steps` steps from `first` on; the fragments of the next one are on their way while one is multiplied, and
  /// `meanwhile` is done while the first ones are.
  template <Major xMajor, Major yMajor, int xWidth, int yWidth, int steps, typename Meanwhile>
  FLAME_DEVICE void accumulate(const unsigned char *x, const unsigned char *y, int row, int column, int first,
                               Meanwhile meanwhile) {
    Fragments f[2];
    load<xMajor, yMajor, xWidth, yWidth>(f[0], x, y, row, column, first);
    meanwhile();
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      if (step + 1 < steps)
        load<xMajor, yMajor, xWidth, yWidth>(f[(step + 1) % 2], x, y, row, column, first + step + 1);
      multiplyAdd(f[step % 2]);
    }
  }

  /// Writes `count` times 16 rows of fragments, from `first` on, to shared memory.
  template <int count> FLAME_DEVICE void spill(int first, Sum *shared, int pitch) const {
    const int lane = threadId() % 32;
    Sum *to = shared + lane / 4 * pitch + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
      if (i / count == first / count) {
#pragma unroll
        for (int j = 0; j < columns / 8; ++j) {
          Sum *at = to + i % count * 16 * pitch + 8 * j;
          *(Pack<Sum, 2> *)at = {sums[i][j][0], sums[i][j][1]};
          *(Pack<Sum, 2> *)(at + 8 * pitch) = {sums[i][j][2], sums[i][j][3]};
        }
      }
  }
};

} // namespace flame
