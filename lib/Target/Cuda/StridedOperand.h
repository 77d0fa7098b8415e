//===- StridedOperand.h - operands that are memory ----------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_STRIDEDOPERAND_H
#define FLAME_LIB_TARGET_CUDA_STRIDEDOPERAND_H

#include "KernelBuilder.h"

namespace flame::cuda {

/// A value of a region whose element at an index is memory[offset + Σ index · stride].
struct StridedOperand {
  mlir::Value memory; // an input of the region
  DimExpr offset;
  llvm::SmallVector<DimExpr> strides;
};

/// Looks through transposes, slices and expansions. Empty if the value is anything else.
std::optional<StridedOperand> stridedOperand(KernelBuilder &kernel, mlir::Value value);

/// True if the expression is a multiple of `divisor` whatever the sizes are.
bool isMultiple(DimExpr expr, int64_t divisor);

/// The most of 16, 8 and 4 that `pitch` elements of `size` bytes may be a multiple of, as far as is known; 0 if none.
int copyBytes(DimExpr pitch, int size);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_STRIDEDOPERAND_H
