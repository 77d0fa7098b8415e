//===- Cost.h - operations and bytes of ops ---------------------------------------------------------------------------===//
//
// The cost facet: a family attaches the operations of its arithmetic ops in lib/Ops/<Family>/<Family>Cost.cpp,
//
//   static DimExpr matmul(MatMulOp op, ShapeContext &shapes) { return …; }
//   void flame::registerContractionCosts(MLIRContext *context) { attachCost<MatMulOp, matmul>(context); }
//
// and bytes follow from operands and results. Everything is an expression of the model's dims.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_COST_H
#define FLAME_ANALYSIS_COST_H

#include "flame/IR/Flame.h"
#include "mlir/IR/DialectRegistry.h"

namespace flame {

/// What an op costs if it is a kernel of its own.
struct Cost {
  /// Arithmetic operations, a multiply-add counted as two. A transcendental function counts as one.
  DimExpr flops;
  /// Bytes read and written, each element once. Numbers that only shapes depend on don't count.
  DimExpr bytes;
};

/// The cost of an op. A region costs the operations of its body and the bytes of its inputs and results; control flow costs
/// nothing itself, and neither do constants, weights and ops that only reinterpret.
Cost costOf(mlir::Operation *op, ShapeContext &shapes);

/// Attaches the costs of all families as soon as the flame dialect is loaded.
void registerAllCosts(mlir::DialectRegistry &registry);

/// Declares the cost registration of every family that has costs.
#define FLAME_FAMILY(Name) void register##Name##Costs(mlir::MLIRContext *context);
#include "flame/Ops/CostFamilies.inc"
#undef FLAME_FAMILY

/// `Fn`: DimExpr (Op, ShapeContext &), or a number of operations per element of the first result.
template <typename Op, auto Fn> struct CostModel : CostInterface::ExternalModel<CostModel<Op, Fn>, Op> {
  DimExpr flops(mlir::Operation *op, ShapeContext &context) const {
    if constexpr (std::is_invocable_v<decltype(Fn), Op, ShapeContext &>)
      return Fn(mlir::cast<Op>(op), context);
    else
      return context.numElements(op->getResult(0)) * int64_t(Fn);
  }
};

template <typename Op, auto Fn> void attachCost(mlir::MLIRContext *context) {
  Op::template attachInterface<CostModel<Op, Fn>>(*context);
}
/// The same cost for many ops: attachCosts<1, AddOp, SubOp>(context).
template <auto Fn, typename... Ops> void attachCosts(mlir::MLIRContext *context) { (attachCost<Ops, Fn>(context), ...); }

} // namespace flame

#endif // FLAME_ANALYSIS_COST_H
