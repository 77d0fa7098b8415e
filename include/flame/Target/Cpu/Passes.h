//===- Passes.h - passes of the CPU target ----------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CPU_PASSES_H
#define FLAME_TARGET_CPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace flame::cpu {
/// Packs constant operands of contractions into the panels that kernels for `target` read. Runs on functions, before
/// regions are formed. `target` is a name that Target::parse takes.
std::unique_ptr<mlir::Pass> createPackContractionsPass(llvm::StringRef target);

/// Registers `--flame-emit-cpu`: regions to kernels, for tests.
void registerEmitCpuPass();
/// Registers all passes of the target.
void registerCpuPasses();
} // namespace flame::cpu

#endif // FLAME_TARGET_CPU_PASSES_H
