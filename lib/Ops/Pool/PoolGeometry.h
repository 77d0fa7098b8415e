//===- PoolGeometry.h - where the windows of a pooling op lie ---------------------------------------------------------===//
#ifndef FLAME_LIB_OPS_POOL_POOLGEOMETRY_H
#define FLAME_LIB_OPS_POOL_POOLGEOMETRY_H

#include "flame/IR/Flame.h"

namespace flame {

/// One spatial dimension: window i covers positions i * stride - low + k * dilation, k < kernel.
struct PoolWindow {
  int64_t kernel, stride, dilation;
  DimExpr size;        // of x
  DimExpr count;       // of windows
  DimExpr low, padded; // padding before; size with the padding of both sides
  /// From the first element of a window to behind its last.
  int64_t reach() const { return (kernel - 1) * dilation + 1; }
  /// The position behind the last window.
  DimExpr behind() const { return (count - 1) * stride + reach() - low; }
};

/// The windows of a pooling op, one a spatial dimension; on bad attributes emits an op error and fails.
llvm::FailureOr<llvm::SmallVector<PoolWindow>> poolWindows(mlir::Operation *op, ShapeContext &context);

} // namespace flame

#endif // FLAME_LIB_OPS_POOL_POOLGEOMETRY_H
