//===- Barrier.h - runtime/kernels/ptx/Barrier.h, emulated --------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include <cstdlib>

namespace flame {

/// In the 8 bytes of an mbarrier.
struct EmulatedBarrier {
  unsigned short missing, of; // arrivals of this phase, of each
  int bytes : 24, phase : 8;  // that are still to come
};
inline EmulatedBarrier &at(SharedAddress barrier) { return *(EmulatedBarrier *)barrier; }

inline void makeBarrier(SharedAddress barrier, int arrivals) { at(barrier) = {(unsigned short)arrivals, (unsigned short)arrivals, 0, 0}; }
inline void fenceBarriers() {}
inline void endPhase(SharedAddress barrier) {
  if (at(barrier).missing == 0 && at(barrier).bytes == 0)
    at(barrier).missing = at(barrier).of, ++at(barrier).phase;
}
inline void arrive(SharedAddress barrier) {
  --at(barrier).missing;
  endPhase(barrier);
}
/// Copies land at once, but not before.
inline void arriveAfterCopies(SharedAddress barrier) {
  emulator::commit();
  emulator::wait(0);
  arrive(barrier);
}
inline void arriveExpecting(SharedAddress barrier, int bytes) {
  at(barrier).bytes += bytes;
  arrive(barrier);
}
inline bool hasEnded(SharedAddress barrier, int parity) { return (at(barrier).phase & 1) != parity; }
inline void await(SharedAddress barrier, int parity) {
  while (!hasEnded(barrier, parity))
    emulator::yield();
}
inline bool isElected() { return threadId() % 32 == 0; }
template <int> void giveRegisters() {}
template <int> void takeRegisters() {}
inline int clusterRank() { return emulator::clusterRank(); }
inline void arriveAt(SharedAddress barrier, int rank) { arrive(clusterAddress(barrier, rank)); }
inline void arriveReleasing(SharedAddress barrier, int rank) { arriveAt(barrier, rank); }
inline void sendShared(SharedAddress there, SharedAddress barrier, unsigned a, unsigned b, unsigned c, unsigned d) {
  const unsigned words[4] = {a, b, c, d};
  std::memcpy(there, words, sizeof words);
  at(barrier).bytes -= sizeof words;
  endPhase(barrier);
}
inline void arriveThreads(int number, int threads) { emulator::arriveThreads(number, threads); }
inline void syncThreads(int number, int threads) { emulator::syncThreads(number, threads); }
inline bool syncThreadsAny(int number, int threads, bool condition) {
  bool *any = (bool *)emulator::staticShared(-1 - number, 1);
  syncThreads(number, threads);
  *any = false;
  syncThreads(number, threads);
  *any |= condition;
  syncThreads(number, threads);
  return *any;
}

inline void arriveCluster() { emulator::arriveCluster(); }
inline void awaitCluster() { emulator::awaitCluster(); }

} // namespace flame
