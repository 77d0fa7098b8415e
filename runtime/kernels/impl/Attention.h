//===- Attention.h - softmax(q k^T) v in one pass over the keys --------------------------------------------------===//
//
// After FlashAttention-2 (Dao, 2023). A block holds some rows of q; keys and values stream through shared memory. The
// weights of a step stay in registers between the two products; the result is scaled to the largest score so far, the
// row's peak, and divided by the sum of the weights at the end. Scores are in units of log 2 from the peak on. The peak
// follows the largest score only if it lags by more than `slack`, so that sums are rarely rescaled; weights are then
// larger than 1, but far from overflow.
//
// A row none of whose keys is visible becomes NaN, and so does one with a score of NaN or +inf: as softmax by its
// definition does.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreTile.h"
#include "pipeline/KeySplits.h"
#include "tile/Scores.h"

namespace flame {

/// With s.splits > 1, `sharedKeys.count` blocks, next to each other, share the keys of some queries; `head` is the number of theirs.
/// `logSums` takes the log-sum-exp of each row's scores.
template <AttentionSchedule s, Arithmetic type, typename Q, typename K, typename V, typename Scoring, typename Epilogue,
          typename LogSums = NoTotals>
FLAME_DEVICE void attention(AttentionProblem p, Q q, K k, V v, Scoring scoring, Epilogue epilogue, SharedKeys sharedKeys = {1},
                            int head = 0, LogSums logSums = {}) {
  constexpr int threads = s.threads(), warpRows = s.rows / s.warpRows, warpKeys = s.keys / s.warpKeys,
                tiles = warpRows / 16;
  constexpr int depthLine = s.line(s.depth), widthLine = s.line(s.width);
  constexpr int keyWidth = (K::major == Major::Depth ? depthLine : s.keys) * 2,
                valueWidth = (V::major == Major::Side ? widthLine : s.keys) * 2;
  constexpr float slack = 8;
  unsigned char *shared = dynamicShared(), *stages = shared + s.queryBytes();
  const unsigned blocks = (unsigned)((p.rows + s.rows - 1) / s.rows);
  // Rows with many keys first.
  const unsigned splits = s.splits > 1 ? (unsigned)sharedKeys.count : 1, tile = (unsigned)blockId() / splits % blocks;
  const int first = (int)(Scoring::hasLimit ? blocks - 1 - tile : tile) * s.rows;

  auto visible = [&](int row) { return visibleKeys(scoring, p, row); };
  const KeySpan span = keySpan(visible(first + s.rows - 1), p.keys, s.keys, (int)((unsigned)blockId() % splits), (int)splits);
  const int begin = span.key, end = least(begin + span.turns * s.keys, visible(first + s.rows - 1));

  auto fillKeys = [&](unsigned char *to, int key) {
    if constexpr (K::major == Major::Depth)
      k.template fill<s.keys, depthLine, threads>(to, key, 0, p.keys, p.depth);
    else
      k.template fill<s.depth, s.keys, threads>(to, 0, key, p.depth, p.keys);
  };
  auto fillValues = [&](unsigned char *to, int key) {
    if constexpr (V::major == Major::Side)
      v.template fill<s.keys, widthLine, threads>(to + s.keyBytes(), key, 0, p.keys, p.columns);
    else
      v.template fill<s.width, s.keys, threads>(to + s.keyBytes(), 0, key, p.columns, p.keys);
  };

  q.template fill<s.rows, depthLine, threads>(shared, first, 0, p.rows, p.depth);
  fillKeys(stages, begin);
  if constexpr (s.stages == 1)
    commitCopies();
  fillValues(stages, begin);
  commitCopies();

  const int warp = threadId() / 32, lane = threadId() % 32, part = warp % s.warpKeys;
  const int row = warp / s.warpKeys * warpRows, column = part * warpKeys;
  WarpTile<type, warpRows, s.width> result;
  float peak[tiles][2], total[tiles][2];
#pragma unroll
  for (int i = 0; i < tiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      peak[i][half] = lowest(), total[i][half] = 0;

  int reading = 0;
#pragma unroll 1
  for (int key = begin; key < end; key += s.keys) {
    const SharedAddress from = sharedAddress(stages) + reading * s.stageBytes();
    if constexpr (s.stages == 1) {
      if (key > begin) {
        syncBlock();
        fillKeys(stages, key);
        commitCopies();
        fillValues(stages, key);
        commitCopies();
      }
      waitCopies<1>();
      syncBlock();
    } else {
      waitCopies<0>();
      syncBlock();
      reading ^= 1;
      if (key + s.keys < end) {
        fillKeys(stages + reading * s.stageBytes(), key + s.keys);
        fillValues(stages + reading * s.stageBytes(), key + s.keys);
      }
      commitCopies();
    }

    WarpTile<type, warpRows, warpKeys> score;
    // Four steps are half a line's swizzle; more at once would fetch so far ahead that registers run out.
#pragma unroll 4
    for (int step = 0; step < s.depth / 16; ++step) {
      unsigned queries[tiles][4];
      score.template loadRows<Major::Depth, depthLine * 2>(queries, sharedAddress(shared), row, step);
      score.template accumulate<K::major, keyWidth>(queries, from, column, step);
    }

    // The body sees positions that exist, also where its result is of no use.
    const int firstRow = first + row + lane / 4, firstKey = key + column + lane % 4 * 2;
    const bool edge = key + s.keys > visible(first + row);
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int at = least(firstRow + 16 * i + e / 2 * 8, p.rows - 1);
#pragma unroll
        for (int j = 0; j < warpKeys / 8; ++j)
          score.sums[i][j][e] = scoring.body(at, least(firstKey + 8 * j + e % 2, p.keys - 1), score.sums[i][j][e]);
      }
    if (edge) {
#pragma unroll
      for (int i = 0; i < tiles; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int keys = (int)least(visible(firstRow + 16 * i + e / 2 * 8) - firstKey, s.keys);
#pragma unroll
          for (int j = 0; j < warpKeys / 8; ++j)
            score.sums[i][j][e] = 8 * j + e % 2 < keys ? score.sums[i][j][e] : lowest();
        }
    }

    float top[tiles][2];
    bool lags = false;
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = score.sums[i][0][2 * half];
#pragma unroll
        for (int j = 0; j < warpKeys / 8; ++j)
          most = fmaxf(most, fmaxf(score.sums[i][j][2 * half], score.sums[i][j][2 * half + 1]));
        most = fmaxf(most, shuffleXor(most, 1));
        most = fmaxf(most, shuffleXor(most, 2)) * scoring.scale;
        top[i][half] = most;
        lags |= most > peak[i][half] + slack;
      }
    if (anyLane(lags)) {
#pragma unroll
      for (int i = 0; i < tiles; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float raised = fmaxf(peak[i][half], top[i][half]);
          const float factor = raised == peak[i][half] ? 1.0f : exp2Fast(peak[i][half] - raised);
          peak[i][half] = raised;
          total[i][half] *= factor;
#pragma unroll
          for (int j = 0; j < s.width / 8; ++j) {
            result.sums[i][j][2 * half] *= factor;
            result.sums[i][j][2 * half + 1] *= factor;
          }
        }
    }
    if constexpr (s.stages == 1) {
      waitCopies<0>();
      syncBlock();
    }
    // Step by step, so that the weights of one are computed while those of another are multiplied.
#pragma unroll
    for (int step = 0; step < warpKeys / 16; ++step) {
      unsigned weights[tiles][4];
#pragma unroll
      for (int i = 0; i < tiles; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int half = e % 2;
          const float *pair = score.sums[i][2 * step + e / 2] + 2 * half;
          const float base = peak[i][half] == lowest() ? 0.0f : peak[i][half];
          const float low = exp2Fast(fmaf(pair[0], scoring.scale, -base)),
                      high = exp2Fast(fmaf(pair[1], scoring.scale, -base));
          total[i][half] += low + high;
          weights[i][e] = narrow<type>(low, high);
        }
      result.template accumulate<V::major, valueWidth>(weights, from + s.keyBytes(), 0, column / 16 + step);
    }
  }
  waitCopies<0>();
  syncBlock();

