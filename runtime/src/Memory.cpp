//===- Memory.cpp - see Memory.h ------------------------------------------===//

#include "Memory.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>

namespace flame::rt {

MemoryLimitError::MemoryLimitError(uint64_t requested, uint64_t current, uint64_t limit)
    : Error(FLAME_OUT_OF_MEMORY, cat("the memory limit of ", formatBytes(limit), " would be exceeded: ",
                                     formatBytes(current), " are in use and ", formatBytes(requested),
                                     " more are needed, a peak of ", formatBytes(current + requested))) {}

void *Allocator::allocate(size_t bytes) {
  // An empty tensor still needs a pointer that kernels may look at.
  const size_t size = bytes ? bytes : 1;
  if (requests.fetch_add(1, std::memory_order_relaxed) + 1 == failAt)
    fail(FLAME_OUT_OF_MEMORY, "cannot allocate ", formatBytes(bytes), " (the allocation that fail_allocation chose)");
  uint64_t before = current.load(std::memory_order_relaxed);
  do {
    if (size > UINT64_MAX / 2 - before || (limit && before + size > limit))
      throw MemoryLimitError(size, before, limit ? limit : UINT64_MAX / 2);
  } while (!current.compare_exchange_weak(before, before + size, std::memory_order_relaxed));

  void *memory;
  if (hooks.alloc)
    memory = hooks.alloc(size, kAlignment, hooks.user);
  else
    memory = size > SIZE_MAX - kAlignment ? nullptr : std::aligned_alloc(kAlignment, alignUp(size));
  if (!memory) {
    current.fetch_sub(size, std::memory_order_relaxed);
    fail(FLAME_OUT_OF_MEMORY, "cannot allocate ", formatBytes(bytes), " (", formatBytes(before),
         " are in use by this model)");
  }
  uint64_t seen = peak.load(std::memory_order_relaxed);
  while (before + size > seen && !peak.compare_exchange_weak(seen, before + size, std::memory_order_relaxed)) {
  }
  if (poison)
    std::memset(memory, 0xFF, size);
  return memory;
}

void Allocator::deallocate(void *memory, size_t bytes) noexcept {
  const size_t size = bytes ? bytes : 1;
  if (hooks.alloc) {
    if (hooks.free)
      hooks.free(memory, size, hooks.user);
  } else {
    std::free(memory);
  }
  current.fetch_sub(size, std::memory_order_relaxed);
}

Ref<Allocator> Allocator::shared() {
  static Ref<Allocator> instance = makeRef<Allocator>();
  return instance;
}

namespace {

class OwnedBuffer : public Buffer {
public:
  explicit OwnedBuffer(Ref<Allocator> allocator) : allocator(std::move(allocator)) {}
  ~OwnedBuffer() override {
    if (data)
      allocator->deallocate(data, bytes);
  }
  Ref<Allocator> allocator;
};

class StringBuffer : public OwnedBuffer {
public:
  using OwnedBuffer::OwnedBuffer;
  ~StringBuffer() override {
    if (data)
      std::destroy_n(static_cast<std::string *>(data), bytes / sizeof(std::string));
  }
};

class WrappedBuffer : public Buffer {
public:
  WrappedBuffer(void (*release)(void *), void *user) : callback(release), user(user) {}
  ~WrappedBuffer() override {
    if (callback)
      callback(user);
  }
  void (*callback)(void *);
  void *user;
};

} // namespace

Ref<Buffer> allocateBuffer(const Ref<Allocator> &allocator, size_t bytes) {
  auto buffer = makeRef<OwnedBuffer>(allocator);
  buffer->data = allocator->allocate(bytes);
  buffer->bytes = bytes;
  return Ref<Buffer>::adopt(buffer.detach());
}

Ref<Buffer> allocateStrings(const Ref<Allocator> &allocator, size_t count) {
  if (count > SIZE_MAX / sizeof(std::string) / 2)
    fail(FLAME_OUT_OF_MEMORY, "cannot allocate ", count, " strings");
  auto buffer = makeRef<StringBuffer>(allocator);
  buffer->data = allocator->allocate(count * sizeof(std::string));
  buffer->bytes = count * sizeof(std::string);
  std::uninitialized_default_construct_n(static_cast<std::string *>(buffer->data), count);
  return Ref<Buffer>::adopt(buffer.detach());
}

Ref<Buffer> wrapBuffer(void *data, size_t bytes, void (*release)(void *), void *user) {
  auto *buffer = new WrappedBuffer(release, user);
  buffer->data = data;
  buffer->bytes = bytes;
  return Ref<Buffer>::adopt(buffer);
}

std::string formatBytes(uint64_t bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024)
    return cat(bytes, bytes == 1 ? " byte" : " bytes");
  int unit = 0;
  uint64_t tenths = bytes, divisor = 1;
  while (bytes / divisor >= 1024 && unit < 6) {
    divisor *= 1024;
    ++unit;
  }
  tenths = bytes / divisor * 10 + (bytes % divisor) * 10 / divisor;
  return cat(tenths / 10, '.', tenths % 10, ' ', units[unit]);
}

std::string formatDims(const int64_t *dims, int rank) {
  std::string out = "[";
  for (int i = 0; i < rank; ++i) {
    if (i)
      out += ',';
    out += std::to_string(dims[i]);
  }
  return out + "]";
}

} // namespace flame::rt
