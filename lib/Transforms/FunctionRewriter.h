//===- FunctionRewriter.h - what the rewriters of a function's graph have in common -----------------------------------===//
#ifndef FLAME_LIB_TRANSFORMS_FUNCTIONREWRITER_H
#define FLAME_LIB_TRANSFORMS_FUNCTIONREWRITER_H

#include "flame/IR/ShapeContext.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/RegionUtils.h"

namespace flame {

/// Ops that a rewrite replaces stay until the end: what is known of shapes refers to them.
class FunctionRewriter {
protected:
  explicit FunctionRewriter(mlir::func::FuncOp function) : function(function), shapes(exprs) {}

  using Dims = llvm::SmallVector<DimExpr>;
  Dims dimsOf(mlir::Value value) { return Dims(shapes.dims(value)); }
  /// Erases what nobody reads any more.
  void sweep() {
    mlir::IRRewriter rewriter(function.getContext());
    (void)mlir::runRegionDCE(rewriter, function->getRegions());
  }

  mlir::func::FuncOp function;
  DimContext exprs;
  ShapeContext shapes;
};

} // namespace flame

#endif // FLAME_LIB_TRANSFORMS_FUNCTIONREWRITER_H
