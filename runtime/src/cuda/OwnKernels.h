//===- OwnKernels.h - kernels that belong to the runtime, not to an artifact -===//
//
// PTX in the library, compiled by the driver when a device first needs it: the checks of indices and of ends of groups, and the loops that
// measure what the GPU can compute. OwnKernels.cu is their source.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_OWNKERNELS_H
#define FLAME_RUNTIME_CUDA_OWNKERNELS_H

#include "DriverApi.h"

#include <string>

namespace flame::rt::cuda {

struct Driver;

enum class OwnKernel { CheckIndices, CheckEnds, PeakF32, PeakTf32, PeakF16, PeakBf16 };
inline constexpr int kOwnKernels = 6;

class OwnKernels {
public:
  /// In the context that is current. A driver without a compiler of PTX gives functions that are null and a reason.
  explicit OwnKernels(const Driver &driver);
  ~OwnKernels();
  OwnKernels(const OwnKernels &) = delete;

  CUfunction function(OwnKernel kernel) const { return functions[static_cast<int>(kernel)]; }
  /// Why there are none; empty where there are.
  const std::string &failure() const { return reason; }

private:
  const Driver &driver;
  CUmodule module = nullptr;
  CUfunction functions[kOwnKernels] = {};
  std::string reason;
};

} // namespace flame::rt::cuda

#endif
