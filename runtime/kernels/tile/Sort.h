//===- Sort.h - bitonic sorting of keys and positions
//--------------------------------------------------------------===//
//
// Batcher's bitonic network: sorted runs of `size` elements come from runs of size / 2, odd ones in falling order, by
// exchanges at the distances size / 2, …, 2, 1. Distances within a warp's elements are done in registers, by
// exchanges between lanes below 32; larger ones in shared memory.
//
// What is sorted are pairs of a key and a position: no two are equal, so the order of equal keys is that of
// their positions, whatever the network does.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/TopK.h"

namespace flame {

/// The integer that holds a key and its position, by its bytes. `last` comes after every pair.
template <int bytes> struct PairOf;
template <> struct PairOf<4> {
  using Type = unsigned;
  static FLAME_DEVICE Type make(unsigned key, long long position) { return key << 16 | (unsigned)position; }
  static FLAME_DEVICE long long position(Type pair) { return pair & 0xffffu; }
  static FLAME_DEVICE Type last() { return ~0u; }
};
template <> struct PairOf<8> {
  using Type = unsigned long long;
  static FLAME_DEVICE Type make(unsigned key, long long position) { return (Type)key << 32 | (unsigned)position; }
  static FLAME_DEVICE long long position(Type pair) { return (unsigned)pair; }
  static FLAME_DEVICE Type last() { return ~0ull; }
};
struct alignas(16) WidePair {
  unsigned long long key, position;
};
FLAME_DEVICE bool operator<(WidePair x, WidePair y) {
  return x.key < y.key || (x.key == y.key && x.position < y.position);
}
FLAME_DEVICE WidePair shuffleXor(WidePair pair, int mask) {
  return {shuffleXor(pair.key, mask), shuffleXor(pair.position, mask)};
}
template <> struct PairOf<16> {
  using Type = WidePair;
  static FLAME_DEVICE Type make(unsigned long long key, long long position) {
    return {key, (unsigned long long)position};
  }
  static FLAME_DEVICE long long position(Type pair) { return (long long)pair.position; }
  static FLAME_DEVICE Type last() { return {~0ull, ~0ull}; }
};

/// Puts two in order.
template <typename Pair> FLAME_DEVICE void exchange(Pair &first, Pair &second, bool rising) {
  if ((second < first) == rising) {
    const Pair kept = first;
    first = second;
    second = kept;
  }
}

/// The steps towards runs of `size` that stay within a warp's elements, of which element e of lane l has place
/// first + 32 e + l.
template <int each, typename Pair> FLAME_DEVICE void mergeInWarp(Pair (&own)[each], int first, int lane, int size) {
#pragma unroll
  for (int half = each / 2; half > 0; half /= 2)
    if (32 * half < size) {
#pragma unroll
      for (int e = 0; e < each; ++e)
        if ((e & half) == 0)
          exchange(own[e], own[e | half], ((first + 32 * e) & size) == 0);
    }
#pragma unroll 1
  for (int distance = size < 32 ? size / 2 : 16; distance > 0; distance /= 2) {
    const bool before = (lane & distance) == 0;
#pragma unroll
    for (int e = 0; e < each; ++e) {
      const bool rising = ((first + 32 * e + lane) & size) == 0;
      const Pair other = shuffleXor(own[e], distance);
      own[e] = (other < own[e]) == (before == rising) ? other : own[e];
    }
  }
}

/// Elements of a warp's part of what sortShared sorts.
constexpr int sortSpan = 128;

/// The block's pairs, in dynamic shared memory behind a header.
template <typename Pair> FLAME_DEVICE Pair *sharedPairs() {
  return (Pair *)(dynamicShared() + TopKSchedule::headerBytes);
}

/// Sorts the first `size` of them, a power of two of at least sortSpan, by all threads of the block. They come together
/// before and after.
template <int threads, typename Pair> FLAME_CALLED void sortShared(int size) {
  Pair *pairs = sharedPairs<Pair>();
  constexpr int each = sortSpan / 32;
  const int lane = threadId() % 32, warp = threadId() / 32;
  auto inWarps = [&](int from, int to) {
#pragma unroll 1
    for (int first = warp * sortSpan; first < size; first += threads / 32 * sortSpan) {
      Pair own[each];
#pragma unroll
      for (int e = 0; e < each; ++e)
        own[e] = pairs[first + 32 * e + lane];
#pragma unroll 1
      for (int run = from; run <= to; run *= 2)
        mergeInWarp(own, first, lane, run);
#pragma unroll
      for (int e = 0; e < each; ++e)
        pairs[first + 32 * e + lane] = own[e];
    }
    syncBlock();
  };
  syncBlock();
  inWarps(2, sortSpan);
#pragma unroll 1
  for (int run = 2 * sortSpan; run <= size; run *= 2) {
#pragma unroll 1
    for (int distance = run / 2; distance >= sortSpan; distance /= 2) {
      for (int i = threadId(); i < size / 2; i += threads) {
        const int at = 2 * i - (i & (distance - 1));
        exchange(pairs[at], pairs[at + distance], (at & run) == 0);
      }
      syncBlock();
    }
    inWarps(run, run);
  }
}

} // namespace flame
