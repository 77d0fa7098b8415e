//===- Scores.h - what becomes of the product of queries and keys -------------------------------------------------===//
#pragma once
#include "ptx/Convert.h"

namespace flame {

/// Queries are rows; depth: the size of a head of queries and keys; columns: that of values. Operands may have more
/// than 2^31 elements all the same, since theirs are the pitches.
struct AttentionProblem {
  int rows, keys, depth, columns;
};

/// The score of (row, column) is body(row, column, product); `scale` > 0 times log2(e) comes on top. Keys from
/// limit(row) on are invisible; it may not fall from row to row.
template <bool limited, typename Body, typename Limit> struct Scores {
  static constexpr bool hasLimit = limited;
  float scale;
  Body body;
  Limit limit;
};
template <typename Body> FLAME_DEVICE Scores<false, Body, int> scores(float scale, Body body) {
  return {scale, body, 0};
}
template <typename Body, typename Limit>
FLAME_DEVICE Scores<true, Body, Limit> scores(float scale, Body body, Limit limit) {
  return {scale, body, limit};
}

/// A bound of any type of index, from 0 to `most`.
template <typename Bound> FLAME_DEVICE int clamped(Bound bound, int most) {
  return bound < 0 ? 0 : bound < most ? (int)bound : most;
}

/// Keys that row `row` sees; rows beyond the last see what that sees.
template <bool limited, typename Body, typename Limit>
FLAME_DEVICE int visibleKeys(const Scores<limited, Body, Limit> &scoring, const AttentionProblem &p, int row) {
  if constexpr (limited)
    return clamped(scoring.limit(row < p.rows ? row : p.rows - 1), p.keys);
  else
    return p.keys;
}

/// Minus infinity.
FLAME_DEVICE float lowest() { return asFloat(0xff800000u); }

} // namespace flame
