//===- Transfer.h - device memory outside of any session --------------------===//
//
// For values that come from or go to the application: each call opens the device by its number and waits for the GPU.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_TRANSFER_H
#define FLAME_RUNTIME_CUDA_TRANSFER_H

#include <cstddef>
#include <cstdint>

namespace flame::rt::cuda {

/// Throws Error(FLAME_INVALID_ARGUMENT) unless `data` is memory of this device.
void checkMemory(int device, const void *data);
/// Between CPU (kHost) and a device, or within one; after everything that has been given to the device.
void copy(void *to, int toDevice, const void *from, int fromDevice, size_t bytes);

struct PoolMemory {
  uint64_t used, peak, reserved;
};
/// As flame_device_memory and flame_device_trim.
PoolMemory poolMemory(int device);
void trimPool(int device);

} // namespace flame::rt::cuda

#endif
