//===- PairedProducts.h - two products that one kernel multiplies side by side ------------------------------------------===//
//
// The halves of a gated layer, act(x v) * (x w), are products of one left operand whose results meet in pointwise ops. With half
// of each tile's columns for each, a thread has both sums of an element, and neither product goes to memory. Region formation puts
// such products into one region, the CUDA target finds them there again.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_PAIREDPRODUCTS_H
#define FLAME_ANALYSIS_PAIREDPRODUCTS_H

#include "flame/IR/ShapeContext.h"
#include "flame/Ops/Contraction.h"

namespace flame {

/// True for a product with one matrix, of a type for matrix instructions; f32 is one of them if it is multiplied as TF32.
bool canBePaired(MatMulOp op, bool tf32);
/// The same of rows that go by groups, with a matrix for each.
bool canBePaired(GroupedMatMulOp op, bool tf32);

/// True if both can be, the left operand is the same and the right ones differ in nothing but their elements. What reads the
/// results is not looked at.
bool arePaired(MatMulOp first, MatMulOp second, ShapeContext &shapes, bool tf32);
bool arePaired(GroupedMatMulOp first, GroupedMatMulOp second, ShapeContext &shapes, bool tf32);

} // namespace flame

#endif // FLAME_ANALYSIS_PAIREDPRODUCTS_H
