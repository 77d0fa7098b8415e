//===- Copy.h - runtime/kernels/ptx/Copy.h, emulated --------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"

namespace flame {

template <int bytes> void copyAsync(SharedAddress shared, const void *global, int valid) {
  emulator::copy(shared, global, bytes, valid);
}
inline void copyAsyncIf(bool wanted, SharedAddress shared, const void *global) {
  if (wanted)
    emulator::copy(shared, global, 16, 16);
}
inline void copyAsyncOrZero(bool wanted, bool inside, SharedAddress shared, const void *global) {
  if (wanted)
    emulator::copy(shared, global, 16, inside ? 16 : 0);
}
/// Poisons its target, lets others run, and lands.
inline void copyBulk(SharedAddress shared, const void *global, int bytes, SharedAddress barrier) {
  if (bytes % 16 || reinterpret_cast<size_t>(shared) % 16 || reinterpret_cast<size_t>(global) % 16)
    std::abort();
  std::memset(shared, 0xff, bytes);
  for (int i = 0; i < 2; ++i)
    emulator::yield();
  std::memcpy(shared, global, bytes);
  at(barrier).bytes -= bytes;
  endPhase(barrier);
}
inline void prefetchBulk(const void *global, int bytes) {
  if (bytes % 16 || reinterpret_cast<size_t>(global) % 16)
    std::abort();
}
inline void commitCopies() { emulator::commit(); }
template <int pending> void waitCopies() { emulator::wait(pending); }

} // namespace flame
