//===- Thin.h - products with a few rows, bound by reading the wide operand ---------------------------------------------===//
//
// The wide operand is read once, 16 bytes a thread where it is aligned, and kept in registers; what the rows need of
// the thin operand comes from the first-level cache. Sums are f32 (or the type's own). Two products of the same rows read two wide
// operands, and have a sum of each for an element. Where no kernel of a run writes the wide operand, its first vectors are asked for
// before the kernels before this one have ended.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "pipeline/Operand.h"
#include "ptx/Convert.h"

namespace flame {

/// Elements i of the inner dim, of row r, of the thin operand.
template <typename T, typename Index> struct ThinRows {
  const T *data;
  Index rowPitch, depthPitch;
};

/// `count` elements from `from` on, of which the first `valid` exist.
template <typename T, int count> FLAME_DEVICE Pack<T, count> loadVector(const T *from, int valid, bool aligned) {
  if (aligned && valid >= count)
    return *(const Pack<T, count> *)from;
  Pack<T, count> values;
#pragma unroll
  for (int e = 0; e < count; ++e)
    values.values[e] = e < valid ? from[e] : T(0);
  return values;
}

/// The kernels before this one have ended; the next one may start.
FLAME_DEVICE void beginThin() {
  awaitProducers();
  releaseDependents();
}

/// Calls epilogue.one(row, column, sums…) with the result's own (row, column), or swapped if the wide operand is x.
template <bool swapped, int products, typename Index, typename Epilogue>
FLAME_DEVICE void storeThin(const Epilogue &epilogue, int row, Index column, const float (&sums)[products]) {
  static_assert(products == 1 || !swapped, "x is what two products share");
  if constexpr (products == 2)
    epilogue.one((Index)row, column, sums[0], sums[1]);
  else if constexpr (swapped)
    epilogue.one(column, (Index)row, sums[0]);
  else
    epilogue.one((Index)row, column, sums[0]);
}

/// Adds the products of a vector by those of some lines.
template <Arithmetic type, int lines, typename T, int count>
FLAME_DEVICE void addProducts(float (&sums)[lines], const Pack<T, count> &thin, const Pack<T, count> (&wide)[lines]) {
#pragma unroll
  for (int e = 0; e < count; ++e)
#pragma unroll
    for (int c = 0; c < lines; ++c)
      sums[c] += widen<type>(thin.values[e]) * widen<type>(wide[c].values[e]);
}

/// The wide operand along the inner dim: a warp's lanes take 16 bytes each of `lines` of its lines.
template <ThinSchedule s, Arithmetic type, bool swapped, typename Index, typename T, typename Wide, typename Epilogue>
FLAME_DEVICE void thinAlong(Problem<Index> p, ThinRows<T, Index> x, Wide y, Epilogue epilogue, unsigned blocks) {
  constexpr int count = 16 / (int)sizeof(T), products = productsOf<Wide>, lines = products * s.lines;
  const int lane = threadId() % 32;
  const Index first = ((Index)((unsigned)blockId() % blocks) * 8 + threadId() / 32) * s.lines;
  if (first >= p.columns) {
    beginThin();
    return;
  }
  const bool aligned = y.isVectorAligned();
  const bool xAligned = x.depthPitch == 1 &&
                        (((unsigned long long)x.data | (unsigned long long)(x.rowPitch * (Index)sizeof(T))) & 15) == 0;
  float sums[s.rows][lines] = {};
  // Of one product after the other.
  auto lineOf = [&](int c) { return y.lineOf(c / s.lines, least(first + c % s.lines, p.columns - 1)); };
  Index k = lane * count;
  // Several loads under way in each lane, while whole vectors are left for all of them.
  constexpr int ahead = 4;
  Pack<T, count> vectors[ahead][lines];
  auto isWhole = [&] { return aligned && xAligned && k + (ahead - 1) * 32 * count + count <= p.depth; };
  auto fetch = [&] {
#pragma unroll
    for (int a = 0; a < ahead; ++a)
#pragma unroll
      for (int c = 0; c < lines; ++c)
        vectors[a][c] = *(const Pack<T, count> *)(lineOf(c) + k + a * 32 * count);
  };
  auto multiply = [&] {
#pragma unroll
    for (int a = 0; a < ahead; ++a)
#pragma unroll
      for (int r = 0; r < s.rows; ++r) {
        if (r >= p.rows)
          break;
        addProducts<type>(sums[r], *(const Pack<T, count> *)(x.data + r * x.rowPitch + k + a * 32 * count), vectors[a]);
      }
    k += ahead * 32 * count;
  };
  const bool isEarly = Wide::early && isWhole();
  if (isEarly)
    fetch();
  beginThin();
  if (isEarly)
    multiply();
#pragma unroll 1
  while (isWhole()) {
    fetch();
    multiply();
  }
#pragma unroll 1
  for (; k < p.depth; k += 32 * count) {
    const int valid = (int)least(p.depth - k, (Index)count);
    Pack<T, count> wide[lines];
#pragma unroll
    for (int c = 0; c < lines; ++c)
      wide[c] = loadVector<T, count>(lineOf(c) + k, valid, aligned);
#pragma unroll
    for (int r = 0; r < s.rows; ++r) {
      if (r >= p.rows)
        break;
      const T *row = x.data + r * x.rowPitch;
      Pack<T, count> thin;
      if (xAligned && valid == count) {
        thin = *(const Pack<T, count> *)(row + k);
      } else {
#pragma unroll
        for (int e = 0; e < count; ++e)
          thin.values[e] = e < valid ? row[(k + e) * x.depthPitch] : T(0);
      }
      addProducts<type>(sums[r], thin, wide);
    }
  }
#pragma unroll
  for (int r = 0; r < s.rows; ++r)
#pragma unroll
    for (int c = 0; c < s.lines; ++c) {
      float sum[products];
#pragma unroll
      for (int product = 0; product < products; ++product) {
        sum[product] = sums[r][product * s.lines + c];
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2)
          sum[product] += shuffleXor(sum[product], mask);
      }
      // Every lane has the sum; another lane stores each.
      if (lane == (r * s.lines + c) % 32 && r < p.rows && first + c < p.columns)
        storeThin<swapped, products>(epilogue, r, first + c, sum);
    }
}

