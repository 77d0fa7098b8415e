//===- Memory.h - tensor memory: hooks, accounting, limit, buffers --------===//
//
// Every tensor, arena and scratch area of a module comes from the module's Allocator, which counts bytes, enforces the
// memory limit and can be told to fail the N-th request. A Buffer is a reference-counted piece of memory; it keeps its
// allocator alive, so outputs may outlive their module.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_MEMORY_H
#define FLAME_RUNTIME_MEMORY_H

#include "Error.h"
#include "Ref.h"

#include <atomic>
#include <cstdint>

namespace flame::rt {

inline constexpr size_t kAlignment = 64;

constexpr uint64_t alignUp(uint64_t bytes, uint64_t alignment = kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Thrown where the limit would be exceeded; Session adds the names of the largest tensors.
class MemoryLimitError : public Error {
public:
  MemoryLimitError(uint64_t requested, uint64_t current, uint64_t limit);
};

class Allocator : public RefCounted {
public:
  Allocator() = default;
  Allocator(const flame_allocator &hooks, uint64_t limit, uint64_t failAt, bool poison)
      : hooks(hooks), limit(limit), failAt(failAt), poison(poison) {}

  /// 64-byte aligned memory; throws Error(FLAME_OUT_OF_MEMORY) or MemoryLimitError.
  void *allocate(size_t bytes);
  void deallocate(void *memory, size_t bytes) noexcept;

  uint64_t currentBytes() const { return current.load(std::memory_order_relaxed); }
  uint64_t peakBytes() const { return peak.load(std::memory_order_relaxed); }
  uint64_t limitBytes() const { return limit; }

  /// The allocator of values that belong to no module.
  static Ref<Allocator> shared();

private:
  flame_allocator hooks{};
  uint64_t limit = 0;
  uint64_t failAt = 0;
  bool poison = false;
  std::atomic<uint64_t> current{0}, peak{0}, requests{0};
};

class Buffer : public RefCounted {
public:
  void *data = nullptr;
  size_t bytes = 0;
};

/// Memory of `allocator`. Zero bytes give a valid pointer.
Ref<Buffer> allocateBuffer(const Ref<Allocator> &allocator, size_t bytes);
/// `count` empty std::strings. What the strings themselves allocate is not accounted for.
Ref<Buffer> allocateStrings(const Ref<Allocator> &allocator, size_t count);
/// The caller's memory; `release(user)` runs when the last reference goes.
Ref<Buffer> wrapBuffer(void *data, size_t bytes, void (*release)(void *user), void *user);

} // namespace flame::rt

#endif
