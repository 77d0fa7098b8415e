//===- DeviceMemory.h - the allocator of a GPU's memory --------------------===//
//
// One for each stream: memory is ordered with the work in it. Allocations are multiples of 256 bytes, as the driver
// makes them, and count with what was asked for.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_DEVICEMEMORY_H
#define FLAME_RUNTIME_CUDA_DEVICEMEMORY_H

#include "../Memory.h"
#include "Device.h"

namespace flame::rt::cuda {

class DeviceAllocator : public Allocator {
public:
  /// Counts in `host`'s account, with its debugging modes.
  DeviceAllocator(Ref<Stream> stream, const Allocator &host)
      : Allocator({}, host.account, host.modes), stream(std::move(stream)) {}

  int device() const override { return stream->device->ordinal; }
  void fill(void *memory, int value, size_t bytes) override;
  void verify() const override;

  const Ref<Stream> stream;

protected:
  void *obtain(size_t bytes, uint64_t inUse) override;
  void giveBack(void *memory, size_t bytes) noexcept override;
  void read(void *to, const void *from, size_t bytes) override;
};

} // namespace flame::rt::cuda

#endif
