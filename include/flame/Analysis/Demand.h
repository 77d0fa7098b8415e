//===- Demand.h - which values a run must compute, and when -----------------------------------------------------------===//
//
// A value is demanded if the data of a result depend on its data, or if a symbol that some demanded value's shape uses is
// read from it. Shape computations whose numbers are known symbolically are not demanded, so they never become kernels.
// A value is constant if only constants and weights lead to it: it belongs to the plan's init block.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_DEMAND_H
#define FLAME_ANALYSIS_DEMAND_H

#include "flame/IR/Flame.h"
#include "llvm/ADT/DenseSet.h"

namespace flame {

class Demand {
public:
  /// Analyses a function (nested control flow included).
  Demand(mlir::Operation *function, ShapeContext &shapes);

  bool isDemanded(mlir::Value value) const { return demanded.contains(value); }
  bool isDemanded(mlir::Operation *op) const;
  /// True if the op runs at load time: everything it reads is constant.
  bool isConstant(mlir::Operation *op) const { return constantOps.contains(op); }
  bool isConstant(mlir::Value value) const;

private:
  /// `mayFail`: functions of the runtime count, too, which may refuse what they are given; a loop may never come to them.
  void findConstants(mlir::Block &block, bool mayFail);
  void demand(mlir::Value value);
  void demandShape(mlir::Value value);
  void demandExpr(DimExpr expr);
  void demandOperands(mlir::Operation *op);

  ShapeContext &shapes;
  llvm::DenseSet<mlir::Value> demanded;
  llvm::DenseSet<mlir::Operation *> visited, constantOps;
  llvm::SmallVector<mlir::Operation *> worklist;
};

/// True for an op operand that is used only for its symbolic values.
bool isShapeOperand(mlir::OpOperand &operand);
/// Calls `use` for every symbol of an expression.
void forEachSymbol(DimExpr expr, llvm::function_ref<void(unsigned)> use);

} // namespace flame

#endif // FLAME_ANALYSIS_DEMAND_H
