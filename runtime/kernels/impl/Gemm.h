//===- Gemm.h - a product by matrix instructions -----------------------------------------------------------------===//
//
// Tiles of x and y stream through shared memory, `stages` of them in flight; each warp multiplies its part of the tile.
// The result goes through shared memory once more, so that the epilogue sees runs of columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreTile.h"

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

  constexpr int xLines = X::major == Major::Depth ? s.rows : s.depth,
                yLines = Y::major == Major::Depth ? s.columns : s.depth;
  Stage<typename X::Element, X::staged ? xLines : 0, xWidth / bytes, threads> xStage;
  Stage<typename Y::Element, Y::staged ? yLines : 0, yWidth / bytes, threads> yStage;
  auto fill = [&](int stage, Index depth) {
    unsigned char *to = shared + stage * stageBytes;
    const Index xLine = X::major == Major::Depth ? at.row : depth, xFirst = X::major == Major::Depth ? depth : at.row;
    const Index xLineEnd = X::major == Major::Depth ? p.rows : p.depth,
                xEnd = X::major == Major::Depth ? p.depth : p.rows;
    if constexpr (X::staged)
      x.load(xStage, xLine, xFirst, xLineEnd, xEnd);
    else
      x.template fill<xLines, xWidth / bytes, threads>(to, xLine, xFirst, xLineEnd, xEnd);
    const Index yLine = Y::major == Major::Depth ? at.column : depth,
                yFirst = Y::major == Major::Depth ? depth : at.column;
    const Index yLineEnd = Y::major == Major::Depth ? p.columns : p.depth,
                yEnd = Y::major == Major::Depth ? p.depth : p.columns;
    if constexpr (Y::staged)
      y.load(yStage, yLine, yFirst, yLineEnd, yEnd);
    else
      y.template fill<yLines, yWidth / bytes, threads>(to + xBytes, yLine, yFirst, yLineEnd, yEnd);
  };
  auto flush = [&](int stage) {
    if constexpr (X::staged)
      xStage.flush(shared + stage * stageBytes);
    if constexpr (Y::staged)
      yStage.flush(shared + stage * stageBytes + xBytes);
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
    const Index next = depth + (s.stages - 1) * s.depth;
    if (next < p.depth)
      fill(writing, next);
    commitCopies();
    if (depth >= 0) {
      const SharedAddress from = sharedAddress(shared) + reading * stageBytes;
#pragma unroll
      for (int step = 0; step < s.depth * bytes / 32; ++step)
        tile.template accumulate<X::major, Y::major, xWidth, yWidth>(from, from + xBytes, row, column, step);
      reading = reading + 1 == s.stages ? 0 : reading + 1;
    }
    if (next < p.depth)
      flush(writing);
    writing = writing + 1 == s.stages ? 0 : writing + 1;
  }
  waitCopies<0>();
  syncBlock();

  storeTile<1, s.slabPitch()>(tile, (Sum *)(shared + warp * s.slabBytes()), 0, at.row + row, at.column + column, p.rows,
                              p.columns, epilogue);
}

} // namespace flame
