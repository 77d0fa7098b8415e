//===- PointwiseRules.h - result types of elementwise ops -------------------------------------------------------------===//
#ifndef FLAME_OPS_POINTWISERULES_H
#define FLAME_OPS_POINTWISERULES_H

#include "flame/IR/Flame.h"

namespace flame {

/// Element type of a pointwise result. Same: that of the operands, which must agree. First: that of the first operand,
/// whatever the others are. Bool: i1, operands must agree. Select: operand 0 is i1, result as the others.
/// Attribute: the type attribute `to`.
enum class PointwiseRule { Same, First, Bool, Select, Attribute };

mlir::LogicalResult inferPointwise(mlir::Operation *op, PointwiseRule rule, ShapeContext &context,
                                   llvm::SmallVectorImpl<ResultInfo> &results);

} // namespace flame

#endif // FLAME_OPS_POINTWISERULES_H
