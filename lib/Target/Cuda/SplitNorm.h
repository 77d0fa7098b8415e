//===- SplitNorm.h - norms over groups of channels, with channels last ----------------------------------------------===//
//
// A norm over groups is a row program over [N, G, C / G, D…], rows that are contiguous where channels come first. Where they come
// last it is three kernels: mean and variance of each channel, those of its group, and what is done with each element.
//
// Before:  %a = flame.reshape %x : tensor<NxCxD…> -> tensor<NxGxC/GxD…>
//          %b = flame.region "row"(%a, %scale) { … mean … mean of squares … yield } : … -> tensor<NxGxC/GxD…>
//          %y = flame.reshape %b : … -> tensor<NxCxD…>
// After:   %m:2 = flame.region "loop"(%x) { mean and variance over D… } : tensor<NxD…xC> -> tensor<Nx1…xC>, …
//          %g:2 = flame.region "loop"(%m) { of all channels of the group, for each } : … -> tensor<NxGxC/Gx1…>, …
//          %y = flame.region "loop"(%x, %scale, %g) { … yield } : … -> tensor<NxD…xC>
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_SPLITNORM_H
#define FLAME_LIB_TARGET_CUDA_SPLITNORM_H

#include "flame/IR/ShapeContext.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"

namespace flame::cuda {

/// A region that is such a norm, and what pointwise ops follow it.
struct GroupNorm {
  RegionOp region;
  ReshapeOp from, to; // of x, of the result
  unsigned argument;  // x's
  ReduceOp mean, variance;

  mlir::Value image() { return from.getX(); }
  mlir::Value result() { return to.getResult(); }
};
std::optional<GroupNorm> matchGroupNorm(RegionOp region, ShapeContext &shapes);

/// Makes the three regions of it. x must already be stored with channels last; gives the result, stored in the same way. The
/// readers of the former one are left to the caller, who removes `to` afterwards.
mlir::Value splitGroupNorm(GroupNorm norm);

/// [N, C, D…] → [N, D…, C], and back.
llvm::SmallVector<int64_t> toLast(int64_t rank);
llvm::SmallVector<int64_t> toFirst(int64_t rank);
mlir::Value transposed(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> perm);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_SPLITNORM_H
