//===- WgmmaAttention.h - softmax(q k^T) v by wgmma ---------------------------------------------------------------===//
//
// After FlashAttention-3 (Shah et al., 2024). As in WgmmaGemm.h blocks stay and take tile after tile, and one thread of each
// asks the copy engine for queries, keys and values ahead of the warpgroups that multiply. Each of these has 64 queries.
// It starts the scores of a step of keys before the products of the last step's weights with their values, and turns scores
// into weights while the latter run. Weights never leave registers. Warpgroups start their products one after another, so
// that one computes weights while another multiplies.
//
// A tile whose keys some blocks share is a tile as often, each with a part of the keys (pipeline/KeySplits.h). These are the last ones, so that
// the last round is as full as the others.
//
// Scores, their limits and rows that see nothing are as in Attention.h. Operands are tensor maps of rank 5 with the boxes of
// TensorTile: contiguous dim, lines, and three dims of the batch from the inside out. Queries and keys may be floats of 8 bits; weights and
// values are of 16.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreGroup.h"
#include "pipeline/KeySplits.h"
#include "pipeline/Ring.h"
#include "pipeline/TensorTile.h"
#include "ptx/Grid.h"
#include "ptx/WgmmaPairs.h"
#include "schedule/WgmmaAttention.h"
#include "tile/Raster.h"
#include "tile/Scores.h"

