//===- BlockScales.h - scales of blocks of both operands of a product -------------------------------------------===//
//
// An element of x or y is a number of 8 bits times the scale of its block: `inner` positions of the inner dim, in one row
// of x, in `columnsOfBlock` columns of y. Each block's sum starts at zero and is multiplied by both scales on its way to the
// total.
//
// The threads that multiply load scales themselves, `ahead` blocks at a time and as many blocks before they need them: four
// lanes have the same rows of a tile, so each of them loads another block's, and they tell each other. Scales of large blocks of
// columns are passed on likewise; a scale for each column goes through shared memory, the pieces that results leave by later.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include "ptx/Tensor.h"
#include "ptx/Wgmma.h"
#include "tile/Types.h"

namespace flame {

/// Sums that are added as they are.
struct NoScales {
  static constexpr bool any = false;
};

/// Scale (row, block of the inner dim) of x is x[row * xRow + block * xBlock]; of y likewise, by blocks of columns.
template <int columnsOfBlock, typename Index> struct BlockScales {
  static constexpr bool any = true;
  static constexpr int inner = WgmmaSchedule::scaledDepth, ahead = 4;
  const float *x;
  Index xRow, xBlock;
  const float *y;
  Index yColumn, yBlock;

  /// What a thread of warpgroup `group` has of a tile of `columns`, 64 rows a slice; see ptx/Wgmma.h for which. Columns of a tile
  /// begin at a multiple of `columns`, so that those of a piece are in one block. `shared`: see `bytes`.
  template <int slices, int columns> struct OfThread {
    static constexpr int piece = columnsOfBlock == 1 ? 1 : least(columns & -columns, columnsOfBlock), pieces = columns / piece;
    static_assert((columnsOfBlock & columnsOfBlock - 1) == 0 && (piece == 1 || piece % 8 == 0), "blocks are whole pieces of a tile");
    /// More than a few scales of columns take the way through shared memory, where those of a block are a line.
    static constexpr bool passes = pieces > 3;
    static constexpr int line = (pieces + 15) / 16 * 16 + 8, loads = passes ? (pieces * ahead + 127) / 128 : pieces,
                         held = passes && piece == 1 ? 1 : (pieces + 3) / 4 * 4;
    /// Of shared memory for a warpgroup, from a tile's first step to its last one.
    static constexpr int bytes = passes ? 2 * ahead * line * 4 : 0;
    /// Where a piece is in the line. Of single columns a thread's of two products' eights lie together: four numbers.
    FLAME_DEVICE static constexpr int placeOf(int i) { return piece > 1 ? i : i / 16 * 16 + i % 8 / 2 * 4 + i / 8 % 2 * 2 + i % 2; }

    const BlockScales &all;
    const Problem<Index> &p;
    const int blocks, group;
    const SharedAddress shared;
    Index row, column;
    int block, part; // the next one that is fetched; 0 … ahead - 1
    int passed = 0; // bytes, from `shared` on
    float nextX[slices][2], nextY[loads], someX[slices][2], someY[passes ? 1 : pieces], ofX[slices][2], ofY[held];

    FLAME_DEVICE OfThread(const BlockScales &all, const Problem<Index> &p, int group, SharedAddress shared)
        : all(all), p(p), blocks((int)((p.depth + inner - 1) / inner)), group(group), shared(shared) {}

    /// Turns to the tile whose first row and column for the warpgroup these are, and fetches its first scales. `first`: of the
    /// inner dim's blocks.
    FLAME_DEVICE void start(Index firstRow, Index firstColumn, int first) {
      row = firstRow + threadId() % 128 / 32 * 16 + threadId() % 32 / 4;
      column = firstColumn;
      block = first;
      part = 0;
      fetch();
    }
    /// Behind the last block there is nothing to scale: sums of 0, for which no scale may be NaN.
    FLAME_DEVICE void fetch() {
      const int at = block + threadId() % ahead;
      const bool exists = at < blocks;
#pragma unroll
      for (int slice = 0; slice < slices; ++slice)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          nextX[slice][half] = exists ? all.x[least(row + slice * 64 + half * 8, p.rows - 1) * all.xRow + at * all.xBlock] : 0.0f;
#pragma unroll
      for (int i = 0; i < loads; ++i) {
        const Index of = column + (passes ? (i * 128 + threadId() % 128) / ahead : i) * piece;
        nextY[i] = exists ? all.y[least(of, p.columns - 1) / columnsOfBlock * all.yColumn + at * all.yBlock] : 0.0f;
      }
      block += ahead;
    }
    /// Before the first `next` of a tile: from here on the shared memory holds scales.
    FLAME_DEVICE void begin() const {
      if constexpr (passes) {
        waitStoresRead<0>();
        syncThreads(3 + group, 128);
      }
    }
    /// Goes on to the next block, while its products are under way.
    FLAME_DEVICE void next() {
      if (part == 0) {
#pragma unroll
        for (int i = 0; i < 2 * slices; ++i)
          someX[i / 2][i % 2] = nextX[i / 2][i % 2];
        if constexpr (passes) {
          // Others may still read the blocks before, but not those before them.
          passed ^= ahead * line * 4;
#pragma unroll
          for (int i = 0; i < loads; ++i) {
            const int number = i * 128 + threadId() % 128;
            if (pieces * ahead % 128 == 0 || number < pieces * ahead)
              *(float *)pointerTo(shared + passed + (number % ahead * line + placeOf(number / ahead)) * 4) = nextY[i];
          }
          syncThreads(3 + group, 128);
        } else {
#pragma unroll
          for (int i = 0; i < pieces; ++i)
            someY[i] = nextY[i];
        }
        fetch();
      }
      const int from = threadId() % 32 / ahead * ahead + part;
#pragma unroll
      for (int i = 0; i < 2 * slices; ++i)
        ofX[i / 2][i % 2] = shuffle(someX[i / 2][i % 2], from);
      if constexpr (!passes) {
#pragma unroll
        for (int i = 0; i < pieces; ++i)
          ofY[i] = shuffle(someY[i], from);
      } else if constexpr (piece > 1) {
#pragma unroll
        for (int i = 0; i < pieces; i += 4) {
          const auto four = *(const Pack<float, 4> *)pointerTo(shared + passed + (part * line + i) * 4);
#pragma unroll
          for (int j = 0; j < 4; ++j)
            ofY[i + j] = four.values[j];
        }
      }
      part = (part + 1) % ahead;
    }
    /// Adds the block's sums of 64 rows to the total.
    FLAME_DEVICE void add(float (&total)[columns / 2], const float (&sums)[columns / 2], int slice) const {
      const SharedAddress from = shared + passed + ((part + ahead - 1) % ahead * line + threadId() % 4 * 4) * 4;
#pragma unroll
      for (int j = 0; j < columns / 8; j += 2) {
        float scales[4];
        if constexpr (piece == 1) {
          const auto four = *(const Pack<float, 4> *)pointerTo(from + j * 32);
#pragma unroll
          for (int i = 0; i < 4; ++i)
            scales[i] = four.values[i];
        } else {
          scales[0] = scales[1] = ofY[j * 8 / piece];
          scales[2] = scales[3] = ofY[least(j + 1, columns / 8 - 1) * 8 / piece];
        }
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (j * 4 + i < columns / 2)
            total[j * 4 + i] += sums[j * 4 + i] * (ofX[slice][i % 4 / 2] * scales[i / 4 * 2 + i % 2]);
      }
    }
    /// Behind the last block of a tile: results may leave by the shared memory.
    FLAME_DEVICE void end() const {
      if constexpr (passes)
        syncThreads(3 + group, 128);
    }
  };
};

} // namespace flame
