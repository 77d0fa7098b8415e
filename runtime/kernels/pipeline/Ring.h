//===- Ring.h - stages between those that copy and those that multiply -------------------------------------------===//
//
// Stages of shared memory are filled and read in turn, round and round. Each has two barriers: `full` ends a phase when all
// bytes have come, `empty` when all readers have gone on.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"

namespace flame {

/// The barriers of `stages` stages, in shared memory.
template <int stages> struct Ring {
  SharedAddress barriers;

  FLAME_DEVICE SharedAddress full(int stage) const { return barriers + 8 * stage; }
  FLAME_DEVICE SharedAddress empty(int stage) const { return barriers + 8 * (stages + stage); }
  /// Behind the barriers.
  FLAME_DEVICE SharedAddress end() const { return barriers + 16 * stages; }
  /// By one thread. `readers`: arrivals that free a stage.
  FLAME_DEVICE void make(int readers) const {
    for (int stage = 0; stage < stages; ++stage) {
      makeBarrier(full(stage), 1);
      makeBarrier(empty(stage), readers);
    }
    fenceBarriers();
  }
};

/// A place in the ring. `parity` is that of the phase which fills the stage this time.
template <int stages> struct RingPlace {
  int stage = 0, parity = 0;

  FLAME_DEVICE void next() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  FLAME_DEVICE void skip(int count) {
    const int turns = stage + count;
    stage = (int)((unsigned)turns % stages);
    parity ^= (int)((unsigned)turns / stages & 1);
  }
};

} // namespace flame
