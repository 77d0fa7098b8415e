//===- StoreTile.h - from a warp's sums to the epilogue ----------------------------------------------------------===//
//
// Sums pass through shared memory, 16 rows at a time, so that the epilogue sees runs of columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "mma/WarpTile.h"

namespace flame {

/// Stores what is inside of rows × columns of a tile whose first element is (row, column). `parts` neighbouring warps
/// have tiles for the same place, which are added; `slabs` is the memory of the first of them, `part` the warp's number
/// among them. With several parts all threads of the block must come here.
template <int parts, int pitch, typename Tile, typename Index, typename Epilogue>
FLAME_DEVICE void storeTile(const Tile &tile, typename Tile::Sum *slabs, int part, Index row, Index column, Index rows,
                            Index columns, const Epilogue &epilogue) {
  using Sum = typename Tile::Sum;
  constexpr int width = Epilogue::width, runs = Tile::columns / width;
  auto sync = [] {
    if constexpr (parts == 1)
      syncWarp();
    else
      syncBlock();
  };
#pragma unroll 1
  for (int i = 0; i < Tile::rows / 16; ++i) {
    tile.spill(i, slabs + part * (16 * pitch), pitch);
    sync();
#pragma unroll 1
    for (int run = part * 32 + threadId() % 32; run < 16 * runs; run += 32 * parts) {
      const int inRow = run / runs, inColumn = run % runs * width;
      const Index toRow = row + 16 * i + inRow, toColumn = column + inColumn;
      Sum *sums = slabs + inRow * pitch + inColumn;
      if (toRow < rows && toColumn < columns) {
#pragma unroll
        for (int p = 1; p < parts; ++p)
#pragma unroll
          for (int e = 0; e < width; ++e)
            sums[e] += sums[p * (16 * pitch) + e];
        epilogue.run(toRow, toColumn, (int)least(columns - toColumn, (Index)width), sums);
      }
    }
    sync();
  }
}

} // namespace flame
