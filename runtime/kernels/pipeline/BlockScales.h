//===- BlockScales.h - scales of blocks of both operands of a product -------------------------------------------===//
//
// An element of x or y is a number of 8 bits times the scale of its block: `inner` positions of the inner dim, in one row
// of x, in `columnsOfBlock` columns of y. Each block's sum starts at zero and is multiplied by both scales on its way to the
// total. A thread loads its part of a block's scales one block ahead. Those of its rows stay in its registers, and so do those of
// large blocks of columns; a scale for each column is loaded by one thread of the warpgroup and passed on through shared memory, the
// pieces that results leave by later.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include "ptx/Tensor.h"
#include "tile/Types.h"

namespace flame {

/// Sums that are added as they are.
struct NoScales {
  static constexpr bool any = false;
};

/// Scale (row, block of the inner dim) of x is x[row * xRow + block * xBlock]; of y likewise, by blocks of columns.
template <int columnsOfBlock, typename Index> struct BlockScales {
  static constexpr bool any = true;
  static constexpr int inner = WgmmaSchedule::scaledDepth;
  const float *x;
  Index xRow, xBlock;
  const float *y;
  Index yColumn, yBlock;

  /// What a thread of warpgroup `group` has of a tile of `columns`, 64 rows a slice; see ptx/Wgmma.h for which. Columns of a tile
  /// begin at a multiple of `columns`, so that those of a piece are in one block.
  template <int slices, int columns> struct OfThread {
    static constexpr bool passes = columnsOfBlock == 1;
    static constexpr int piece = passes ? 1 : least(columns & -columns, columnsOfBlock), pieces = columns / piece,
                         loads = passes ? (columns + 127) / 128 : pieces;
    static_assert((columnsOfBlock & columnsOfBlock - 1) == 0 && (passes || piece % 8 == 0), "blocks are whole pieces of a tile");
    const float *x, *y;
    Index xBlock, yBlock, rows[slices][2], ends[loads];
    int blocks, block, group;
    SharedAddress shared;
    float nextX[slices][2], nextY[loads], ofX[slices][2], ofY[loads];

    /// `row`, `column`: the first of the warpgroup; `first`: of the inner dim's blocks. `shared`: 8 columns bytes that the warpgroup may
    /// use between `begin` and `end`.
    FLAME_DEVICE OfThread(const BlockScales &all, const Problem<Index> &p, Index row, Index column, int first, int group,
                          SharedAddress shared)
        : x(all.x), y(all.y), xBlock(all.xBlock), yBlock(all.yBlock), blocks((int)((p.depth + inner - 1) / inner)), block(first),
          group(group), shared(shared) {
      const int thread = threadId() % 128;
#pragma unroll
      for (int slice = 0; slice < slices; ++slice)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          rows[slice][half] = least(row + slice * 64 + thread / 32 * 16 + thread % 32 / 4 + half * 8, p.rows - 1) * all.xRow;
#pragma unroll
      for (int i = 0; i < loads; ++i)
        ends[i] = least(column + (passes ? i * 128 + least(thread, columns - 1) : i * piece), p.columns - 1) / columnsOfBlock * all.yColumn;
    }
    /// By all threads of the warpgroup, before the first block.
    FLAME_DEVICE void begin() {
      if constexpr (passes) {
        waitStoresRead<0>();
        syncThreads(3 + group, 128);
      }
      fetch();
    }
    /// Behind the last block there is nothing to scale: sums of 0, for which no scale may be NaN.
    FLAME_DEVICE void fetch() {
      const bool exists = block < blocks;
#pragma unroll
      for (int slice = 0; slice < slices; ++slice)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          nextX[slice][half] = exists ? x[rows[slice][half] + block * xBlock] : 0.0f;
#pragma unroll
      for (int i = 0; i < loads; ++i)
        nextY[i] = exists ? y[ends[i] + block * yBlock] : 0.0f;
    }
    /// Turns to the block that was fetched, and fetches the next one.
    FLAME_DEVICE void next() {
      if constexpr (passes) {
#pragma unroll
        for (int i = 0; i < loads; ++i)
          if (threadId() % 128 + i * 128 < columns)
            ((float *)pointerTo(shared))[block % 2 * columns + i * 128 + threadId() % 128] = nextY[i];
      } else {
#pragma unroll
        for (int i = 0; i < loads; ++i)
          ofY[i] = nextY[i];
      }
#pragma unroll
      for (int i = 0; i < 2 * slices; ++i)
        ofX[i / 2][i % 2] = nextX[i / 2][i % 2];
      ++block;
      fetch();
    }
    /// Before `add`, while the block's products are under way.
    FLAME_DEVICE void meet() const {
      if constexpr (passes)
        syncThreads(3 + group, 128);
    }
    /// Adds the block's sums of 64 rows to the total.
    FLAME_DEVICE void add(float (&total)[columns / 2], const float (&part)[columns / 2], int slice) const {
#pragma unroll
      for (int j = 0; j < columns / 8; ++j) {
        float scales[2];
        if constexpr (passes) {
          const auto two = *(const Pack<float, 2> *)pointerTo(shared + ((block - 1) % 2 * columns + j * 8 + threadId() % 4 * 2) * 4);
          scales[0] = two.values[0], scales[1] = two.values[1];
        } else {
          scales[0] = scales[1] = ofY[j * 8 / piece];
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
          total[j * 4 + i] += part[j * 4 + i] * (ofX[slice][i / 2] * scales[i % 2]);
      }
    }
    FLAME_DEVICE void end() const { meet(); }
  };
};

} // namespace flame
