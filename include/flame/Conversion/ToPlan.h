//===- ToPlan.h - from kernel regions to a plan -----------------------------------------------------------------------===//
#ifndef FLAME_CONVERSION_TOPLAN_H
#define FLAME_CONVERSION_TOPLAN_H

#include "flame/Conversion/PlanModel.h"
#include "flame/IR/Flame.h"
#include "flame/Ops/Region.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace flame {

/// Cuda: a tensor map (plan.fbs), `buffer` being a position in the launch's buffers.
struct LaunchTensor {
  unsigned buffer;
  mlir::Type elementType;
  DimExpr offset;
  llvm::SmallVector<DimExpr> dims, strides;
  llvm::SmallVector<int> box;
  bool tf32;
  llvm::SmallVector<int> lower, upper, steps; // of windows
};

/// One launch of a region, as a target's generator gives it.
struct KernelLaunch {
  std::string symbol;
  /// Region inputs, then results (index < number of inputs: an input), in the order of the kernel's buffers.
  llvm::SmallVector<unsigned> buffers;
  llvm::SmallVector<DimExpr> args;
  /// Cpu: iterations, iterations of a chunk, bytes of scratch memory of a chunk. Cuda: blocks of the grid, null, bytes of
  /// scratch memory of the launch. Scratch may be null.
  DimExpr extent, grain, scratch;
  int32_t threads = 0, shared = 0; ///< Cuda: threads of a block, bytes of dynamic shared memory.
  int32_t state = 0;               ///< Cuda: bytes of the session's state.
  bool cooperative = false;        ///< Cuda: all blocks run at the same time; the runtime may launch fewer than `extent`.
  int32_t leastBlocks = 1;         ///< Cuda: that a cooperative kernel must have.
  int32_t sharedBefore90 = -1;     ///< Cuda: the same of code for architectures before sm_90; -1: as many.
  bool waits = false;              ///< Cuda: it waits by itself for the kernels before it.
  /// Cuda: how code for sm_90a is launched, where that differs: threads (0: it doesn't), shared memory, blocks of a cluster,
  /// blocks, tensor maps.
  int32_t wgmmaThreads = 0, wgmmaShared = 0, wgmmaCluster = 1;
  DimExpr wgmmaExtent;
  llvm::SmallVector<LaunchTensor, 0> tensors;
};

/// Emits the kernel of a region; fails after an error on the region.
using EmitKernel = llvm::function_ref<mlir::FailureOr<KernelLaunch>(RegionOp, ShapeContext &)>;

struct ToPlanOptions {
  /// Folder that weight files are relative to.
  std::string modelFolder;
  /// Put the weights' bytes into the artifact.
  bool embedWeights = false;
};

/// Lowers @main, whose ops are regions, sources, views, host functions and control flow, to `plan` (kernels are named, the
/// code is the caller's). Emits errors on the ops they concern.
mlir::LogicalResult lowerToPlan(mlir::func::FuncOp function, EmitKernel emit, const ToPlanOptions &options,
                                model::Plan &plan);

} // namespace flame

#endif // FLAME_CONVERSION_TOPLAN_H
