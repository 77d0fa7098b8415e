//===- Grid.h - runtime/kernels/ptx/Grid.h, emulated --------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include <cstdlib>

namespace flame {

inline int gridSize() { return emulator::gridSize(); }
inline int blockSize() { return emulator::blockSize(); }
/// Who waits for another block lets it run.
inline unsigned readState(const unsigned *at) {
  emulator::yield();
  return *at;
}
inline unsigned addToState(unsigned *at) { return (*at)++; }
inline unsigned addToStateAfter(unsigned *at, unsigned) { return addToState(at); }
inline void stopKernel() { std::abort(); }
inline void fenceDevice() {}
inline void writeWord(unsigned long long *at, unsigned long long word) { *at = word; }
inline unsigned long long readWord(const unsigned long long *at) {
  emulator::yield();
  return *at;
}
inline void readWords(unsigned long long (&words)[2], const unsigned long long *at) {
  words[0] = readWord(at);
  words[1] = readWord(at + 1);
}
inline void raiseFlag(unsigned *at) {
  if (*at != 0)
    std::abort(); // nobody has lowered it
  *at = 1;
}
inline void awaitFlag(const unsigned *at) {
  while (*at == 0)
    emulator::yield();
}
template <typename Four> Four readFresh(const Four *at) { return *at; }

} // namespace flame
