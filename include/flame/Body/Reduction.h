//===- Reduction.h - reductions in parts ------------------------------------------------------------------------------===//
//
// What a generator needs to run a reduction by many threads: each steps through elements in order, their results are
// combined, and the last combination is finished.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BODY_REDUCTION_H
#define FLAME_BODY_REDUCTION_H

#include "flame/Body/ElementBuilder.h"
#include <functional>

namespace flame {

struct Reduction {
  using Values = llvm::SmallVector<mlir::Value>;
  mlir::Value operand;
  llvm::SmallVector<int64_t> axes; // of the operand, ascending
  bool keepDims;                   // of the result
  Values init;                     // of no elements
  /// With one more element of the operand, whose index is greater than those before it.
  std::function<Values(mlir::ValueRange carried, mlir::ValueRange index)> step;
  /// Of two disjoint sets of elements; associative and commutative.
  std::function<Values(mlir::ValueRange, mlir::ValueRange)> combine;
  /// The element of the result.
  std::function<mlir::Value(mlir::ValueRange)> finish;

  /// The operand's index of an index of the result (with its kept dims) and one of the reduced dims.
  Values indexOf(mlir::ValueRange result, mlir::ValueRange reduced) const;
};

/// reduce or arg_reduce.
bool isReduction(mlir::Operation *op);
/// Of a scan, what its last element is.
Reduction reductionOf(mlir::Operation *op, ElementBuilder &b);

} // namespace flame

#endif // FLAME_BODY_REDUCTION_H
