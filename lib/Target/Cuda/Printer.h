//===- Printer.h - kernels in MLIR as CUDA C++ ------------------------------------------------------------------------===//
//
// Prints a function of arith, math, scf, memref and gpu ops as one `extern "C" __global__` function. It decides nothing:
// every op becomes the expression or statement that means the same. Integers are unsigned in the text, so that arithmetic
// wraps as it does in MLIR; ops that care for the sign cast. `index` is a signed integer of 64 bits, or of 32 in kernels with the
// attribute `flame.index32`. A value with one use in its
// own block, whose op has no effect and no region, is printed where it is used.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_PRINTER_H
#define FLAME_LIB_TARGET_CUDA_PRINTER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/raw_ostream.h"

namespace flame::cuda {

/// Appends the text of `kernel`. Arguments are named by the string array attribute `flame.names`, the launch bound is the
/// integer attribute `flame.threads`. Fails with an op error on an op that has no meaning in a kernel.
mlir::LogicalResult printKernel(mlir::func::FuncOp kernel, llvm::raw_ostream &os);

/// Helper functions that printed kernels call; once at the head of a source file.
llvm::StringRef kernelPrelude();

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_PRINTER_H