/// The wide operand along the columns: the lanes of a warp cover `lines` vectors of columns and 32 / lines positions of
/// the inner dim; warps take turns at the inner dim and add up in shared memory.
template <ThinSchedule s, Arithmetic type, bool swapped, typename Index, typename T, typename Wide, typename Epilogue>
FLAME_DEVICE void thinAcross(Problem<Index> p, ThinRows<T, Index> x, Wide y, Epilogue epilogue, unsigned blocks) {
  constexpr int count = 16 / (int)sizeof(T), columns = s.lines * count, depths = 32 / s.lines, products = productsOf<Wide>;
  const int lane = threadId() % 32, warp = threadId() / 32, vector = lane % s.lines;
  const Index first = (Index)((unsigned)blockId() % blocks) * columns, column = first + vector * count;
  const int valid = (int)least(p.columns - column < 0 ? (Index)0 : p.columns - column, (Index)count);
  const bool whole = y.isVectorAligned() && valid >= count;
  float sums[s.rows][products][count] = {};
  auto add = [&](Index k, const Pack<T, count> (&wide)[products]) {
#pragma unroll
    for (int r = 0; r < s.rows; ++r) {
      if (r >= p.rows)
        break;
      const float thin = widen<type>(x.data[r * x.rowPitch + k * x.depthPitch]);
#pragma unroll
      for (int product = 0; product < products; ++product)
#pragma unroll
        for (int e = 0; e < count; ++e)
          sums[r][product][e] += thin * widen<type>(wide[product].values[e]);
    }
  };
  const Index begin = warp * depths + lane / s.lines;
  const Index from = valid > 0 ? column : 0;
  beginThin();
  if (whole) {
#pragma unroll 4
    for (Index k = begin; k < p.depth; k += 8 * depths) {
      Pack<T, count> wide[products];
#pragma unroll
      for (int product = 0; product < products; ++product)
        wide[product] = *(const Pack<T, count> *)(y.lineOf(product, k) + from);
      add(k, wide);
    }
  } else {
#pragma unroll 1
    for (Index k = begin; k < p.depth; k += 8 * depths) {
      Pack<T, count> wide[products];
#pragma unroll
      for (int product = 0; product < products; ++product)
        wide[product] = loadVector<T, count>(y.lineOf(product, k) + from, valid, false);
      add(k, wide);
    }
  }
  float *partial = (float *)dynamicShared();
#pragma unroll
  for (int r = 0; r < s.rows; ++r)
#pragma unroll
    for (int product = 0; product < products; ++product)
#pragma unroll
      for (int e = 0; e < count; ++e) {
        float sum = sums[r][product][e];
#pragma unroll
        for (int mask = 16; mask >= s.lines; mask /= 2)
          sum += shuffleXor(sum, mask);
        if (lane < s.lines)
          partial[((warp * s.rows + r) * products + product) * columns + vector * count + e] = sum;
      }
  syncBlock();
  for (int i = threadId(); i < s.rows * columns; i += 256) {
    const int r = i / columns;
    float sum[products] = {};
#pragma unroll
    for (int w = 0; w < 8; ++w)
#pragma unroll
      for (int product = 0; product < products; ++product)
        sum[product] += partial[((w * s.rows + r) * products + product) * columns + i % columns];
    const Index c = first + i % columns;
    if (r < p.rows && c < p.columns)
      storeThin<swapped, products>(epilogue, r, c, sum);
  }
}

} // namespace flame
