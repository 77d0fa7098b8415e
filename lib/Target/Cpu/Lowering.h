//===- Lowering.h - from kernels in MLIR to a shared object -----------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CPU_LOWERING_H
#define FLAME_LIB_TARGET_CPU_LOWERING_H

#include "flame/Target/Cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace flame::cpu {

/// Replaces functions of `math` on f32 by arithmetic that vectorises, where that is accurate; the rest is left to the C
/// library.
void expandMath(mlir::ModuleOp module, const Target &target);

/// Lets reductions over a loop be reordered: float additions and multiplications that carry a loop's value.
void relaxReductions(mlir::ModuleOp module);

/// func, scf, arith, math, vector → the llvm dialect.
mlir::LogicalResult lowerToLlvm(mlir::ModuleOp module);

/// Optimises a module and makes an object file of it.
llvm::Expected<llvm::SmallVector<char, 0>> compileObject(llvm::Module &module, const Target &target);

/// Links object files, in this order, into a shared object.
llvm::Expected<std::vector<char>> linkShared(llvm::ArrayRef<llvm::SmallVector<char, 0>> objects);

} // namespace flame::cpu

#endif // FLAME_LIB_TARGET_CPU_LOWERING_H
