//===- Grid.h - runtime/kernels/ptx/Grid.h, emulated --------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

inline int gridSize() { return emulator::gridSize(); }
inline int blockSize() { return emulator::blockSize(); }
inline unsigned readState(const unsigned *at) { return *at; }
inline unsigned addToState(unsigned *at) { return (*at)++; }
inline void fenceDevice() {}
inline void writeWord(unsigned long long *at, unsigned long long word) { *at = word; }
/// Who waits for another block's word lets it run.
inline unsigned long long readWord(const unsigned long long *at) {
  emulator::yield();
  return *at;
}

} // namespace flame
