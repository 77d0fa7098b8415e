//===- StreamK.h - tiles that blocks share by steps of the inner dim ----------------------------------------------===//
//
// Where the tiles of a product leave the last round of blocks partly empty, the tiles of that round and of the one before are
// divided by steps of the inner dim (stream-K, Osama et al. 2023): each block has as many consecutive steps as the others, of two or three
// tiles, of which it may have the first and the last one in part. All other rounds are of whole tiles.
//
// Who has a tile's last steps stores it. The others leave their sums in memory and raise a flag; it waits for them, one after the other,
// and adds them in that order, so that results are the same in every run on GPUs with as many multiprocessors. A block goes through its
// steps from the back: what it leaves for others comes first, and what it waits for last, from blocks of smaller numbers alone. So no
// block waits for one that could wait for it, whichever of them the GPU has started, and most flags have long been raised.
//
// Flags are 0 before and after a kernel: one block raises a flag, and one lowers it again.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Grid.h"
#include "schedule/Team.h"
#include "tile/Types.h"

namespace flame {

/// Steps `from` to `to` of a tile's inner dim.
struct Piece {
  unsigned tile;
  int from, to;
  FLAME_DEVICE int steps() const { return to - from; }
};

/// The pieces of a cluster, of which all are whole tiles, in turns with the other clusters.
struct WholeTiles {
  unsigned tile, tiles, clusters, first;
  int turns;

  FLAME_DEVICE WholeTiles(unsigned tiles, unsigned cluster, unsigned clusters, int turns)
      : tile(cluster), tiles(tiles), clusters(clusters), first(cluster), turns(turns) {}
  FLAME_DEVICE bool any() const { return tile < tiles; }
  FLAME_DEVICE bool isFirst() const { return tile == first; }
  /// Whether one comes behind this one.
  FLAME_DEVICE bool more() const { return tile + clusters < tiles; }
  FLAME_DEVICE Piece piece() const { return {tile, 0, turns}; }
  FLAME_DEVICE int steps() const { return turns; }
  FLAME_DEVICE bool leaves() const { return false; }
  FLAME_DEVICE bool joins() const { return false; }
  FLAME_DEVICE void next() { tile += clusters; }
};

/// The same where clusters share tiles: first those pieces, then whole tiles.
struct SharedTiles {
  /// A place among the steps of all shared tiles.
  struct Place {
    unsigned tile;
    int step;
    FLAME_DEVICE bool operator==(const Place &) const = default;
  };
  const unsigned tiles, clusters, cluster; // this one
  const int turns;
  const Place begin, end;
  const int pieces; // of shared tiles
  int index = 0;

  FLAME_DEVICE SharedTiles(unsigned tiles, unsigned cluster, unsigned clusters, int turns)
      : tiles(tiles), clusters(clusters), cluster(cluster), turns(turns), begin(border(cluster)), end(border(cluster + 1)),
        pieces(begin == end ? 0 : (int)(end.tile + (end.step > 0) - begin.tile)) {}

  /// Rounds of whole tiles, and the tiles before them.
  FLAME_DEVICE unsigned whole() const {
    const unsigned rounds = tiles / clusters;
    return tiles == rounds * clusters ? rounds : rounds > 1 ? rounds - 1 : 0;
  }
  FLAME_DEVICE unsigned shared() const { return tiles - whole() * clusters; }

  /// Where a cluster's steps begin. Nobody has less than a few steps of a tile, which would cost more than they take off another one.
  FLAME_DEVICE Place border(unsigned of) const {
    const unsigned shared = this->shared(), each = turns < WgmmaSchedule::leastShare ? 1 : turns / WgmmaSchedule::leastShare,
                   sharers = least(clusters, shared * each);
    if (of >= sharers)
      return {shared, 0};
    // of * shared * turns / sharers, whatever the product.
    const unsigned tile = of * shared / sharers, rest = of * shared % sharers;
    const int step = (int)(rest * ((unsigned)turns / sharers) + rest * ((unsigned)turns % sharers) / sharers);
    if (step < WgmmaSchedule::leastShare)
      return {tile, 0};
    return turns - step < WgmmaSchedule::leastShare ? Place{tile + 1, 0} : Place{tile, step};
  }

