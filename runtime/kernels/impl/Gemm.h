//===- Gemm.h - a product by matrix instructions -----------------------------------------------------------------===//
//
// Tiles of x and y stream through shared memory, `stages` of them in flight; each warp multiplies its part of the tile,
// of its slice of a step's depth. The result goes through shared memory once more, where the sums of the slices meet, in
// their order, and the epilogue sees runs of columns. Two products of the same x have half of a tile's columns each, those of a warp's
// part side by side.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreTile.h"
#include "tile/Groups.h"

namespace flame {

struct NoStream {
  static constexpr bool usable = false;
};
template <int lines, int width, int threads, typename Operand, typename Index>
FLAME_DEVICE auto streamOf(const Operand &operand, Index side, Index depth, Index sideEnd) {
  if constexpr (hasStreams<Operand, lines, width, threads>)
    return operand.template stream<lines, width, threads>(side, depth, sideEnd);
  else
    return NoStream{};
}

/// Calls function<0>(), function<1>(), …, function<count - 1>().
template <int count, int from = 0, typename Function> FLAME_DEVICE void forEach(Function &&function) {
  if constexpr (from < count) {
    function.template operator()<from>();
    forEach<count, from + 1>(function);
  }
}

/// The same over the blocks of a cluster. Nobody else reads the sums that become totals.
template <int splits, int slices, int pitch, int width, typename Sum> FLAME_DEVICE void addSplits(Sum *sums) {
  constexpr int part = least(4, width);
  static_assert(sizeof(Sum) == 4, "words");
#pragma unroll
  for (int i = 0; i < width; i += part) {
    Pack<Sum, part> total = {};
#pragma unroll
    for (int split = 0; split < splits; ++split)
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        unsigned words[part];
        loadCluster(words, sums + slice * pitch + i, split);
#pragma unroll
        for (int j = 0; j < part; ++j) {
          Sum more;
          fromBits(more, words[j]);
          total.values[j] += more;
        }
      }
    *(Pack<Sum, part> *)(sums + i) = total;
  }
}