namespace flame {

/// Heads: dims of the batch from the inside out.
struct Heads {
  int inner, middle, outer;
};
/// An operand; its step is 0 in dims of the batch that it is broadcast along.
struct HeadOperand {
  const TensorMap &map;
  Heads steps;
};

/// Where rows see different numbers of keys, blocks take the next tile when they have done one: `state` is its number, 0 before
/// and after. Otherwise it is not looked at.
///
/// `makeScoring(batch)` and `makeEpilogue(batch)` give Scores and the epilogue of one of the heads. `makeJoined` gives one for blocks
/// that share keys, which stores by itself. `logSums` takes the log-sum-exp of each row's scores, of the head that `makeScoring` was called
/// for last. `keyType`: of queries and keys.
template <WgmmaAttentionSchedule s, Arithmetic type, Major kMajor, Major vMajor, Arithmetic keyType = type, typename MakeScoring,
          typename MakeEpilogue, typename MakeJoined = MakeEpilogue, typename LogSums = NoTotals>
FLAME_DEVICE void wgmmaAttention(AttentionProblem p, Heads heads, HeadOperand q, HeadOperand k, HeadOperand v, unsigned *state,
                                 MakeScoring makeScoring, MakeEpilogue makeEpilogue, SharedKeys sharedKeys, MakeJoined makeJoined,
                                 LogSums logSums = {}) {
  constexpr int element = sizeOf(keyType), wholeDepth = s.depthLines(element) * s.lineBytes / element;
  static_assert(s.isValid(kMajor, vMajor, element) && sizeOf(type) == 2, "no such schedule");
  using Queries = TensorTile<keyType, Major::Depth, s.rows, wholeDepth, 1>;
  using Keys = TensorTile<keyType, kMajor, s.keys, kMajor == Major::Depth ? wholeDepth : s.depth, 1>;
  using Values = TensorTile<type, vMajor, s.width, s.keys, 1>;
  static_assert(Queries::bytes == s.queryBytes(element) && Keys::bytes == s.keyBytes(kMajor, element) &&
                    Values::bytes == s.valueBytes(vMajor),
                "the launch's shared memory");
  using Scoring = decltype(makeScoring(0));
  constexpr int consumers = s.consumers(), parts = s.parts();
  constexpr bool takesTurns = consumers > 1;
  // Weights stay below 2^14, f16's largest power of two but one, and sums of them far from overflow.
  constexpr float slack = 8, most = 16384;
  // The first step's peak serves until weights grow too large; looking for that takes registers that wide heads lack.
  constexpr bool keepsPeak = s.partWidth() <= 128;
  // What follows when they did is what follows anyway, once more: half of the instructions for the compiler. A loop takes registers, too,
  // that three warpgroups lack.
  constexpr bool loopsBack = consumers < 3;

  const SharedAddress queries = swizzledShared(), keys = queries + Queries::bytes, values = keys + s.stages * Keys::bytes,
                      slabs = values + s.stages * Values::bytes,
                      barriers = slabs + 4 * consumers * s.slabs * s.slabBytes;
  const Ring<s.stages> keyRing{barriers}, valueRing{barriers + s.stages * s.barrierBytes};
  const Ring<1> queryRing{barriers + 2 * s.stages * s.barrierBytes};
  // The tile that the producer is at, visible together with its queries.
  unsigned *const shownTile = (unsigned *)pointerTo(barriers + (2 * s.stages + 1) * s.barrierBytes);
  constexpr bool asksForTiles = Scoring::hasLimit;
  const int group = uniform(threadId() / 128);
  if (threadId() == 0) {
    prefetchMap(q.map);
    prefetchMap(k.map);
    prefetchMap(v.map);
    keyRing.make(4 * consumers);
    valueRing.make(4 * consumers);
    queryRing.make(4 * consumers);
  }
  syncBlock();
  awaitProducers();

  // Blocks of one head are under way at the same time and share its keys. Where rows see different numbers of keys, those
  // that see most come first, of as many heads as the second-level cache holds.
  constexpr unsigned cacheBytes = 24 << 20;
  const unsigned batches = (unsigned)(heads.inner * heads.middle * heads.outer),
                 down = (unsigned)((p.rows + s.rows - 1) / s.rows);
  const unsigned band = Scoring::hasLimit ? cacheBytes / ((unsigned)least(p.keys, 1 << 16) * (element * s.depth + 2 * s.width) + 1) : 0;
  const Raster raster{batches, down, band == 0 ? 1 : band};
  // Tiles as blocks count them: those before `whole`, then the parts of the others.
  const unsigned splits = s.splits > 1 ? (unsigned)sharedKeys.count : 1, whole = s.splits > 1 ? (unsigned)sharedKeys.whole : 0,
                 tiles = whole + (batches * down - whole) * splits;
  struct Part {
    unsigned tile, split, count;
  };
  auto partOf = [&](unsigned tile) {
    if (s.splits == 1 || tile < whole)
      return Part{tile, 0, 1};
    return Part{whole + (tile - whole) / splits, (tile - whole) % splits, splits};
  };
  auto rowOf = [&](const Raster::Place &at) {
    return (Scoring::hasLimit ? (int)down - 1 - at.column : at.column) * s.rows;
  };
  auto spanOf = [&](int row, int batch, const Part &part) {
    return keySpan(visibleKeys(makeScoring(batch), p, row + s.rows - 1), p.keys, s.keys, (int)part.split, (int)part.count);
  };
  auto place = [&](const Heads &steps, int batch, int(&at)[3]) {
    at[0] = batch % heads.inner * steps.inner;
    at[1] = batch / heads.inner % heads.middle * steps.middle;
    at[2] = batch / heads.inner / heads.middle * steps.outer;
  };

  if (group == consumers) {
    if constexpr (s.copyRegisters() > 0)
      giveRegisters<s.copyRegisters()>();
    if (threadId() % 128 < 32 && isElected()) {
      RingPlace<s.stages> keyPlace, valuePlace;
      RingPlace<1> queryPlace;
      auto bringValues = [&](int key, const int(&at)[3]) {
        const SharedAddress full = valueRing.full(valuePlace.stage);
        await(valueRing.empty(valuePlace.stage), valuePlace.parity ^ 1);
        arriveExpecting(full, Values::bytes);
        Values::load(v.map, values + valuePlace.stage * Values::bytes, full, 0, key, at, 0);
        valuePlace.next();
      };
#pragma unroll 1
      for (unsigned tile = (unsigned)blockId();;) {
        if constexpr (asksForTiles) {
          await(queryRing.empty(0), queryPlace.parity ^ 1);
          *shownTile = tile;
          if (tile >= tiles) {
            arrive(queryRing.full(0));
            break;
          }
        } else if (tile >= tiles) {
          break;
        }
        const Part part = partOf(tile);
        const auto at = raster(part.tile);
        unsigned taken = 0;
        if constexpr (asksForTiles)
          taken = addToState(state); // comes while this tile is copied
        else
          await(queryRing.empty(0), queryPlace.parity ^ 1);
        const KeySpan span = spanOf(rowOf(at), at.row, part);
        int place3[3], valueAt[3];
        place(q.steps, at.row, place3);
        arriveExpecting(queryRing.full(0), Queries::bytes);
        Queries::load(q.map, queries, queryRing.full(0), rowOf(at), 0, place3, 0);
        queryPlace.next();
        place(k.steps, at.row, place3);
        place(v.steps, at.row, valueAt);
#pragma unroll 1
        for (int turn = 0; turn < span.turns; ++turn) {
          const int key = span.key + turn * s.keys;
          const SharedAddress full = keyRing.full(keyPlace.stage);
          await(keyRing.empty(keyPlace.stage), keyPlace.parity ^ 1);
          arriveExpecting(full, Keys::bytes);
          Keys::load(k.map, keys + keyPlace.stage * Keys::bytes, full, key, 0, place3, 0);
          keyPlace.next();
          if (turn > 0)
            bringValues(key - s.keys, valueAt);
        }
        bringValues(span.key + (span.turns - 1) * s.keys, valueAt);
        tile = asksForTiles ? (unsigned)gridSize() + taken : tile + (unsigned)gridSize();
        // Each block asks until there is none: as often, in all, as there are tiles.
        if (asksForTiles && taken == tiles - 1)
          *state = 0;
      }
      releaseDependents();
    }
  } else {
    if constexpr (s.multiplyRegisters() > 0)
      takeRegisters<s.multiplyRegisters()>();
    const int lane = threadId() % 32, groupRow = group / parts * 64, groupColumn = group % parts * s.partWidth(),
              inTile = groupRow + threadId() % 128 / 32 * 16;
    auto release = [&](SharedAddress empty) {
      if (lane == 0)
        arrive(empty);
    };
    RingPlace<s.stages> keyPlace, valuePlace;
    RingPlace<1> queryPlace;
    // The first turn is the first warpgroup's.
    if (takesTurns && group == 0)
      arriveThreads(1, 256);
#pragma unroll 1
    for (unsigned tile = (unsigned)blockId();; tile += (unsigned)gridSize()) {
      if constexpr (asksForTiles) {
        await(queryRing.full(0), queryPlace.parity);
        // Read by the lane that lets the producer overwrite it: its arrival comes after its own read.
        tile = shuffle(lane == 0 ? *(const volatile unsigned *)shownTile : 0u, 0);
      }
      if (tile >= tiles)
        break;
      const Part part = partOf(tile);
      const auto at = raster(part.tile);
      const auto scoring = makeScoring(at.row);
      const int first = rowOf(at), row = first + inTile + lane / 4;
      const KeySpan span = spanOf(first, at.row, part);
      const int origin = s.splits > 1 ? span.key : 0, turns = span.turns;
      // Keys that all rows of this warpgroup see.
      const int seen = visibleKeys(scoring, p, first + groupRow);
      float score[s.keys / 2], result[s.partWidth() / 2], peak[2] = {lowest(), lowest()}, total[2] = {0, 0}, factor[2];
      unsigned weights[s.keys / 16][4];

      constexpr int keySteps = s.depth * element / s.stepBytes;
      auto multiplyKeys = [&] {
        const unsigned long long x = Queries::matrix(queries, groupRow),
                                 y = Keys::matrix(keys + keyPlace.stage * Keys::bytes, 0);
        fenceProducts();
#pragma unroll
        for (int step = 0; step + 1 < keySteps; step += 2)
          multiplyGroup<keyType, false, kMajor == Major::Side>(score, x + Queries::further(step), y + Keys::further(step),
                                                               x + Queries::further(step + 1), y + Keys::further(step + 1), step > 0);
        if constexpr (constexpr int last = keySteps - 1; last % 2 == 0)
          multiplyGroup<keyType, false, kMajor == Major::Side>(score, x + Queries::further(last), y + Keys::further(last), last > 0);
        commitProducts();
      };
      auto multiplyValues = [&](bool add) {
        const unsigned long long y = Values::matrix(values + valuePlace.stage * Values::bytes, groupColumn);
        fenceProducts();
#pragma unroll
        for (int step = 0; step + 1 < s.keys / 16; step += 2)
          multiplyGroup<type, vMajor == Major::Side>(result, weights[step], y + Values::further(step), weights[step + 1],
                                                     y + Values::further(step + 1), add || step > 0);
        if constexpr (constexpr int last = s.keys / 16 - 1; last % 2 == 0)
          multiplyGroup<type, vMajor == Major::Side>(result, weights[last], y + Values::further(last), add || last > 0);
        commitProducts();
      };
      // From the products of the keys from `key` on to scores.
      auto prepare = [&](int key) {
        const int column = key + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < s.keys / 2; ++i)
          score[i] = scoring.body(least(row + i / 2 % 2 * 8, p.rows - 1), least(column + i / 4 * 8 + i % 2, p.keys - 1),
                                  score[i]);
        if (key + s.keys > seen) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int visible = visibleKeys(scoring, p, row + 8 * half) - column;
#pragma unroll
            for (int i = 2 * half; i < s.keys / 2; i += 4) {
              score[i] = i / 4 * 8 < visible ? score[i] : lowest();
              score[i + 1] = i / 4 * 8 + 1 < visible ? score[i + 1] : lowest();
            }
          }
        }
      };
      // From scores to weights, still f32; their sums.
      auto raise = [&](float(&sum)[2]) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float base = peak[half] == lowest() ? 0.0f : peak[half];
          sum[half] = 0;
#pragma unroll
          for (int i = 2 * half; i < s.keys / 2; i += 4) {
            score[i] = exp2Fast(fmaf(score[i], scoring.scale, -base));
            score[i + 1] = exp2Fast(fmaf(score[i + 1], scoring.scale, -base));
            sum[half] += score[i] + score[i + 1];
          }
        }
      };
      // Peaks as high as the scores are, where one lags. True if they rose in any row of the warp: what was added up before is
      // to be multiplied by `factor`, as the totals are here.
      auto lift = [&] {
        bool lags = false;
        float top[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float largest = fmaxf(score[2 * half], score[2 * half + 1]);
#pragma unroll
          for (int i = 4 + 2 * half; i < s.keys / 2; i += 4)
            largest = fmaxf(largest, fmaxf(score[i], score[i + 1]));
          largest = fmaxf(largest, shuffleXor(largest, 1));
          top[half] = fmaxf(largest, shuffleXor(largest, 2)) * scoring.scale;
          lags |= top[half] > peak[half] + slack;
        }
        lags = anyLane(lags);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float raised = lags ? fmaxf(peak[half], top[half]) : peak[half];
          factor[half] = raised == peak[half] ? 1.0f : exp2Fast(peak[half] - raised);
          peak[half] = raised;
          total[half] *= factor[half];
        }
        return lags;
      };
      // From products to weights.
      auto weigh = [&](int key) {
        prepare(key);
        const bool lags = lift();
        float sum[2];
        raise(sum);
        total[0] += sum[0];
        total[1] += sum[1];
        return lags;
      };
      // To the new peaks.
      auto rescale = [&] {
#pragma unroll
        for (int i = 0; i < s.partWidth() / 2; ++i)
          result[i] *= factor[i / 2 % 2];
      };
      // Sums of a product lie as the rows of the next one do.
      auto round = [&] {
        pin(score);
#pragma unroll
        for (int step = 0; step < s.keys / 16; ++step)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            weights[step][e] = narrow<type>(score[8 * step + 2 * e], score[8 * step + 2 * e + 1]);
      };

      await(queryRing.full(0), queryPlace.parity);
      await(keyRing.full(keyPlace.stage), keyPlace.parity);
      multiplyKeys();
      waitProducts<0>();
      pin(score);
      release(keyRing.empty(keyPlace.stage));
      keyPlace.next();
      weigh(origin);
      round();
      await(valueRing.full(valuePlace.stage), valuePlace.parity);