  float factor[tiles][2];
#pragma unroll
  for (int i = 0; i < tiles; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[i][half] += shuffleXor(total[i][half], 1);
      total[i][half] += shuffleXor(total[i][half], 2);
      factor[i][half] = splits > 1 ? 1.0f : inverse<Scoring::zeroesNaN>(total[i][half]);
    }
  float *slabs = (float *)shared + (warp - part) * (s.slabBytes() / 4);
  if constexpr (s.warpKeys > 1) {
    // The parts' peaks differ: all are scaled to the largest.
    auto *all = (Pack<float, 2> *)(shared + s.warpRows * s.warpKeys * s.slabBytes()) + (warp - part) * warpRows;
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        if (lane % 4 == 0)
          all[part * warpRows + 16 * i + 8 * half + lane / 4] = {peak[i][half], total[i][half]};
    syncBlock();
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto *own = all + 16 * i + 8 * half + lane / 4;
        float most = lowest(), sum = 0;
#pragma unroll
        for (int w = 0; w < s.warpKeys; ++w)
          most = fmaxf(most, own[w * warpRows].values[0]);
        const float base = most == lowest() ? 0.0f : most;
#pragma unroll
        for (int w = 0; w < s.warpKeys; ++w)
          sum += own[w * warpRows].values[1] * exp2Fast(own[w * warpRows].values[0] - base);
        factor[i][half] = exp2Fast(peak[i][half] - base) / (splits > 1 ? 1.0f : sum);
        if (Scoring::zeroesNaN && splits == 1 && !(sum > 0))
          factor[i][half] = 0;
        if (splits > 1 || LogSums::any)
          peak[i][half] = most, total[i][half] = sum;
      }
  }
