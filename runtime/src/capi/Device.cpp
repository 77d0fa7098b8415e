//===- Device.cpp - GPUs in the C interface ---------------------------------===//

#include "../cuda/TorchNormal.h"
#include "../cuda/Transfer.h"
#include "Handles.h"

using namespace flame::rt;

flame_status *flame_device_memory(int32_t device, flame_gpu_memory *memory) {
  return guard([&] {
    flame_gpu_memory &out = checkHandle(memory, "memory");
    const cuda::PoolMemory pool = cuda::poolMemory(device);
    out = {pool.used, pool.peak, pool.reserved};
  });
}

flame_status *flame_device_trim(int32_t device) {
  return guard([&] { cuda::trimPool(device); });
}

flame_status *flame_device_torch_normal(int32_t device, uint64_t seed, uint64_t *block, float *out, size_t count) {
  return guard([&] {
    uint64_t &position = checkHandle(block, "block");
    if (count)
      checkHandle(out, "out");
    position = cuda::torchNormal(device, seed, position, count, out);
  });
}