#pragma unroll 1
      for (int turn = 1; turn < turns; ++turn) {
        await(keyRing.full(keyPlace.stage), keyPlace.parity);
        if constexpr (takesTurns)
          syncThreads(1 + group, 256);
        multiplyKeys();
        multiplyValues(turn > 1);
        if constexpr (takesTurns)
          arriveThreads(group + 1 == consumers ? 1 : group + 2, 256);
        waitProducts<1>();
        pin(score);
        bool lags = false;
        const int key = origin + turn * s.keys;
        if constexpr (keepsPeak) {
          // By the old peaks, without a look at the largest score. Where that was wrong the products are done again, by the
          // whole warpgroup.
          float sum[2];
          auto misfits = [&] {
            const bool fits = sum[0] <= most && sum[1] <= most && peak[0] != lowest() && peak[1] != lowest();
            return syncThreadsAny(1 + 2 * consumers + group, 128, !fits);
          };
          auto multiplyAgain = [&] {
            waitProducts<0>();
            pin(result);
            multiplyKeys();
            waitProducts<0>();
            pin(score);
          };
          if constexpr (loopsBack) {
#pragma unroll 1
            for (bool again = false;; again = true) {
              prepare(key);
              if (again)
                lags = lift();
              raise(sum);
              pin(score);
              if (again || !misfits())
                break;
              multiplyAgain();
            }
          } else {
            prepare(key);
            raise(sum);
            pin(score);
            if (misfits()) {
              multiplyAgain();
              prepare(key);
              lags = lift();
              raise(sum);
            }
          }
          total[0] += sum[0];
          total[1] += sum[1];
        } else {
          lags = weigh(key);
        }
        release(keyRing.empty(keyPlace.stage));
        keyPlace.next();
        pin(score);
        // The next values must come some time. That they are awaited here keeps ptxas from waiting for the products before it
        // computes the weights: it moves no instruction past a loop.
        const SharedAddress used = valueRing.empty(valuePlace.stage);
        valuePlace.next();
        await(valueRing.full(valuePlace.stage), valuePlace.parity);
        waitProducts<0>();
        pin(result);
        release(used);
        round();
        if (lags)
          rescale();
      }
      // The queries, and with them the tile's number, may go, unless the results need their place.
      if constexpr (s.slabs > 0)
        release(queryRing.empty(0));
      multiplyValues(turns > 1);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        total[half] += shuffleXor(total[half], 1);
        total[half] += shuffleXor(total[half], 2);
        factor[half] = inverse<Scoring::zeroesNaN>(total[half]);
      }
      waitProducts<0>();
      pin(result);
      release(valueRing.empty(valuePlace.stage));
      valuePlace.next();
      if constexpr (s.splits > 1) {
        if (part.count > 1) {
          const unsigned shared = part.tile - whole;
          const long long rows = (long long)shared * s.rows - first;
#pragma unroll
          for (int half = 0; half < 2; ++half)
            if (row + 8 * half < p.rows) {
              float *own = sharedKeys.part<s.width>(rows + row + 8 * half, (int)part.split);
#pragma unroll
              for (int i = 2 * half; i < s.width / 2; i += 4)
                *(Pack<float, 2> *)(own + i / 4 * 8 + lane % 4 * 2) = {result[i], result[i + 1]};
              if (lane % 4 == 0)
                *(Pack<float, 2> *)(own + s.width) = {peak[half], total[half]};
            }
          auto sync = [] { syncThreads(1 + 3 * consumers, 128 * consumers); };
          // The tile before may yet be read out of the slabs.
          waitStoresRead<0>();
          if (isLastPart(sharedKeys, shared, shownTile + 1, sync))
            joinParts<s.width, Scoring::zeroesNaN>(sharedKeys, rows, first, least(s.rows, p.rows - first), p.columns, 128 * consumers,
                               (float *)pointerTo(slabs), makeJoined(at.row), logSums);
          queryPlace.next();
          continue;
        }
      }
      if constexpr (LogSums::any)
        if (group % parts == 0 && lane % 4 == 0) {
#pragma unroll
          for (int half = 0; half < 2; ++half)
            if (row + 8 * half < p.rows)
              logSums.body(row + 8 * half, logSum(peak[half], total[half]));
        }