#pragma unroll
  for (int i = 0; i < tiles; ++i)
#pragma unroll
    for (int j = 0; j < s.width / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        result.sums[i][j][e] = scaled<Scoring::zeroesNaN>(result.sums[i][j][e], factor[i][e / 2]);
  auto storeAll = [&](const auto &to) {
    storeTile<s.warpKeys, 16, s.slabPitch(), s.slabBytes() / 4>(result, slabs, part, first + row, 0, p.rows, p.columns, to);
  };
  if constexpr (s.splits > 1) {
    if (splits > 1) {
      const long long rows = (long long)head * p.rows;
      const int split = (int)((unsigned)blockId() % splits);
#pragma unroll
      for (int i = 0; i < tiles; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          if (const int at = first + row + 16 * i + 8 * half + lane / 4; part == 0 && lane % 4 == 0 && at < p.rows)
            *(Pack<float, 2> *)(sharedKeys.part<s.width>(rows + at, split) + s.width) = {peak[i][half], total[i][half]};
      storeAll(PartStore<s.width>{sharedKeys, rows, split});
      if (isLastPart(sharedKeys, (unsigned)blockId() / splits, (unsigned *)shared, [] { syncBlock(); }))
        joinParts<s.width, Scoring::zeroesNaN>(sharedKeys, rows, first, least(s.rows, p.rows - first), p.columns, threads, (float *)(shared + 128),
                           epilogue, logSums);
      return;
    }
  }
  if constexpr (LogSums::any) {
#pragma unroll
    for (int i = 0; i < tiles; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        if (const int at = first + row + 16 * i + 8 * half + lane / 4; part == 0 && lane % 4 == 0 && at < p.rows)
          logSums.body(at, logSum(peak[i][half], total[i][half]));
  }
  storeAll(epilogue);
}

} // namespace flame
