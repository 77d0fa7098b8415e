//===- TopK.h - how rows are sorted -------------------------------------------------------------------------------===//
#pragma once
#include "schedule/Schedule.h"

namespace flame {

/// How elements compare. Floats of `bits` bits have a sign and a magnitude; one beyond `largest` is NaN, which comes
/// after all numbers; zeros of both signs are equal.
enum class KeyKind { Unsigned, Signed, Float };
struct KeyFormat {
  KeyKind kind;
  int bits;
  unsigned long long largest = 0;
};

/// `tile` elements, a power of two, are sorted at once, each a key and its position in `pairBytes` bytes: 4 hold a key
/// of 16 bits and a position below 65535, 8 a key of 32 bits and a position below 2^32 - 1, 16 any.
struct TopKSchedule {
  int threads, tile, pairBytes;

  /// Of shared memory before the pairs.
  static constexpr int headerBytes = 16;
  FLAME_BOTH constexpr int sharedBytes() const { return headerBytes + tile * pairBytes; }
  /// Where a tile holds the best of a long row: how many of them it can be, and how many elements are looked at
  /// before it is cleared of the others.
  FLAME_BOTH constexpr int kept() const { return tile / 4; }
  FLAME_BOTH constexpr int chunk() const { return tile / 2; }
  FLAME_BOTH constexpr int items() const { return chunk() / threads; }
};

} // namespace flame
