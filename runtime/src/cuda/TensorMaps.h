//===- TensorMaps.h - how the copy engine sees tensors ----------------------===//
#ifndef FLAME_RUNTIME_CUDA_TENSORMAPS_H
#define FLAME_RUNTIME_CUDA_TENSORMAPS_H

#include "../Queue.h"
#include "Graph.h"

#include <map>

namespace flame::rt::cuda {

/// Makes tensor maps, parameters of kernels for sm_90a, and keeps them: with the same addresses and shapes, as in most runs,
/// they are the same.
class TensorMaps {
public:
  using Words = std::array<uint64_t, kTensorMapWords>;

  /// Valid until the next call. Throws Error(FLAME_DEVICE) where the driver is too old, or refuses.
  const Words &find(const Driver &driver, const TensorView &view);

private:
  static constexpr size_t kCapacity = 4096;
  std::map<TensorView, Words> maps;
};

} // namespace flame::rt::cuda

#endif
