//===- Emitter.h - regions to CUDA C++
//--------------------------------------------------------------------------------===//
//
// The CUDA target's interface towards the compiler. `emit` turns one region into a kernel in MLIR (func, scf, arith,
// math, memref, gpu) and prints it; regions that are alike share one kernel. `source` is the text of all kernels, one
// translation unit that includes no header. A kernel is
//
//   extern "C" __global__ void symbol(buffers in the order of `buffers`…, long long args in the order of `args`…)
//
// launched with `extent` blocks of `threads` threads in one dimension. Buffers are dense and row-major, elements have
// the storage types of ScalarBuilder.h; no result overlaps another buffer.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_EMITTER_H
#define FLAME_TARGET_CUDA_EMITTER_H

#include "flame/Ops/Region.h"
#include "flame/Support/DimExpr.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/StringMap.h"
#include <string>

namespace flame::cuda {

/// How one region is launched.
struct Kernel {
  std::string symbol;
  llvm::SmallVector<unsigned> buffers; // an index below the region's number of inputs is an input, else a result
  llvm::SmallVector<DimExpr> args;
  DimExpr extent;    // blocks
  int threads = 256; // of a block
  int shared = 0;    // bytes of dynamic shared memory
};

class Emitter {
public:
  /// The context must have the dialects of registerCudaDialects.
  explicit Emitter(mlir::MLIRContext *context);

  /// Prints the region's kernel, or finds the one that an equal region made. Fails with an op error on a region that
  /// the target can't compile.
  mlir::FailureOr<Kernel> emit(RegionOp region, ShapeContext &shapes);

  /// The text of all kernels so far, in order of emission; empty if there are none.
  std::string source() const;
  unsigned size() const { return texts.size(); }

private:
  mlir::MLIRContext *context;
  std::vector<std::string> texts;
  std::vector<std::string> templates;   // files of runtime/kernels that the texts use
  llvm::StringMap<std::string> symbols; // text of a kernel without its name → its symbol
};

/// The dialects that kernels are built of.
void registerCudaDialects(mlir::DialectRegistry &registry);

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_EMITTER_H
