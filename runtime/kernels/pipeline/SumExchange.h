//===- SumExchange.h - sums of a tile that the blocks of a cluster have parts of ---------------------------------===//
//
// Each of `splits` blocks has summed up its part of the inner dim for a whole tile. Each stores a part of the columns, and
// gets the others' sums of those: every thread sends its own to the thread of the same number, which has the same places
// of the tile. Whoever sends writes to the receiver's shared memory, and a barrier there counts the bytes; the receivers
// tell when they have read, so that the next tile's sums may come. Of two products at once, a part has the same columns of both.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include "schedule/Schedule.h"
#include "tile/Bits.h"
#include "tile/Types.h"

namespace flame {

/// The other blocks' sums at `begin` (a multiple of 16), behind them the barriers.
template <WgmmaSchedule s, typename Sum, int products = 1> struct SumExchange {
  SharedAddress begin;

  static constexpr int threads = 128 * s.consumers, slices = s.groupRows() / 64, part = s.storedColumns() / 2,
                       each = part / products;
  static_assert(sizeof(Sum) == 4 && each % 4 == 0, "vectors of four sums");
  /// Of one sender.
  static constexpr int bytes = threads * slices * part * 4;

  FLAME_DEVICE SharedAddress received() const { return begin + (s.splits - 1) * bytes; }
  FLAME_DEVICE SharedAddress free() const { return received() + 8; }
  /// By one thread.
  FLAME_DEVICE void make() const {
    makeBarrier(received(), 1);
    makeBarrier(free(), (s.splits - 1) * threads / 32);
    fenceBarriers();
  }

  /// Where sum `i` of block `to` is among all.
  FLAME_DEVICE static constexpr int placeOf(int to, int i) { return i / each * each * s.splits + to * each + i % each; }

  /// By all threads that multiply. `own` gets this block's part of the columns of `d`, summed over the cluster, in the order
  /// of the blocks' numbers. `count`: 0 in the first call, kept for the next one.
  FLAME_DEVICE void add(const Sum (&d)[slices][part * s.splits], Sum (&own)[slices][part], int rank, int &count) const {
    const int thread = threadId();
    if (thread == 0)
      arriveExpecting(received(), (s.splits - 1) * bytes);
    // The others have read what came last time.
    await(free(), count ^ 1);
    // Registers have no index: each block's part is spelled out.
#pragma unroll
    for (int to = 0; to < s.splits; ++to) {
      if (to == rank) {
#pragma unroll
        for (int i = 0; i < slices * part; ++i)
          own[i / part][i % part] = d[i / part][placeOf(to, i % part)];
      } else {
        const int slot = rank < to ? rank : rank - 1;
        const SharedAddress there = clusterAddress(begin + slot * bytes + thread * 16, to), barrier = clusterAddress(received(), to);
#pragma unroll
        for (int i = 0; i < slices * part; i += 4) {
          const Sum *from = &d[i / part][placeOf(to, i % part)];
          sendShared(there + i / 4 * threads * 16, barrier, bitsOf(from[0]), bitsOf(from[1]), bitsOf(from[2]), bitsOf(from[3]));
        }
      }
    }
    await(received(), count);
    Sum sum[slices][part];
#pragma unroll
    for (int from = 0; from < s.splits; ++from) {
      const int slot = from < rank ? from : from - 1;
#pragma unroll
      for (int i = 0; i < slices * part; i += 4) {
        Pack<Sum, 4> other;
        if (from == rank)
          other = {own[i / part][i % part], own[i / part][i % part + 1], own[i / part][i % part + 2], own[i / part][i % part + 3]};
        else
          other = *(const Pack<Sum, 4> *)pointerTo(begin + slot * bytes + thread * 16 + i / 4 * threads * 16);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          Sum &to = sum[i / part][i % part + j];
          to = from == 0 ? other.values[j] : to + other.values[j];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < slices * part; ++i)
      own[i / part][i % part] = sum[i / part][i % part];
    syncWarp();
    if (thread % 32 < s.splits && thread % 32 != rank)
      arriveReleasing(free(), thread % 32);
    count ^= 1;
  }
};

} // namespace flame
