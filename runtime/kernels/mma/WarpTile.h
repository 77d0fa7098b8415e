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

  /// Where a lane's part of the first step of x begins in a tile; this warp's rows begin at `row`. `width`: bytes of a line.
  /// Where lines run along the side, `row` (and `column` below) are multiples of the tile's rows (columns), and those
  /// powers of two, or 0.
  template <Major major, int width> FLAME_DEVICE static int laneOfRows(int row) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = width / 16;
    return major == Major::Depth ? chunkOffset<chunks>(row + lane % 16, lane / 16)
                                 : chunkOffset<chunks>(matrix / 2 * 8 + line, row / 8 + matrix % 2);
  }
  template <Major major, int width> FLAME_DEVICE static int laneOfColumns(int column) {
    const int lane = threadId() % 32, line = lane % 8, matrix = lane / 8;
    constexpr int chunks = width / 16;
    return major == Major::Depth ? chunkOffset<chunks>(column + matrix / 2 * 8 + line, matrix % 2)
                                 : chunkOffset<chunks>(matrix % 2 * 8 + line, column / 8 + matrix / 2);
  }
  /// `steps` steps further, which is at most once more than 0 on the way to an address, unless no two have a bit in common.
  template <Major major, int width> FLAME_DEVICE static SharedAddress further(SharedAddress from, int steps) {
    constexpr int chunks = width / 16;
    return major == Major::Depth ? flame::further<chunks>(from, 0, 2 * steps) : flame::further<chunks>(from, 16 * steps, 0);
  }

  /// Loads the fragments of x for step `step`, from the lane's part of the first one.
  template <Major major, int width>
  FLAME_DEVICE static void loadRows(unsigned (&a)[rows / 16][4], SharedAddress from, int step) {
    constexpr int chunks = width / 16;
#pragma unroll
    for (int i = 0; i < rows / 16; ++i) {
      if constexpr (major == Major::Depth)
        loadMatrices(a[i], flame::further<chunks>(from, 16 * i, 2 * step));
      else
        loadMatricesTransposed(a[i], flame::further<chunks>(from, 16 * step, 2 * i));
    }
  }
  template <Major major, int width>
  FLAME_DEVICE static void loadRows(unsigned (&a)[rows / 16][4], SharedAddress x, int row, int step) {
    loadRows<major, width>(a, x + laneOfRows<major, width>(row), step);
  }

  /// Loads columns 16 j to 16 j + 15 of y for step `step`.
  template <Major major, int width>
  FLAME_DEVICE static void loadColumns(unsigned (&b)[4], SharedAddress from, int step, int j) {
    constexpr int chunks = width / 16;
    if constexpr (major == Major::Depth)
      loadMatrices(b, flame::further<chunks>(from, 16 * j, 2 * step));
    else
      loadMatricesTransposed(b, flame::further<chunks>(from, 16 * step, 2 * j));
  }

  /// Adds a step whose fragments of x are in registers; those of y are loaded as they are used, which takes the fewest.
  template <Major major, int width>
  FLAME_DEVICE void accumulate(const unsigned (&a)[rows / 16][4], SharedAddress y, int column, int step) {
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      unsigned b[4];
      loadColumns<major, width>(b, y + laneOfColumns<major, width>(column), step, j);
      const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < rows / 16; ++i) {
        multiply<type>(sums[i][2 * j], a[i], left);
        multiply<type>(sums[i][2 * j + 1], a[i], right);
      }
    }
  }

  /// Adds a step, whose fragments are in registers, column by column; behind a column `next` may load another step's.
  template <typename Next>
  FLAME_DEVICE void multiplyAdd(const unsigned (&a)[rows / 16][4], unsigned (&b)[columns / 16][4], Next next) {
#pragma unroll
    for (int j = 0; j < columns / 16; ++j) {
      const unsigned left[2] = {b[j][0], b[j][1]}, right[2] = {b[j][2], b[j][3]};
#pragma unroll
      for (int i = 0; i < rows / 16; ++i)
        multiply<type>(sums[i][2 * j], a[i], left);
#pragma unroll
      for (int i = 0; i < rows / 16; ++i)
        multiply<type>(sums[i][2 * j + 1], a[i], right);
      next(j);
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
