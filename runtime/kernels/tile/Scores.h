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
  static constexpr bool hasLimit = limited, zeroesNaN = false;
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

/// The same where weights that are no numbers count as 0, as models write it for rows that see nothing. Of a row either all are or none: where the sum that
/// they are divided by is NaN or 0.
template <typename Base> struct ZeroForNaN : Base {
  static constexpr bool zeroesNaN = true;
};
template <typename Base> FLAME_DEVICE ZeroForNaN<Base> zeroForNaN(Base scores) { return {scores}; }
/// The factor of a row's sums, whose weights have the sum `total`, and a sum times its row's factor.
template <bool zeroesNaN> FLAME_DEVICE float inverse(float total) { return zeroesNaN && !(total > 0) ? 0.0f : 1.0f / total; }
template <bool zeroesNaN> FLAME_DEVICE float scaled(float sum, float factor) { return zeroesNaN && factor == 0 ? 0.0f : sum * factor; }

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

/// What is done with the log-sum-exp of a row's scores: nothing, or body(row, number).
struct NoTotals { static constexpr bool any = false; };
template <typename Body> struct Totals {
  static constexpr bool any = true;
  Body body;
};
template <typename Body> FLAME_DEVICE Totals<Body> totals(Body body) { return {body}; }

/// The log-sum-exp of a row whose weights relative to `peak`, in units of log 2, have the sum `total`.
FLAME_DEVICE float logSum(float peak, float total) {
  constexpr float log2 = 0.693147180559945f;
  return ((peak == lowest() ? 0.0f : peak) + log2Fast(total)) * log2;
}

} // namespace flame
