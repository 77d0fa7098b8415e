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

namespace {

CUmemoryPool poolOf(const Device &device) {
  if (!device.pool)
    fail(FLAME_UNSUPPORTED, "the driver of ", device.describe(), " has no memory pools; nothing is kept between runs");
  return device.pool;
}

} // namespace

PoolMemory poolMemory(int ordinal) {
  const Ref<Device> device = Device::open(ordinal);
  ContextScope scope(*device);
  device->synchronize(); // what has been released is gone then
  auto attribute = [&](int which) {
    uint64_t value = 0;
    check(device->driver.memPoolGetAttribute(poolOf(*device), which, &value), "asking for the memory in use");
    return value;
  };
  return {attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT), attribute(CU_MEMPOOL_ATTR_USED_MEM_HIGH),
          attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)};
}

void trimPool(int ordinal) {
  const Ref<Device> device = Device::open(ordinal);
  ContextScope scope(*device);
  device->reclaim();
  uint64_t restart = 0;
  check(device->driver.memPoolTrimTo(poolOf(*device), 0), "giving memory of the GPU back");
  check(device->driver.memPoolSetAttribute(device->pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &restart),
        "giving memory of the GPU back");
}

} // namespace flame::rt::cuda
