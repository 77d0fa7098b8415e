//===- Transfer.cpp - see Transfer.h ---------------------------------------===//

#include "Transfer.h"
#include "../Memory.h"
#include "Device.h"

#include <algorithm>

namespace flame::rt::cuda {

void checkMemory(int device, const void *data) { Device::open(device)->checkPointer(data); }

void copy(void *to, int toDevice, const void *from, int fromDevice, size_t bytes) {
  if (bytes == 0)
    return;
  if (toDevice != kHost && fromDevice != kHost && toDevice != fromDevice)
    fail(FLAME_INVALID_ARGUMENT, "a tensor cannot be copied from GPU ", fromDevice, " to GPU ", toDevice,
         "; copy it to CPU memory first");
  const Ref<Device> device = Device::open(std::max(toDevice, fromDevice));
  const Driver &driver = device->driver;
  ContextScope scope(*device);
  check(driver.ctxSynchronize(), "waiting for the GPU");
  const Stream stream(device);
  if (toDevice == kHost)
    check(driver.memcpyDtoHAsync(to, address(from), bytes, stream.handle), "reading memory of the GPU");
  else if (fromDevice == kHost)
    check(driver.memcpyHtoDAsync(address(to), from, bytes, stream.handle), "writing memory of the GPU");
  else
    check(driver.memcpyDtoDAsync(address(to), address(from), bytes, stream.handle), "copying on the GPU");
  check(driver.streamSynchronize(stream.handle), "waiting for the GPU");
}

} // namespace flame::rt::cuda