  FLAME_DEVICE bool any() const { return index < pieces + (int)whole(); }
  FLAME_DEVICE bool isFirst() const { return index == 0; }
  FLAME_DEVICE bool more() const { return index + 1 < pieces + (int)whole(); }
  FLAME_DEVICE Piece piece() const {
    if (index >= pieces)
      return {shared() + cluster + (unsigned)(index - pieces) * clusters, 0, turns};
    const unsigned tile = end.tile - (end.step == 0) - (unsigned)index;
    return {tile, tile == begin.tile ? begin.step : 0, index == 0 && end.step > 0 ? end.step : turns};
  }
  FLAME_DEVICE int steps() const { return piece().steps(); }
  FLAME_DEVICE void next() { ++index; }

  /// Whether another cluster stores the piece's tile, and whether this one does where others have some of its sums.
  FLAME_DEVICE bool leaves() const { return index == 0 && pieces > 0 && end.step > 0; }
  FLAME_DEVICE bool joins() const { return index + 1 == pieces && begin.step > 0 && !leaves(); }
  /// Calls take(cluster) for those with the steps of a tile before the piece that joins them, from its own number down. All of them have some:
  /// only at the border of two tiles may there be a cluster without a step.
  template <typename Take> FLAME_DEVICE void others(Take take) const {
    Place before = begin;
#pragma unroll 1
    for (unsigned other = cluster; before.tile == begin.tile && before.step > 0;) {
      take(--other);
      before = border(other);
    }
  }
};

/// No tile is shared.
struct NoShares {
  static constexpr bool any = false;
};

/// Sums that blocks leave for others: a tile of `slotBytes` for each block in `memory`, and a flag for each of its warps in `state`.
struct TileShares {
  static constexpr bool any = true;
  void *memory;
  unsigned *state;

  FLAME_DEVICE unsigned *flag(int block, int warp) const { return state + ShareState::first / 4 + block * ShareState::warps + warp; }
  /// Four sums of thread `thread` of `threads`; the next ones are `threads` further.
  template <typename Sum, int slotBytes> FLAME_DEVICE Pack<Sum, 4> *sums(int block, int thread) const {
    return (Pack<Sum, 4> *)((unsigned char *)memory + (long long)block * slotBytes) + thread;
  }

  /// By all threads that have the tile, each a whole warp's: leaves this block's sums. `thread`: this one's number among them.
  template <int slotBytes, int threads, typename Sum, int slices, int each>
  FLAME_DEVICE void leave(const Sum (&d)[slices][each], int thread) const {
    static_assert(each % 4 == 0 && slices * each * threads * (int)sizeof(Sum) == slotBytes, "a slot holds a tile");
    Pack<Sum, 4> *to = sums<Sum, slotBytes>(blockId(), thread);
#pragma unroll
    for (int i = 0; i < slices * each; i += 4) {
      const Sum *from = &d[i / each][i % each];
      to[i / 4 * threads] = {from[0], from[1], from[2], from[3]};
    }
    syncWarp();
    if (threadId() % 32 == 0)
      raiseFlag(flag(blockId(), thread / 32));
  }
  /// Adds what the threads of the same numbers in another block have left, when they have.
  template <int slotBytes, int threads, typename Sum, int slices, int each>
  FLAME_DEVICE void add(Sum (&d)[slices][each], int block, int thread) const {
    if (threadId() % 32 == 0) {
      unsigned *raised = flag(block, thread / 32);
      awaitFlag(raised);
      *raised = 0;
    }
    syncWarp();
    const Pack<Sum, 4> *from = sums<Sum, slotBytes>(block, thread);
#pragma unroll
    for (int i = 0; i < slices * each; i += 4) {
      const Pack<Sum, 4> other = readFresh(from + i / 4 * threads);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        d[i / each][i % each + j] += other.values[j];
    }
  }
};

} // namespace flame