#pragma unroll
      for (int i = 0; i < s.partWidth() / 2; ++i)
        result[i] = scaled<Scoring::zeroesNaN>(result[i], factor[i / 2 % 2]);

      int resultAt[3];
      place({1, 1, 1}, at.row, resultAt);
      const auto epilogue = makeEpilogue(at.row);
      const Problem<int> sizes{p.rows, p.columns, 0};
      if constexpr (s.slabs > 0) {
        storeGroup<s.slabs, s.slabBytes>(result, slabs + threadId() / 32 * s.slabs * s.slabBytes, first + inTile,
                                         groupColumn, resultAt, sizes, epilogue);
      } else {
        // The lines of a warp's 16 queries in each box are a slab. Other warps of the group might yet read them.
        syncThreads(1 + consumers + group, 128);
        constexpr int boxes = isTensorStore<decltype(makeEpilogue(0))> ? Queries::boxes : 1;
        storeGroup<boxes, Queries::boxBytes>(result, queries + inTile * s.lineBytes, first + inTile, 0, resultAt, sizes,
                                             epilogue);
        if constexpr (boxes == 1)
          fenceShared();
        if (lane == 0)
          waitStoresRead<0>();
        syncWarp();
        release(queryRing.empty(0));
      }
      queryPlace.next();
    }
    waitStoresRead<0>();
  }
}

/// Where each tile has all of its keys.
template <WgmmaAttentionSchedule s, Arithmetic type, Major kMajor, Major vMajor, Arithmetic keyType = type, typename MakeScoring,
          typename MakeEpilogue>
FLAME_DEVICE void wgmmaAttention(AttentionProblem p, Heads heads, HeadOperand q, HeadOperand k, HeadOperand v, unsigned *state,
                                 MakeScoring makeScoring, MakeEpilogue makeEpilogue) {
  static_assert(s.splits == 1, "they need memory");
  wgmmaAttention<s, type, kMajor, vMajor, keyType>(p, heads, q, k, v, state, makeScoring, makeEpilogue, SharedKeys{}, makeEpilogue);
}

} // namespace flame
