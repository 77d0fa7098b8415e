//===- KeySplits.h - blocks that share the keys of some queries ---------------------------------------------------===//
//
// A few queries over many keys are too few tiles for a GPU, and of many tiles those of the last round leave multiprocessors idle. So
// several blocks have one of these tiles, each an equal part of the keys that its rows see. Each leaves, for every row, the sums of values
// times weights, the peak that the weights are relative to, and their total; the block that comes last adds them up, in the order of the
// keys, so that results are the same in every run.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "ptx/Grid.h"
#include "schedule/Schedule.h"
#include "schedule/Team.h"
#include "tile/Scores.h"

namespace flame {

/// `count` blocks share a tile, each from tile number `whole` on; those before it have a block each. In `memory` lie the parts of each row, row
/// after row; a counter in `state` for each shared tile, of at most TicketState::tickets, is 0 before and after.
struct SharedKeys {
  int count;
  float *memory;
  unsigned *state;
  int whole = 0;

  /// Of row `row`, counted through all shared tiles.
  template <int width> FLAME_DEVICE float *part(long long row, int split) const {
    return memory + (row * count + split) * KeySharing::elements(width);
  }
};

/// The keys of one block: `turns` steps from `key` on.
struct KeySpan {
  int key, turns;
};
/// Part `split` of `count` of the steps of `step` keys that hold the first `visible` of `keys`. Where there are none, it is one
/// step that lies outside.
FLAME_DEVICE KeySpan keySpan(int visible, int keys, int step, int split, int count) {
  const int steps = (visible + step - 1) / step, share = (steps + count - 1) / count,
            turns = least(share, steps - split * share);
  return turns > 0 ? KeySpan{split * share * step, turns} : KeySpan{(keys + step - 1) / step * step, 1};
}

/// An epilogue that leaves a tile's sums as one of its parts; `first`: the number of row 0 through all shared tiles.
template <int columns> struct PartStore {
  static constexpr int width = 4;
  SharedKeys shared;
  long long first;
  int split;
  template <typename Index> FLAME_DEVICE void run(Index row, Index column, int, const float *sums) const {
    *(Pack<float, 4> *)(shared.part<columns>(first + row, split) + column) = *(const Pack<float, 4> *)sums;
  }
};

/// Whether this block is the last one of shared tile number `tile`, for all threads that `sync` is a barrier of; thread 0 is one of them. Then they
/// see what the others wrote. `flag`: a word of shared memory that nobody reads or writes meanwhile.
template <typename Sync>
FLAME_DEVICE bool isLastPart(const SharedKeys &shared, unsigned tile, unsigned *flag, Sync sync) {
  fenceDevice();
  sync();
  if (threadId() == 0) {
    unsigned *counter = shared.state + TicketState::first / 4 + tile;
    const bool last = addToState(counter) == (unsigned)shared.count - 1;
    if (last)
      *counter = 0;
    *flag = last;
  }
  sync();
  const bool last = *(const volatile unsigned *)flag;
  fenceDevice();
  return last;
}

/// By `threads` threads: adds up the parts of `rows` rows from `row` on and hands them to the epilogue, by way of shared memory from
/// `sums` on, 32 bytes a thread. `first` as above.
template <int width, bool zeroesNaN, typename Epilogue, typename Totals>
FLAME_DEVICE void joinParts(const SharedKeys &shared, long long first, int row, int rows, int columns, int threads, float *sums,
                            const Epilogue &epilogue, const Totals &totals) {
  constexpr int run = Epilogue::width, runs = width / run, line = KeySharing::elements(width);
  static_assert(width % run == 0 && run <= 8, "whole runs");
  auto *own = (Pack<float, run> *)sums + threadId();
#pragma unroll 1
  for (int i = threadId(); i < rows * runs; i += threads) {
    const int at = row + i / runs, column = i % runs * run;
    if (column >= columns)
      continue;
    const float *from = shared.part<width>(first + at, 0);
    float most = lowest();
#pragma unroll 4
    for (int split = 0; split < shared.count; ++split)
      most = fmaxf(most, from[split * line + width]);
    most = most == lowest() ? 0.0f : most;
    Pack<float, run> sum = {};
    float total = 0;
#pragma unroll 4
    for (int split = 0; split < shared.count; ++split) {
      const float *part = from + split * line;
      const float factor = exp2Fast(part[width] - most);
      total += part[width + 1] * factor;
#pragma unroll
      for (int e = 0; e < run; e += 2) {
        const auto pair = *(const Pack<float, 2> *)(part + column + e);
        sum.values[e] += pair.values[0] * factor;
        sum.values[e + 1] += pair.values[1] * factor;
      }
    }
    if constexpr (Totals::any)
      if (column == 0)
        totals.body(at, logSum(most, total));
    const float factor = inverse<zeroesNaN>(total);
#pragma unroll
    for (int e = 0; e < run; ++e)
      sum.values[e] = scaled<zeroesNaN>(sum.values[e], factor);
    *own = sum;
    epilogue.run(at, column, least(columns - column, run), own->values);
  }
}

} // namespace flame
