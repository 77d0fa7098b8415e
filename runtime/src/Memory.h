//===- Memory.h - tensor memory: hooks, accounting, limit, buffers --------===//
//
// Every tensor, arena and scratch area of a module comes from one of the module's Allocators: one for the CPU and, in
// front of a GPU, one for each session's stream. They share an account, which counts bytes, enforces the memory limit and
// can be told to fail the N-th request. A Buffer is a reference-counted piece of memory; it keeps its allocator alive,
// so outputs may outlive their module.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_MEMORY_H
#define FLAME_RUNTIME_MEMORY_H

#include "Error.h"
#include "Ref.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>

namespace flame::rt {

inline constexpr size_t kAlignment = 64;
inline constexpr int kHost = -1; // in place of a device's number

constexpr uint64_t alignUp(uint64_t bytes, uint64_t alignment = kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Thrown where the limit would be exceeded or a GPU's memory is full; Session adds the names of the largest tensors.
class MemoryLimitError : public Error {
public:
  MemoryLimitError(uint64_t requested, uint64_t current, uint64_t limit);
  MemoryLimitError(std::string message, const char *remedy) : Error(FLAME_OUT_OF_MEMORY, std::move(message)), remedy(remedy) {}
  const char *remedy;
};

/// Guard bytes of `block` have been overwritten.
class RedZoneError : public Error {
public:
  RedZoneError(const void *block, std::string message) : Error(FLAME_INTERNAL, std::move(message)), block(block) {}
  const void *block;
};

class MemoryAccount : public RefCounted {
public:
  MemoryAccount() = default;
  MemoryAccount(uint64_t limit, uint64_t failAt) : limit(limit), failAt(failAt) {}

  /// Returns the bytes in use before. Throws Error(FLAME_OUT_OF_MEMORY) or MemoryLimitError.
  uint64_t add(size_t bytes);
  void remove(size_t bytes) noexcept { current.fetch_sub(bytes, std::memory_order_relaxed); }
  /// Only what has really been allocated makes a peak.
  void notePeak(uint64_t bytes) noexcept;

  uint64_t currentBytes() const { return current.load(std::memory_order_relaxed); }
  uint64_t peakBytes() const { return peak.load(std::memory_order_relaxed); }

private:
  uint64_t limit = 0, failAt = 0;
  std::atomic<uint64_t> current{0}, peak{0}, requests{0};
};

struct MemoryModes {
  bool poison = false;   // fill fresh memory with 0xFF bytes
  bool redZones = false; // guard bytes on both sides
};

class Allocator : public RefCounted {
public:
  Allocator() : account(makeRef<MemoryAccount>()) {}
  Allocator(const flame_allocator &hooks, Ref<MemoryAccount> account, MemoryModes modes)
      : account(std::move(account)), modes(modes), hooks(hooks) {}

  /// Memory aligned to 64 bytes, on a GPU to 256; throws Error(FLAME_OUT_OF_MEMORY) or MemoryLimitError.
  void *allocate(size_t bytes);
  void deallocate(void *memory, size_t bytes) noexcept;

  /// The device that the memory is on, or kHost.
  virtual int device() const { return kHost; }
  virtual void fill(void *memory, int value, size_t bytes);
  /// Throws where what is in the memory is known to be the result of a run that has gone wrong. Any thread, any time.
  virtual void verify() const {}

  /// With red zones: throws RedZoneError where guard bytes have been overwritten, be it of memory that is gone.
  void checkRedZones();
  /// Guard bytes within a block that has been divided by hand.
  static constexpr size_t kGuardBytes = 256;
  void makeGuard(void *guard) { fill(guard, kGuardValue, kGuardBytes); }
  void checkGuard(const void *guard, const void *block, const char *side, size_t bytes);

  const Ref<MemoryAccount> account;
  const MemoryModes modes;

  /// The allocator of values that belong to no module.
  static Ref<Allocator> shared();

protected:
  /// nullptr or an exception where there is none; `inUse` is for the message.
  virtual void *obtain(size_t bytes, uint64_t inUse);
  virtual void giveBack(void *memory, size_t bytes) noexcept;
  virtual void read(void *to, const void *from, size_t bytes);

private:
  static constexpr int kGuardValue = 0xFD;
  void checkBlock(const void *block, size_t bytes);

  flame_allocator hooks{};
  std::mutex guardMutex;
  std::map<const void *, size_t> guarded; // with red zones: the live blocks
  std::string violation;                  // found when a block was released
};

class Buffer : public RefCounted {
public:
  /// As Allocator::verify, after the work that made the contents has ended.
  virtual void verify() const {}

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
