//===- Copy.h - runtime/kernels/ptx/Copy.h, emulated --------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include <cstdlib>

namespace flame {

template <int bytes> void copyAsync(SharedAddress shared, const void *global, int valid) {
  emulator::copy(shared, global, bytes, valid);
}
inline void copyBulk(SharedAddress, const void *, int, SharedAddress) { std::abort(); } // no copy engine here
inline void commitCopies() { emulator::commit(); }
template <int pending> void waitCopies() { emulator::wait(pending); }

} // namespace flame
