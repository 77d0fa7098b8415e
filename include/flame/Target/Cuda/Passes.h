//===- Passes.h - passes of the CUDA target ---------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_PASSES_H
#define FLAME_TARGET_CUDA_PASSES_H

namespace flame::cuda {
/// Registers `--flame-emit-cuda`: regions to CUDA C++ on standard output, for tests.
void registerCudaPasses();
} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_PASSES_H
