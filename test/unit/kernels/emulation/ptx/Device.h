//===- Device.h - runtime/kernels/ptx/Device.h, emulated ----------------------------------------------------------===//
#pragma once
#include "Emulator.h"
#include <cstring>

namespace flame {

#define FLAME_DEVICE inline
#define FLAME_CALLED inline

inline unsigned char *dynamicShared() { return emulator::shared(); }
using SharedAddress = unsigned char *;
inline SharedAddress sharedAddress(const void *shared) { return (unsigned char *)shared; }
inline void *pointerTo(SharedAddress address) { return address; }
inline SharedAddress pinned(SharedAddress address) { return address; }
inline SharedAddress flip(SharedAddress address, int bits) { return (SharedAddress)((size_t)address ^ bits); }
inline void keepBranch() {}
inline unsigned asWord(unsigned word) { return word; }
inline int threadId() { return emulator::thread(); }
inline int blockId() { return emulator::block(); }
inline void syncBlock() { emulator::syncBlock(); }
inline void syncWarp() { emulator::syncWarp(); }
// Kernels run one after another here.
inline void releaseDependents() {}
inline void awaitProducers() {}
/// Of sm_90, which kernels for older GPUs and most tests do without.
#ifndef FLAME_EMULATED_CLUSTERS
#define FLAME_EMULATED_CLUSTERS false
#endif
constexpr bool hasClusters = FLAME_EMULATED_CLUSTERS;
inline void syncCluster() {
  if (hasClusters) {
    emulator::arriveCluster();
    emulator::awaitCluster();
  }
}
inline SharedAddress clusterAddress(SharedAddress here, int rank) { return emulator::sharedOf(here, rank); }
template <int words> void loadCluster(unsigned (&to)[words], const void *shared, int rank) {
  std::memcpy(to, clusterAddress(sharedAddress(shared), rank), sizeof to);
}
template <typename T> void fromBits(T &value, unsigned bits) { std::memcpy(&value, &bits, 4); }
template <typename T> T shuffleXor(T value, int mask) {
  const int lane = threadId() % 32;
  std::memcpy(emulator::slot(lane), &value, sizeof value);
  syncWarp();
  std::memcpy(&value, emulator::slot(lane ^ mask), sizeof value);
  syncWarp();
  return value;
}
template <typename T> T shuffle(T value, int from) {
  std::memcpy(emulator::slot(threadId() % 32), &value, sizeof value);
  syncWarp();
  std::memcpy(&value, emulator::slot(from), sizeof value);
  syncWarp();
  return value;
}
inline int uniform(int value) { return value; }
inline bool anyLane(bool condition) {
  std::memcpy(emulator::slot(threadId() % 32), &condition, 1);
  syncWarp();
  bool any = false;
  for (int lane = 0; lane < 32; ++lane)
    any |= *(const bool *)emulator::slot(lane);
  syncWarp();
  return any;
}
inline bool syncBlockAny(bool condition) {
  bool *any = (bool *)emulator::staticShared(-1, 1);
  syncBlock();
  *any = false;
  syncBlock();
  *any |= condition;
  syncBlock();
  return *any;
}
inline unsigned addToShared(unsigned *at) { return (*at)++; }
inline void maxInShared(int *at, int value) { *at = *at < value ? value : *at; }
inline unsigned lanesWith(bool condition) {
  std::memcpy(emulator::slot(threadId() % 32), &condition, 1);
  syncWarp();
  unsigned lanes = 0;
  for (int lane = 0; lane < 32; ++lane)
    lanes |= (unsigned)*(const bool *)emulator::slot(lane) << lane;
  syncWarp();
  return lanes;
}
inline int countBits(unsigned bits) { return __builtin_popcount(bits); }

} // namespace flame
