//===- Memory.cpp - see Memory.h ------------------------------------------===//

#include "Memory.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace flame::rt {

MemoryLimitError::MemoryLimitError(uint64_t requested, uint64_t current, uint64_t limit)
    : Error(FLAME_OUT_OF_MEMORY, cat("the memory limit of ", formatBytes(limit), " would be exceeded: ",
                                     formatBytes(current), " are in use and ", formatBytes(requested),
                                     " more are needed, a peak of ", formatBytes(current + requested))),
      remedy("raise the limit or use smaller inputs") {}

uint64_t MemoryAccount::add(size_t size) {
  if (requests.fetch_add(1, std::memory_order_relaxed) + 1 == failAt)
    fail(FLAME_OUT_OF_MEMORY, "cannot allocate ", formatBytes(size), " (the allocation that fail_allocation chose)");
  uint64_t before = current.load(std::memory_order_relaxed);
  do {
    if (size > UINT64_MAX / 2 - before || (limit && before + size > limit))
      throw MemoryLimitError(size, before, limit ? limit : UINT64_MAX / 2);
  } while (!current.compare_exchange_weak(before, before + size, std::memory_order_relaxed));
  return before;
}

void MemoryAccount::notePeak(uint64_t bytes) noexcept {
  uint64_t seen = peak.load(std::memory_order_relaxed);
  while (bytes > seen && !peak.compare_exchange_weak(seen, bytes, std::memory_order_relaxed)) {
  }
}

void *Allocator::allocate(size_t bytes) {
  // An empty tensor still needs a pointer that kernels may look at.
  const size_t size = bytes ? bytes : 1;
  const size_t guards = modes.redZones ? kGuardBytes + alignUp(size) - size + kGuardBytes : 0;
  const uint64_t before = account->add(size);
  char *memory = nullptr;
  try {
    memory = size > SIZE_MAX / 2 ? nullptr : static_cast<char *>(obtain(size + guards, before));
    if (!memory)
      fail(FLAME_OUT_OF_MEMORY, "cannot allocate ", formatBytes(bytes), " (", formatBytes(before),
           " are in use by this model)");
    account->notePeak(before + size);
    if (modes.redZones) {
      fill(memory, kGuardValue, kGuardBytes);
      memory += kGuardBytes;
      fill(memory + size, kGuardValue, guards - kGuardBytes);
      std::lock_guard lock(guardMutex);
      guarded[memory] = size;
    }
    if (modes.poison)
      fill(memory, 0xFF, size);
  } catch (...) {
    if (memory && guards) {
      std::lock_guard lock(guardMutex);
      memory -= guarded.erase(memory) ? kGuardBytes : 0;
    }
    if (memory)
      giveBack(memory, size + guards);
    account->remove(size);
    throw;
  }
  return memory;
}

void Allocator::deallocate(void *memory, size_t bytes) noexcept {
  const size_t size = bytes ? bytes : 1;
  if (modes.redZones) {
    try {
      checkBlock(memory, size);
    } catch (Error &error) {
      std::lock_guard lock(guardMutex);
      if (violation.empty())
        violation.swap(error.message);
    } catch (...) {
      // No memory for the message; the next check finds what is left of it.
    }
    {
      std::lock_guard lock(guardMutex);
      guarded.erase(memory);
    }
    giveBack(static_cast<char *>(memory) - kGuardBytes, 2 * kGuardBytes + alignUp(size));
  } else {
    giveBack(memory, size);
  }
  account->remove(size);
}

void *Allocator::obtain(size_t bytes, uint64_t) {
  if (hooks.alloc)
    return hooks.alloc(bytes, kAlignment, hooks.user);
  return bytes > SIZE_MAX - kAlignment ? nullptr : std::aligned_alloc(kAlignment, alignUp(bytes));
}

void Allocator::giveBack(void *memory, size_t bytes) noexcept {
  if (!hooks.alloc)
    std::free(memory);
  else if (hooks.free)
    hooks.free(memory, bytes, hooks.user);
}

void Allocator::fill(void *memory, int value, size_t bytes) { std::memset(memory, value, bytes); }
void Allocator::read(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }

// ---- red zones

void Allocator::checkGuard(const void *guard, const void *block, const char *side, size_t bytes) {
  unsigned char seen[kGuardBytes];
  read(seen, guard, kGuardBytes);
  for (size_t i = 0; i < kGuardBytes; ++i)
    if (seen[i] != kGuardValue)
      throw RedZoneError(block, cat("memory ", side, " a tensor of ", formatBytes(bytes),
                                    " has been overwritten, first ", i, " bytes ",
                                    side[0] == 'b' ? "after the beginning of the guard before it" : "behind its end"));
}

void Allocator::checkBlock(const void *block, size_t bytes) {
  const char *data = static_cast<const char *>(block);
  checkGuard(data - kGuardBytes, block, "before", bytes);
  checkGuard(data + bytes, block, "behind", bytes);
}

void Allocator::checkRedZones() {
  if (!modes.redZones)
    return;
  std::lock_guard lock(guardMutex);
  if (!violation.empty())
    throw RedZoneError(nullptr, std::exchange(violation, {}));
  for (const auto &[block, bytes] : guarded)
    checkBlock(block, bytes);
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
  void verify() const override { allocator->verify(); }
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
