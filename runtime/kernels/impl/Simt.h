//===- Simt.h - a product by ordinary multiply-adds --------------------------------------------------------------===//
//
// Strict arithmetic in the operands' own type, for f32, f64 and integers. Tiles lie in shared memory line by line of
// the inner dim, so that a thread reads its operands as vectors; several steps are in flight.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "pipeline/Operand.h"
#include "tile/Groups.h"

namespace flame {

/// `place`: the block's tile; by default each has the one of its number.
template <SimtSchedule s, Arithmetic type, typename Index, typename X, typename Y, typename Epilogue, typename Place = ByBlock>
FLAME_DEVICE void simtGemm(Problem<Index> p, X x, Y y, Epilogue epilogue, Place place = {}) {
  using T = typename TypeOf<type>::Storage;
  // A thread's elements are groups of `part` neighbours, one group in each of side / part stripes of the tile.
  constexpr int side = s.side, part = least(side, 16 / (int)sizeof(T)), stripe = 16 * part;
  constexpr int tile = s.tile(), pitch = s.pitch(type), stageElements = 2 * s.depth * pitch;
  T *shared = (T *)dynamicShared();
  const TilePosition<Index> at = placed(place, p, (unsigned)blockId(), tile, tile);

  auto fill = [&](int stage, Index depth) {
    T *to = shared + stage * stageElements;
    x.template fillWords<s.depth, tile, pitch, 256>(to, at.row, depth, p.rows, p.depth);
    y.template fillWords<s.depth, tile, pitch, 256>(to + s.depth * pitch, at.column, depth, p.columns, p.depth);
  };

  const int down = threadId() / 16, across = threadId() % 16;
  T sums[side][side] = {};
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
    const T *xs = shared + reading * stageElements + down * part,
            *ys = xs + s.depth * pitch - down * part + across * part;
    constexpr int steps = sizeof(T) == 8 ? 2 : 4; // as many as registers have room for
#pragma unroll steps
    for (int k = 0; k < s.depth; ++k) {
      Pack<T, part> a[side / part], b[side / part];
#pragma unroll
      for (int i = 0; i < side / part; ++i) {
        a[i] = *(const Pack<T, part> *)(xs + k * pitch + i * stripe);
        b[i] = *(const Pack<T, part> *)(ys + k * pitch + i * stripe);
      }
#pragma unroll
      for (int i = 0; i < side; ++i)
#pragma unroll
        for (int j = 0; j < side; ++j)
          sums[i][j] += a[i / part].values[i % part] * b[j / part].values[j % part];
    }
    reading = reading + 1 == s.stages ? 0 : reading + 1;
  }
  waitCopies<0>();
  syncBlock();

  // A warp is two rows of threads: it stores two rows of the tile at a time.
  constexpr int slabPitch = s.slabPitch(), width = Epilogue::width, runs = tile / width;
  const int warp = threadId() / 32, lane = threadId() % 32;
  T *slab = shared + warp * 2 * slabPitch;
#pragma unroll 1
  for (int i = 0; i < side; ++i) {
#pragma unroll
    for (int r = 0; r < side; ++r)
      if (r == i) {
#pragma unroll
        for (int j = 0; j < side / part; ++j) {
          Pack<T, part> values;
#pragma unroll
          for (int e = 0; e < part; ++e)
            values.values[e] = sums[r][j * part + e];
          *(Pack<T, part> *)(slab + lane / 16 * slabPitch + across * part + j * stripe) = values;
        }
      }
    syncWarp();
#pragma unroll 1
    for (int run = lane; run < 2 * runs; run += 32) {
      const int half = run / runs, inColumn = run % runs * width;
      const Index toRow = at.row + (2 * warp + half) * part + i / part * stripe + i % part,
                  toColumn = at.column + inColumn;
      if (toRow < p.rows && toColumn < p.columns)
        epilogue.run(toRow, toColumn, (int)least(p.columns - toColumn, (Index)width),
                     slab + half * slabPitch + inColumn);
    }
    syncWarp();
  }
}

/// Rows by groups, each of which meets makeY(group).
template <SimtSchedule s, Arithmetic type, typename Index, typename End, typename X, typename MakeY, typename Epilogue>
FLAME_DEVICE void groupedSimtGemm(Problem<Index> p, RowGroups<End, Index> groups, X x, MakeY makeY, Epilogue epilogue) {
  inGroup(p, groups, (unsigned)blockId(), s.tile(), s.tile(),
          [&](const Problem<Index> &own, int group, TilePosition<Index> at) { simtGemm<s, type>(own, x, makeY(group), epilogue, at); });
}

} // namespace flame
