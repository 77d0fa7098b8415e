//===- Gemm.h - a product by matrix instructions
//----------------------------------------------------------------------===//
//
// Tiles of x and y stream through shared memory, `stages` of them in flight; each warp multiplies its part of the tile.
// The result goes through shared memory once more, so that the epilogue sees runs of columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "mma/WarpTile.h"

namespace flame {

template <MmaSchedule s, Arithmetic type, typename Index, typename X, typename Y, typename Epilogue>
FLAME_DEVICE void gemm(Problem<Index> p, X x, Y y, Epilogue epilogue) {
  using Sum = typename TypeOf<type>::Sum;
  constexpr int bytes = sizeOf(type), threads = s.threads();
  constexpr int warpTileRows = s.rows / s.warpRows, warpTileColumns = s.columns / s.warpColumns;
  constexpr int xWidth = (X::major == Major::Depth ? s.depth : s.rows) * bytes;
  constexpr int yWidth = (Y::major == Major::Depth ? s.depth : s.columns) * bytes;
  static_assert(bytes == 2 || (X::major == Major::Depth && Y::major == Major::Depth), "ldmatrix transposes 16 bits");
  constexpr int xBytes = s.rows * s.depth * bytes, stageBytes = s.stageBytes(type);
  unsigned char *shared = dynamicShared();
  const TilePosition<Index> at = tilePosition(p, s.rows, s.columns);

  auto fill = [&](int stage, Index depth) {
    unsigned char *to = shared + stage * stageBytes;
    if constexpr (X::major == Major::Depth)
      x.template fill<s.rows, s.depth, threads>(to, at.row, depth, p.rows, p.depth);
    else
      x.template fill<s.depth, s.rows, threads>(to, depth, at.row, p.depth, p.rows);
    if constexpr (Y::major == Major::Depth)
      y.template fill<s.columns, s.depth, threads>(to + xBytes, at.column, depth, p.columns, p.depth);
    else
      y.template fill<s.depth, s.columns, threads>(to + xBytes, depth, at.column, p.depth, p.columns);
  };

  const int warp = threadId() / 32, row = warp / s.warpColumns * warpTileRows,
            column = warp % s.warpColumns * warpTileColumns;
  WarpTile<type, warpTileRows, warpTileColumns> tile;
  int reading = 0, writing = 0;
  // The first stages - 1 turns only fill.
#pragma unroll 1
  for (Index depth = -(s.stages - 1) * s.depth; depth < p.depth; depth += s.depth) {
    if (depth >= 0) {
      waitCopies<s.stages - 2>();
      syncBlock();
    }
    if (const Index next = depth + (s.stages - 1) * s.depth; next < p.depth)
      fill(writing, next);
    commitCopies();
    writing = writing + 1 == s.stages ? 0 : writing + 1;
    if (depth < 0)
      continue;
    const unsigned char *from = shared + reading * stageBytes;
#pragma unroll
    for (int step = 0; step < s.depth * bytes / 32; ++step)
      tile.template accumulate<X::major, Y::major, xWidth, yWidth>(from, from + xBytes, row, column, step);
    reading = reading + 1 == s.stages ? 0 : reading + 1;
  }
  waitCopies<0>();
  syncBlock();

  constexpr int pitch = s.slabPitch(), width = Epilogue::width, runs = warpTileColumns / width;
  Sum *slab = (Sum *)(shared + warp * s.slabBytes());
  const int lane = threadId() % 32;
#pragma unroll 1
  for (int i = 0; i < warpTileRows / 16; ++i) {
    tile.spill(i, slab, pitch);
    syncWarp();
#pragma unroll 1
    for (int run = lane; run < 16 * runs; run += 32) {
      const int inRow = run / runs, inColumn = run % runs * width;
      const Index toRow = at.row + row + 16 * i + inRow, toColumn = at.column + column + inColumn;
      if (toRow < p.rows && toColumn < p.columns)
        epilogue.run(toRow, toColumn, (int)least(p.columns - toColumn, (Index)width), slab + inRow * pitch + inColumn);
    }
    syncWarp();
  }
}

} // namespace flame
