//===- SampleMath.h - positions between elements ----------------------------------------------------------------------===//
//
// Positions are floats that may come from data: NaN, infinite, or far outside. Nothing here traps on them, and an index
// made from one is a number small enough to compute with; it still has to be checked or clamped before a load.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_OPS_IMAGE_SAMPLEMATH_H
#define FLAME_LIB_OPS_IMAGE_SAMPLEMATH_H

#include "flame/Body/ElementBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace flame {

/// Arithmetic of positions in f32 or f64.
struct SampleMath {
  using Value = mlir::Value;
  ElementBuilder &e;
  mlir::Type type;
  ScalarBuilder s;

  SampleMath(ElementBuilder &e, mlir::Type type) : e(e), type(type), s(e.scalars(type)) {}

  Value number(double value) { return s.number(type, value); }
  Value fromIndex(Value index) { return e.fromIndex(index, type); }
  /// Truncates; NaN and what is out of range become something in ±2^30.
  Value toIndex(Value position) {
    constexpr double bound = 1 << 30;
    position = s.make<mlir::arith::MinNumFOp>(s.make<mlir::arith::MaxNumFOp>(position, number(-bound)), number(bound));
    return e.toIndex(position, type);
  }
  /// NaN becomes `low`.
  Value clamp(Value x, Value low, Value high) {
    return s.make<mlir::arith::MinNumFOp>(s.make<mlir::arith::MaxNumFOp>(x, low), high);
  }
  /// To the compute type of an element type; integers round to nearest even and saturate.
  Value to(Value x, mlir::Type elementType) {
    if (!llvm::isa<mlir::FloatType>(elementType))
      x = s.make<mlir::math::RoundEvenOp>(x);
    return s.cast(x, type, elementType);
  }
  Value from(Value x, mlir::Type elementType) { return e.scalars(elementType).cast(x, elementType, type); }

  /// Weights of the four elements around a position whose fraction is `t` (Keys' cubic convolution).
  llvm::SmallVector<Value, 4> cubicWeights(Value t, double a) {
    llvm::SmallVector<Value, 4> weights;
    for (int i = 0; i < 4; ++i)
      weights.push_back(cubic(s.abs(s.sub(number(i - 1), t)), a));
    return weights;
  }
  /// The cubic kernel at a distance x >= 0.
  Value cubic(Value x, double a) {
    auto horner = [&](double c3, double c2, double c1, double c0) {
      Value y = s.add(s.mul(number(c3), x), number(c2));
      y = s.add(s.mul(y, x), number(c1));
      return s.add(s.mul(y, x), number(c0));
    };
    Value near = horner(a + 2, -(a + 3), 0, 1), far = horner(a, -5 * a, 8 * a, -4 * a);
    Value outer = s.select(s.lt(x, number(2)), far, number(0));
    return s.select(s.le(x, number(1)), near, outer);
  }
};

} // namespace flame

#endif // FLAME_LIB_OPS_IMAGE_SAMPLEMATH_H
