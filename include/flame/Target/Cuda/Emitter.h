//===- Emitter.h - regions to CUDA C++ --------------------------------------------------------------------------------===//
//
// The CUDA target's interface towards the compiler. `emit` turns one region into a kernel in MLIR (func, scf, arith,
// math, memref, gpu) and prints it; regions that are alike share one kernel. `source` is the text of all kernels, one
// translation unit that includes no header. A kernel is
//
//   extern "C" __global__ void symbol(buffers in the order of `buffers`…, long long args in the order of `args`…
//                                     [, void *scratch][, void *state][, flame::TensorMap map0, …])
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
#include <vector>

namespace flame::cuda {

/// How the copy engine of sm_90 sees a buffer: dims from the contiguous one on, bytes from one to the next of every further
/// dim, the box of one copy. Offset and strides are multiples of 16 bytes.
struct TensorMap {
  unsigned buffer; // index into the kernel's buffers
  mlir::Type elementType;
  DimExpr offset;
  llvm::SmallVector<DimExpr> dims, strides;
  llvm::SmallVector<int> box;
  bool tf32 = false; // f32 that the copy rounds
  /// Of the windows of a convolution, for each dim of positions, from the innermost on: first and last place of a window,
  /// relative to the dim's ends, and the stride. `box` is channels and windows then.
  llvm::SmallVector<int> lower = {}, upper = {}, steps = {};
};

/// What the kernel is in code for exactly sm_90a, where that differs.
struct WgmmaLaunch {
  int threads = 0; // 0: it doesn't
  int shared = 0, cluster = 1;
  DimExpr extent; // blocks, of which there are as many at a time as the GPU has multiprocessors
  llvm::SmallVector<TensorMap, 0> tensors;
};

/// How one region is launched.
struct Kernel {
  std::string symbol;
  llvm::SmallVector<unsigned> buffers; // an index below the region's number of inputs is an input, else a result
  llvm::SmallVector<DimExpr> args;
  DimExpr extent;    // blocks
  int threads = 256; // of a block
  int minBlocks = 0; // that share a multiprocessor's registers; 0: doesn't matter
  int shared = 0;    // bytes of dynamic shared memory
  DimExpr scratch;   // bytes of scratch memory; null: none
  int state = 0;     // bytes of the session's state (plan.fbs); 0: none
  bool cooperative = false; // blocks wait for each other: all run at the same time, perhaps fewer than `extent`
  int leastBlocks = 1;      // that then must run at the same time
  int sharedBefore90 = -1; // the same on architectures before sm_90; -1: as many
  int cluster = 1;   // blocks of a cluster, from sm_90 on
  WgmmaLaunch wgmma;
};

/// The text of a kernel.
struct KernelText {
  std::string symbol;
  std::string description; // "matmul add relu (fc1, relu1)": ops and the model's nodes
  std::string text;        // with its comment
  llvm::SmallVector<std::string, 0> templates; // files of runtime/kernels that it uses
};

/// Kernels that are compiled together: one translation unit, which includes nothing.
struct Unit {
  struct Part {
    std::string symbol, description;
    unsigned firstLine; // of the kernel in `source`, from 1
  };
  std::string source;
  std::vector<Part> parts;
  std::string file = "model.cu"; // as messages call it
};

class ScheduleFile;

class Emitter {
public:
  /// The context must have the dialects of registerCudaDialects. `tf32`: products of f32 by matrix instructions, which take
  /// ten bits of each factor's fraction. `wgmma`: kernels for sm_90a use what it alone has. `schedules`: overrides, and a list of
  /// what was chosen.
  explicit Emitter(mlir::MLIRContext *context, bool tf32 = false, bool wgmma = false, ScheduleFile *schedules = nullptr);

  /// Prints the region's kernel, or finds the one that an equal region made. Fails with an op error on a region that
  /// the target can't compile.
  mlir::FailureOr<Kernel> emit(RegionOp region, ShapeContext &shapes);

  /// The text of all kernels so far, in order of emission; empty if there are none.
  std::string source() const;
  /// The same text in parts of similar size, in the same order. The division depends on the kernels alone, so that
  /// equal models make equal code on every machine.
  std::vector<Unit> units() const;
  unsigned size() const { return kernels.size(); }

private:
  mlir::MLIRContext *context;
  bool tf32, wgmma;
  ScheduleFile *schedules;
  std::vector<KernelText> kernels;
  llvm::StringMap<std::string> symbols; // text of a kernel without its name → its symbol
};

/// The dialects that kernels are built of.
void registerCudaDialects(mlir::DialectRegistry &registry);

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_EMITTER_H
