//===- FoldEpilogue.h - partial reductions beside a product's result ----------------------------------------------===//
//
// The counterpart of runtime/kernels/epilogue/Fold.h: a region whose further results are partial reductions of its first one (see
// AbsorbFolds.cpp).
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_FOLDEPILOGUE_H
#define FLAME_LIB_TARGET_CUDA_FOLDEPILOGUE_H

#include "KernelBuilder.h"
#include "flame/Ops/Reduce.h"

namespace flame::cuda {

/// True if elements of `value` are functions of the same elements of `of` alone.
bool isElementwise(mlir::Value value, mlir::Value of, ShapeContext &shapes);

class FoldEpilogue {
public:
  /// Of a region whose further results all are folds of its first one; of any other there are none.
  explicit FoldEpilogue(KernelBuilder &kernel);

  int count() const { return int(folds.size()); }
  /// The results that are partial reductions.
  llvm::ArrayRef<mlir::Value> results() const { return partials; }

  /// The text of the epilogue `store` with the folds, whose functions and buffers go to `operands`. `rows`: of the result's matrix.
  std::string build(ElementBuilder &e, llvm::StringRef store, DimExpr rows, llvm::SmallVectorImpl<mlir::Value> &operands);

private:
  KernelBuilder &kernel;
  llvm::SmallVector<ReduceOp, 2> folds;
  llvm::SmallVector<mlir::Value, 2> partials;
  std::string functions; // the text of the folds, once they are built
};

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_FOLDEPILOGUE_H
