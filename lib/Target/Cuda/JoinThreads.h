//===- JoinThreads.h - one number out of the numbers of many threads ----------------------------------------------===//
//
// Every thread gets the joined number, joined in the same order everywhere, so that all get the same bits.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_JOINTHREADS_H
#define FLAME_LIB_TARGET_CUDA_JOINTHREADS_H

#include "KernelBuilder.h"

namespace flame::cuda {

constexpr int warpSize = 32;
using Combine = llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)>;

/// Joins the `partial` of `lanes` neighbouring threads of a warp, a power of two of them; 32 or 64 bits. The whole warp calls it.
mlir::Value joinWarp(ElementBuilder &e, mlir::Value partial, Combine combine, int lanes = warpSize);
/// Joins what warps have joined, for each group of `lanes` threads out of `threads`; both are powers of two of warps. All of
/// them call it. They are those of the block, or `self` is the number of a thread among them and `sync` their barrier.
mlir::Value joinBlock(KernelBuilder &kernel, ElementBuilder &e, int lanes, int threads, mlir::Value partial,
                      Combine combine, mlir::Value self = {}, llvm::function_ref<void()> sync = nullptr);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_JOINTHREADS_H
