//===- Barrier.h - runtime/kernels/ptx/Barrier.h, emulated --------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include <cstdlib>

namespace flame {

/// In the 8 bytes of an mbarrier.
struct EmulatedBarrier {
  int missing;           // arrivals of this phase
  unsigned short of, phase;
};
inline EmulatedBarrier &at(SharedAddress barrier) { return *(EmulatedBarrier *)barrier; }

inline void makeBarrier(SharedAddress barrier, int arrivals) { at(barrier) = {arrivals, (unsigned short)arrivals, 0}; }
inline void fenceBarriers() {}
inline void arrive(SharedAddress barrier) {
  if (--at(barrier).missing == 0)
    at(barrier).missing = at(barrier).of, ++at(barrier).phase;
}
/// Copies land at once, but not before.
inline void arriveAfterCopies(SharedAddress barrier) {
  emulator::commit();
  emulator::wait(0);
  arrive(barrier);
}
/// There is no copy engine.
inline void arriveExpecting(SharedAddress, int) { std::abort(); }
inline bool hasEnded(SharedAddress barrier, int parity) { return (at(barrier).phase & 1) != parity; }
inline void await(SharedAddress barrier, int parity) {
  while (!hasEnded(barrier, parity))
    emulator::yield();
}
inline void syncThreads(int number, int threads) { emulator::syncThreads(number, threads); }

} // namespace flame
