//===- DimMath.h - conditions and index arithmetic in symbolic expressions --------------------------------------------===//
//
// A condition is an expression that is 0 or 1. Numbers may be data (any i64): the formulas don't overflow for any of them.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SUPPORT_DIMMATH_H
#define FLAME_SUPPORT_DIMMATH_H

#include "flame/Support/DimExpr.h"

namespace flame {

inline DimExpr dimConstant(DimExpr like, int64_t value) { return like.node->context->constant(value); }

/// 1 if e < 0
inline DimExpr isNegative(DimExpr e) {
  if (e.isNonNegative())
    return dimConstant(e, 0);
  if (auto c = e.constant())
    return dimConstant(e, *c < 0);
  return max(min(e, dimConstant(e, 0)), dimConstant(e, -1)) * -1;
}

/// condition ? a : b
inline DimExpr choose(DimExpr condition, DimExpr a, DimExpr b) {
  if (condition.isConstant(1) || a == b)
    return a;
  if (condition.isConstant(0))
    return b;
  return condition * a + b - condition * b;
}

/// Constants beyond any size stand for infinity: they fold away.
inline DimExpr clamp(DimExpr e, DimExpr low, DimExpr high) {
  constexpr int64_t infinity = int64_t(1) << 48;
  if (auto c = e.constant()) {
    if (*c >= infinity)
      return high;
    if (*c <= -infinity)
      return low;
  }
  return min(max(e, low), high);
}

/// ceil(a / b) for any signs; b is not zero.
inline DimExpr ceilDivAny(DimExpr a, DimExpr b) { return floorDiv(a * -1, b) * -1; }

/// The number of elements of numpy's arange(start, limit, step).
inline DimExpr rangeLength(DimExpr start, DimExpr limit, DimExpr step) {
  return max(ceilDivAny(limit - start, step), dimConstant(start, 0));
}

} // namespace flame

#endif // FLAME_SUPPORT_DIMMATH_H
