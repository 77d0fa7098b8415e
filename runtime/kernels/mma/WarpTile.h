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

  /// What a step multiplies.
  struct Fragments {
    unsigned a[rows / 16][4], b[columns / 16][4];
  };

  /// Loads the fragments of x for step `step`; this warp's rows begin at `row`. `width`: bytes of a line. Where lines
  /// run along the side, `row` (and `column` below) are multiples of the tile's rows (columns), and those powers of
  /// two, or 0.
  template <Major major, int width>
  FLAME_DEVICE static void loadRows(unsigned (&a)[rows / 16][4], SharedAddress x, int row, int step) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = width / 16;
    const SharedAddress from =
        x + (major == Major::Depth ? chunkOffset<chunks>(row + lane % 16, lane / 16)
                                   : chunkOffset<chunks>(matrix / 2 * 8 + line, row / 8 + matrix % 2));
#pragma unroll
    for (int i = 0; i < rows / 16; ++i) {
      if constexpr (major == Major::Depth)
        loadMatrices(a[i], further<chunks>(from, 16 * i, 2 * step));
      else
        loadMatricesTransposed(a[i], further<chunks>(from, 16 * step, 2 * i));
    }
  }

  /// Loads columns 16 j to 16 j + 15 of y for step `step`.
  template <Major major, int width>
  FLAME_DEVICE static void loadColumns(unsigned (&b)[4], SharedAddress y, int column, int step, int j) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = width / 16;
    const SharedAddress from =
        y + (major == Major::Depth ? chunkOffset<chunks>(column + matrix / 2 * 8 + line, matrix % 2)
                                   : chunkOffset<chunks>(matrix % 2 * 8 + line, column / 8 + matrix / 2));
    if constexpr (major == Major::Depth)
      loadMatrices(b, further<chunks>(from, 16 * j, 2 * step));
    else
      loadMatricesTransposed(b, further<chunks>(from, 16 * step, 2 * j));
  }

  /// Loads step `step` of tiles x and y.
  template <Major xMajor, Major yMajor, int xWidth, int yWidth>
  FLAME_DEVICE static void load(Fragments &f, SharedAddress x, SharedAddress y, int row, int column, int step) {
    loadRows<xMajor, xWidth>(f.a, x, row, step);
#pragma unroll
    for (int j = 0; j < columns / 16; ++j)
      loadColumns<yMajor, yWidth>(f.b[j], y, column, step, j);
  }

  /// Adds a step whose fragments of x are in registers; those of y are loaded as they are used, which takes the fewest.
  template <Major major, int width>
  FLAME_DEVICE void accumulate(const unsigned (&a)[rows / 16][4], SharedAddress y, int column, int step) {
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      unsigned b[4];
      loadColumns<major, width>(b, y, column, step, j);
      const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < rows / 16; ++i) {
        multiply<type>(sums[i][2 * j], a[i], left);
        multiply<type>(sums[i][2 * j + 1], a[i], right);
      }
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
  FLAME_DEVICE void accumulate(SharedAddress x, SharedAddress y, int row, int column, int first,
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