/// `place`: the block's tile; by default each has the one of its number.
template <MmaSchedule schedule, Arithmetic type, typename Index, typename X, typename Y, typename Epilogue, typename Place = ByBlock>
FLAME_DEVICE void gemm(Problem<Index> p, X x, Y y, Epilogue epilogue, Place place = {}) {
  constexpr MmaSchedule s = hasClusters ? schedule : schedule.older(type);
  using Sum = typename TypeOf<type>::Sum;
  constexpr int bytes = sizeOf(type), threads = s.threads(), products = productsOf<Y>;
  constexpr int warpTileRows = s.rows / s.warpRows, warpTileColumns = s.columns / s.warpColumns;
  constexpr int xWidth = (X::major == Major::Depth ? s.depth : s.rows) * bytes;
  constexpr int yWidth = (Y::major == Major::Depth ? s.depth : s.columns) * bytes;
  static_assert(bytes == 2 || (X::major == Major::Depth && Y::major == Major::Depth), "ldmatrix transposes 16 bits");
  constexpr int xBytes = s.rows * s.depth * bytes, stageBytes = s.stageBytes(type);
  unsigned char *shared = dynamicShared();
  const SharedAddress base = pinned(sharedAddress(shared));
  const int split = (unsigned)blockId() % s.splits;
  // This block's share of the inner dim, in whole steps.
  Index begin = 0, end = p.depth;
  if constexpr (s.splits > 1) {
    if constexpr (hasClusters) {
      const Index share = (p.depth + s.depth * s.splits - 1) / (s.depth * s.splits) * s.depth;
      begin = least(split * share, p.depth), end = least(begin + share, p.depth);
    } else if (split > 0) {
      awaitProducers();
      return;
    }
  }
  const TilePosition<Index> at = placed(place, p, (unsigned)blockId() / s.splits, s.rows, s.columns / products);

  constexpr int xLines = X::major == Major::Depth ? s.rows : s.depth,
                yLines = Y::major == Major::Depth ? s.columns : s.depth;
  Stage<typename X::Element, X::staged ? xLines : 0, xWidth / bytes, threads> xStage;
  Stage<typename Y::Element, Y::staged ? yLines : 0, yWidth / bytes, threads> yStage;
  constexpr bool xStreams = hasStreams<X, xLines, xWidth / bytes, threads>, yStreams = hasStreams<Y, yLines, yWidth / bytes, threads>;
  auto xParts = streamOf<xLines, xWidth / bytes, threads>(x, at.row, begin, p.rows);
  auto yParts = streamOf<yLines, yWidth / bytes, threads>(y, at.column, begin, p.columns);
  auto fillX = [&](int stage, Index depth) {
    const Index line = X::major == Major::Depth ? at.row : depth, first = X::major == Major::Depth ? depth : at.row;
    const Index lineEnd = X::major == Major::Depth ? p.rows : end,
                lastEnd = X::major == Major::Depth ? end : p.rows;
    if constexpr (X::staged)
      x.load(xStage, line, first, lineEnd, lastEnd);
    else if constexpr (xStreams)
      x.template fill<xLines, xWidth / bytes, threads, xWidth / bytes, true>(shared + stage * stageBytes, line, first, lineEnd, lastEnd);
    else
      x.template fill<xLines, xWidth / bytes, threads>(shared + stage * stageBytes, line, first, lineEnd, lastEnd);
  };
  auto fillY = [&](int stage, Index depth) {
    const Index line = Y::major == Major::Depth ? at.column : depth,
                first = Y::major == Major::Depth ? depth : at.column;
    const Index lineEnd = Y::major == Major::Depth ? p.columns : end,
                lastEnd = Y::major == Major::Depth ? end : p.columns;
    if constexpr (Y::staged)
      y.load(yStage, line, first, lineEnd, lastEnd);
    else if constexpr (yStreams)
      y.template fill<yLines, yWidth / bytes, threads, yWidth / bytes, true>(shared + stage * stageBytes + xBytes, line, first, lineEnd, lastEnd);
    else
      y.template fill<yLines, yWidth / bytes, threads>(shared + stage * stageBytes + xBytes, line, first, lineEnd, lastEnd);
  };
  // Of a step that begins at `depth`, if there is one: what does not stream at once, and whether the rest may, in parts.
  auto beginX = [&](int stage, Index depth) {
    const bool inParts = xStreams && xParts.usable && depth + s.depth <= end;
    if (!inParts && depth < end)
      fillX(stage, depth);
    return inParts;
  };
  auto beginY = [&](int stage, Index depth) {
    const bool inParts = yStreams && yParts.usable && depth + s.depth <= end;
    if (!inParts && depth < end)
      fillY(stage, depth);
    return inParts;
  };
  auto copyX = [&]<int part, int parts>(int stage, bool inParts) {
    if constexpr (xStreams) {
      x.template copyPart<part, parts>(xParts, base + stage * stageBytes, inParts);
      if constexpr (part + 1 == parts)
        x.advance(xParts);
    }
  };
  auto copyY = [&]<int part, int parts>(int stage, bool inParts) {
    if constexpr (yStreams) {
      y.template copyPart<part, parts>(yParts, base + stage * stageBytes + xBytes, inParts);
      if constexpr (part + 1 == parts)
        y.advance(yParts);
    }
  };
  auto flush = [&](int stage) {
    if constexpr (X::staged)
      xStage.flush(shared + stage * stageBytes);
    if constexpr (Y::staged)
      yStage.flush(shared + stage * stageBytes + xBytes);
  };

  constexpr int steps = s.depth * bytes / 32 / s.slices;
  static_assert(steps > 0 && steps * s.slices * 32 == s.depth * bytes, "slices share the steps");
  const int slice = threadId() / (32 * s.warps()), warp = threadId() / 32 % s.warps(),
            row = warp / s.warpColumns * warpTileRows, column = warp % s.warpColumns * warpTileColumns;
  WarpTile<type, warpTileRows, warpTileColumns> tile;
  // What no kernel before this one writes need not wait for it.
#pragma unroll 1
  for (int stage = 0; stage < s.stages - 1; ++stage) {
    if constexpr (X::early)
      copyX.template operator()<0, 1>(stage, beginX(stage, begin + stage * s.depth));
    if constexpr (Y::early)
      copyY.template operator()<0, 1>(stage, beginY(stage, begin + stage * s.depth));
  }
  awaitProducers();
  // The first stages - 1 turns only fill.
#pragma unroll 1
  for (int stage = 0; stage < s.stages - 1; ++stage) {
    const Index depth = begin + stage * s.depth;
    if constexpr (!X::early)
      copyX.template operator()<0, 1>(stage, beginX(stage, depth));
    if constexpr (!Y::early)
      copyY.template operator()<0, 1>(stage, beginY(stage, depth));
    commitCopies();
    if (depth < end)
      flush(stage);
  }
  int writing = s.stages - 1;
  int reading = 0; // where the stage begins
  using Tile = decltype(tile);
  // Rows of this step and the next; columns are followed by the next step's once they are multiplied.
  unsigned a[2][warpTileRows / 16][4], b[warpTileColumns / 16][4];
  static_assert(s.slices == 1 || (steps & (steps - 1)) == 0, "steps of a slice and its number have bits of their own");
  const SharedAddress
      xLane = pinned(Tile::template further<X::major, xWidth>(base + Tile::template laneOfRows<X::major, xWidth>(row), slice * steps)),
      yLane = pinned(Tile::template further<Y::major, yWidth>(base + xBytes + Tile::template laneOfColumns<Y::major, yWidth>(column), slice * steps));
  auto loadRows = [&](int to, int step) { Tile::template loadRows<X::major, xWidth>(a[to], xLane + reading, step); };
  auto loadColumns = [&](int step, int j) { Tile::template loadColumns<Y::major, yWidth>(b[j], yLane + reading, step, j); };
  waitCopies<s.stages - 2>();
  syncBlock();
  loadRows(0, 0);
#pragma unroll
  for (int j = 0; j < warpTileColumns / 16; ++j)
    loadColumns(0, j);
#pragma unroll 1
  for (Index depth = begin; depth < end; depth += s.depth) {
    const Index ahead = depth + (s.stages - 1) * s.depth;
    const bool xInParts = beginX(writing, ahead), yInParts = beginY(writing, ahead);
    // Copies go between the products of all steps but the last.
    constexpr int parts = larger(steps - 1, 1);
    auto copyPart = [&]<int part, int parts>() {
      copyX.template operator()<part, parts>(writing, xInParts);
      copyY.template operator()<part, parts>(writing, yInParts);
    };
    forEach<steps>([&]<int step>() {
      constexpr int next = (step + 1) % steps;
      if constexpr (next == 0) {
        // The next stage's first fragments are on their way while this one's last are multiplied. Behind the barrier nobody
        // reads this stage any more.
        if constexpr (steps == 1)
          copyPart.template operator()<0, 1>();
        commitCopies();
        if (ahead < end)
          flush(writing);
        // What was read is written next: `writing` runs a stage behind.
        writing = writing + 1 == s.stages ? 0 : writing + 1;
        reading = (writing + 1 == s.stages ? 0 : writing + 1) * stageBytes;
        waitCopies<s.stages - 2>();
        syncBlock();
      }
      loadRows((step + 1) % 2, next);
      if constexpr (step < parts && steps > 1)
        copyPart.template operator()<step, parts>();
      tile.multiplyAdd(a[step % 2], b, [&](int j) { loadColumns(next, j); });
    });
    if constexpr (steps % 2 == 1) {
#pragma unroll
      for (int i = 0; i < warpTileRows / 16; ++i)
#pragma unroll
        for (int word = 0; word < 4; ++word)
          a[0][i][word] = a[1][i][word];
    }
  }
  // Not earlier: blocks of the next kernel would take the places that this one leaves free, several of them on one
  // multiprocessor.
  releaseDependents();
  waitCopies<0>();
  syncBlock();

  // A warp's slab belongs to the lanes of that warp in all slices.
  constexpr int pitch = s.slabPitch(), width = Epilogue::width, each = warpTileColumns / products, runs = each / width;
  static_assert(each % width == 0, "whole runs");
  constexpr int slabRows = s.slabRows(type), slabElements = s.slabBytes(slabRows) / (int)sizeof(Sum);
  Sum *slabs = (Sum *)shared + warp * slabElements;
  constexpr bool joined = hasClusters && s.splits > 1; // the blocks of a cluster store a part each
  auto syncSlices = [] {
    if constexpr (joined)
      syncCluster();
    else if constexpr (s.slices == 1)
      syncWarp();
    else
      syncBlock();
  };
  constexpr int slices = s.slices, splits = s.splits, stride = s.warps() * slabElements;
  constexpr int lanes = 32 * slices * (joined ? splits : 1);
  const int lane = threadId() % 32 + 32 * slice + (joined ? split * 32 * s.slices : 0);
#pragma unroll 1
  for (int first = 0; first < warpTileRows; first += slabRows) {
    if (first > 0)
      syncSlices();
    tile.template spill<slabRows / 16>(first / 16, slabs + slice * s.warps() * slabElements, pitch);
    syncSlices();
#pragma unroll 1
    for (int run = lane; run < slabRows * runs; run += lanes) {
      const int inRow = run / runs, inColumn = run % runs * width;
      const Index toRow = at.row + row + first + inRow, toColumn = at.column + column / products + inColumn;
      auto store = [&](auto *...sums) {
        if constexpr (joined)
          (addSplits<splits, slices, stride, width>(sums), ...);
        else if constexpr (slices > 1)
          (addSlices<slices, stride, width>(sums), ...);
        const bool inside = toRow < p.rows && toColumn < p.columns;
        if constexpr (foldsOf<Epilogue> == 0) {
          if (inside)
            epilogue.run(toRow, toColumn, (int)least(p.columns - toColumn, (Index)width), sums...);
        } else {
          // Neighbouring threads have the runs of a row.
          static_assert(each % foldColumns == 0 && slabRows * runs % 32 == 0, "whole runs of columns, by whole warps");
          Carried<foldsOf<Epilogue>> carried;
          epilogue.folds.begin(carried.of);
          if (inside)
            epilogue.visit([&](auto stored) { epilogue.folds.step(carried.of, stored); }, toRow, toColumn,
                           (int)least(p.columns - toColumn, (Index)width), sums...);
          epilogue.folds.template end<foldColumns / width>(carried.of, toRow, toColumn, inside);
        }
      };
      Sum *sums = slabs + inRow * pitch + inColumn;
      if constexpr (products == 1)
        store(sums);
      else
        store(sums, sums + each);
    }
  }
  if constexpr (joined)
    syncCluster(); // others may still read this block's shared memory
}

/// Rows by groups, each of which meets makeY(group).
template <MmaSchedule s, Arithmetic type, typename Index, typename End, typename X, typename MakeY, typename Epilogue>
FLAME_DEVICE void groupedGemm(Problem<Index> p, RowGroups<End, Index> groups, X x, MakeY makeY, Epilogue epilogue) {
  constexpr int products = productsOf<decltype(makeY(0))>;
  inGroup(p, groups, (unsigned)blockId() / s.splits, s.rows, s.columns / products,
          [&](const Problem<Index> &own, int group, TilePosition<Index> at) { gemm<s, type>(own, x, makeY(group), epilogue, at); });
}

} // namespace flame
