//===- DeviceMemory.cpp - see DeviceMemory.h -------------------------------===//

#include "DeviceMemory.h"

namespace flame::rt::cuda {

void *DeviceAllocator::obtain(size_t bytes, uint64_t inUse) {
  if (void *memory = stream->allocate(bytes))
    return memory;
  const Device &gpu = *stream->device;
  ContextScope scope(gpu);
  size_t available = 0, total = 0;
  gpu.driver.memGetInfo(&available, &total);
  throw MemoryLimitError(cat(gpu.describe(), " is out of memory: ", formatBytes(bytes), " are needed and ",
                             formatBytes(available), " of ", formatBytes(gpu.memory), " are free; this model holds ",
                             formatBytes(inUse)),
                         "use smaller inputs, or free memory that other processes hold on this GPU");
}

void DeviceAllocator::giveBack(void *memory, size_t) noexcept { stream->giveBack(memory); }

void DeviceAllocator::fill(void *memory, int value, size_t bytes) {
  ContextScope scope(*stream->device);
  check(stream->device->driver.memsetD8Async(address(memory), value, bytes, stream->use()),
        "filling memory of the GPU");
}

void DeviceAllocator::verify() const {
  if (stream->isFlagged())
    fail(FLAME_BAD_DATA, "the session that made this tensor has been given an index out of range, and nobody has asked "
                         "since: flame_session_wait says which");
}

void DeviceAllocator::read(void *to, const void *from, size_t bytes) { stream->read(to, from, bytes); }

} // namespace flame::rt::cuda
