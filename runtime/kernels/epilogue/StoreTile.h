//===- StoreTile.h - from a warp's sums to the epilogue ----------------------------------------------------------===//
//
// Sums pass through shared memory, some rows at a time, so that the epilogue sees runs of columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "mma/WarpTile.h"

namespace flame {

/// Adds what lies `pitch` elements behind each other to the first.
template <int slices, int pitch, int width, typename Sum> FLAME_DEVICE void addSlices(Sum *sums) {
  constexpr int part = least(4, width);
#pragma unroll
  for (int i = 0; i < width; i += part) {
    auto total = *(const Pack<Sum, part> *)(sums + i);
#pragma unroll
    for (int slice = 1; slice < slices; ++slice) {
      const auto more = *(const Pack<Sum, part> *)(sums + slice * pitch + i);
#pragma unroll
      for (int j = 0; j < part; ++j)
        total.values[j] += more.values[j];
    }
    *(Pack<Sum, part> *)(sums + i) = total;
  }
}

/// Stores what is inside of rows × columns of a tile whose first element is (row, column), `slabRows` rows at a time.
/// `slices` warps have tiles for the same place, which are added; their slabs lie `stride` elements apart from `slabs`
/// on, and `slice` is this warp's number among them. With several slices all threads of the block come here together.
template <int slices, int slabRows, int pitch, int stride, typename Tile, typename Index, typename Epilogue>
FLAME_DEVICE void storeTile(const Tile &tile, typename Tile::Sum *slabs, int slice, Index row, Index column, Index rows,
                            Index columns, const Epilogue &epilogue) {
  constexpr int width = Epilogue::width, runs = Tile::columns / width;
  auto sync = [] {
    if constexpr (slices == 1)
      syncWarp();
    else
      syncBlock();
  };
  // A slab belongs to the lanes of all its warps.
  const int lane = threadId() % 32 + 32 * slice;
#pragma unroll 1
  for (int first = 0; first < Tile::rows; first += slabRows) {
    if (first > 0)
      sync();
    tile.template spill<slabRows / 16>(first / 16, slabs + slice * stride, pitch);
    sync();
#pragma unroll 1
    for (int run = lane; run < slabRows * runs; run += 32 * slices) {
      const int inRow = run / runs, inColumn = run % runs * width;
      const Index toRow = row + first + inRow, toColumn = column + inColumn;
      auto *sums = slabs + inRow * pitch + inColumn;
      if constexpr (slices > 1)
        addSlices<slices, stride, width>(sums);
      if (toRow < rows && toColumn < columns)
        epilogue.run(toRow, toColumn, (int)least(columns - toColumn, (Index)width), sums);
    }
  }
}

} // namespace flame
