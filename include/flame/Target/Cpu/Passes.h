//===- Passes.h - passes of the CPU target ----------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CPU_PASSES_H
#define FLAME_TARGET_CPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace flame::cpu {
/// Registers `--flame-emit-cpu`: regions to kernels, for tests.
void registerEmitCpuPass();
} // namespace flame::cpu

#endif // FLAME_TARGET_CPU_PASSES_H
