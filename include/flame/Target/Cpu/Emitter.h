//===- Emitter.h - regions to native kernels --------------------------------------------------------------------------===//
//
// The CPU target's whole interface. `emit` turns one region into a kernel in MLIR (func, scf, arith, math, vector, llvm);
// regions that are alike share one kernel. `finish` compiles all kernels to one ELF shared object. A kernel is
//
//   void symbol(void *const *buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end)
//
// and handles the part [begin, end) of its iteration space. Buffers are dense and row-major, elements have the storage
// types of ScalarBuilder.h; no result overlaps another buffer.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CPU_EMITTER_H
#define FLAME_TARGET_CPU_EMITTER_H

#include "flame/Ops/Region.h"
#include "flame/Support/DimExpr.h"
#include "flame/Target/Cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"

namespace flame::cpu {

/// How one region is launched.
struct Kernel {
  std::string symbol;
  llvm::SmallVector<unsigned> buffers; // in order: an index below the region's number of inputs is an input, else a result
  llvm::SmallVector<DimExpr> args;     // integer arguments
  DimExpr extent;                      // size of the iteration space
  DimExpr grain;                       // least number of iterations worth a thread
  DimExpr scratch;                     // bytes of scratch memory that each concurrent chunk needs; null: none
};

class Emitter {
public:
  /// The context must have the dialects of registerCpuDialects.
  Emitter(mlir::MLIRContext *context, Target target);
  ~Emitter();

  /// Builds the region's kernel, or finds the one that an equal region made. Fails with an op error on a region that
  /// the target can't compile.
  mlir::FailureOr<Kernel> emit(RegionOp region, ShapeContext &shapes);

  /// The kernels so far, one module each, in order of emission.
  llvm::ArrayRef<mlir::OwningOpRef<mlir::ModuleOp>> modules() const { return kernels; }

  /// Compiles all kernels; the bytes of an ELF shared object. The bytes depend on the kernels and the target alone, not
  /// on the number of threads. Consumes the modules. `progress` is called from this thread.
  mlir::FailureOr<std::vector<char>> finish(unsigned threads,
                                            llvm::function_ref<void(unsigned done, unsigned total)> progress = nullptr);

  const Target &target() const { return machine; }

private:
  mlir::MLIRContext *context;
  Target machine;
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> kernels;
  llvm::StringMap<std::string> symbols; // text of a kernel → its symbol
};

/// The dialects that kernels are built of, with their translations to LLVM IR.
void registerCpuDialects(mlir::DialectRegistry &registry);

} // namespace flame::cpu

#endif // FLAME_TARGET_CPU_EMITTER_H
