//===- PointwiseRules.h - result types of elementwise ops -------------------------------------------------------------===//
#ifndef FLAME_OPS_POINTWISERULES_H
#define FLAME_OPS_POINTWISERULES_H

#include "flame/IR/Flame.h"

namespace flame {

/// Which operands an elementwise op takes and what it gives.
enum class PointwiseRule {
  Same,        // any type, all operands alike; the result too
  Number,      // not bool, all alike; the result too
  Float,       // floats, all alike; the result too
  Integer,     // integers, all alike; the result too
  First,       // numbers; the result as the first operand
  Compare,     // any type, all alike; the result is bool
  Classify,    // floats; the result is bool
  Logic,       // bools
  Select,      // operand 0 is bool, the others alike; the result as they
  Convert,     // the result has the type attribute `to`
  Reinterpret, // the same, of the same width
};

mlir::LogicalResult inferPointwise(mlir::Operation *op, PointwiseRule rule, ShapeContext &context,
                                   llvm::SmallVectorImpl<ResultInfo> &results);
/// The operand that the op gives back unchanged (x + 0, x * 1, a conversion there and back), or null. `constants`: the
/// operands' constant values where they have one.
mlir::OpFoldResult foldPointwise(mlir::Operation *op, llvm::ArrayRef<mlir::Attribute> constants);

} // namespace flame

#endif // FLAME_OPS_POINTWISERULES_H
