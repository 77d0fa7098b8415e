//===- Backend.h - CUDA plans of one module --------------------------------===//
//
// All that the rest of the runtime sees of the CUDA implementation; the driver is touched by the first call, not before.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_BACKEND_H
#define FLAME_RUNTIME_CUDA_BACKEND_H

#include "../Module.h"

namespace flame::rt::cuda {

/// Opens the device that the options choose and loads the kernels. Memory is counted in `host`'s account.
/// Throws Error(FLAME_DEVICE, FLAME_UNSUPPORTED, FLAME_BAD_ARTIFACT, FLAME_OUT_OF_MEMORY).
std::unique_ptr<Backend> makeBackend(const Plan &plan, const ModuleOptions &options, const Ref<Allocator> &host);

} // namespace flame::rt::cuda

#endif
