//===- Passes.h - passes of the CUDA target ---------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_PASSES_H
#define FLAME_TARGET_CUDA_PASSES_H

#include "mlir/Pass/Pass.h"
#include <memory>

namespace flame::cuda {
/// Regions that store what convolutions read with channels last; `tf32`: those of f32, too. See AssignLayout.cpp.
std::unique_ptr<mlir::Pass> createAssignLayoutPass(bool tf32);
/// Products that norm and turn their heads themselves, by wgmma; see AbsorbSegments.cpp.
std::unique_ptr<mlir::Pass> createAbsorbSegmentsPass();
/// Products that begin the reductions of their results; `wgmma`: some code is for sm_90a, `tf32`: f32 is multiplied so. See AbsorbFolds.cpp.
std::unique_ptr<mlir::Pass> createAbsorbFoldsPass(bool wgmma, bool tf32);
/// Registers the passes of this target, `--flame-emit-cuda` among them: regions to CUDA C++ on standard output, for tests.
void registerCudaPasses();
} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_PASSES_H
