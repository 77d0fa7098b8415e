//===- Team.h - blocks that share a row --------------------------------------------------------------------------===//
//
// The blocks of a cooperative kernel run at the same time. Consecutive ones form a team, which hands numbers around: each
// block publishes its own and reads those of the others. A number travels with the exchange's number in one word of 64
// bits, so that no fence and no counter is needed; two sets of slots take turns, because a block that is done with an
// exchange may be one ahead of the others, never two.
//
// State (of the session, zero before its first kernel): word 0 is how many exchanges kernels have made so far, word 1 how
// many blocks of this kernel are done; then slots.
//
//===-------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Grid.h"
#include "schedule/Team.h"

namespace flame {

/// Blocks `first` to `first` + `size` of the grid, this one among them. All threads of a block call the methods.
class Team {
public:
  FLAME_DEVICE Team(unsigned *state, int first, int size)
      : state(state), begun(readState(state)), exchanges(begun), first(first), size(size) {}

  /// Tells the others one number or two; thread 0's count.
  template <typename T> FLAME_DEVICE void publish(T mine) {
    ++exchanges;
    write(mine, 0);
  }
  template <typename T> FLAME_DEVICE void publish(T mine, T other) {
    publish(mine);
    write(other, sizeof(T) / 4);
  }
  /// Fills all[0], …, all[size − 1] (shared memory) with what the blocks have published last, in their order; waits for them.
  template <typename T> FLAME_DEVICE void collect(T *all) {
    read(all, 0);
    syncBlock();
  }
  template <typename T> FLAME_DEVICE void collect(T *all, T *allOthers) {
    read(all, 0);
    read(allOthers, sizeof(T) / 4);
    syncBlock();
  }

  /// At the end of the kernel, by the blocks without a row, too. `most`: exchanges of the team that made most.
  FLAME_DEVICE void leave(int most) {
    syncBlock();
    if (threadId() == 0 && addToState(state + 1) == (unsigned)gridSize() - 1) {
      state[0] = begun + (unsigned)most;
      state[1] = 0;
    }
  }

private:
  template <typename T> union Words {
    static_assert(sizeof(T) % 4 == 0);
    T value;
    unsigned bits[sizeof(T) / 4];
  };
  unsigned *state, begun, exchanges;
  int first, size;

  FLAME_DEVICE unsigned long long *slot(int block, int word) {
    return (unsigned long long *)(state + TeamState::header / 4) + (((int)(exchanges & 1) * TeamState::blocks + block) * TeamState::words + word);
  }
  template <typename T> FLAME_DEVICE void write(T mine, int at) {
    if (threadId() != 0)
      return;
    const Words<T> mineWords{mine};
    for (int i = 0; i < (int)sizeof(T) / 4; ++i)
      writeWord(slot(blockId(), at + i), (unsigned long long)exchanges << 32 | mineWords.bits[i]);
  }
  template <typename T> FLAME_DEVICE void read(T *all, int at) {
    for (int block = threadId(); block < size; block += blockSize()) {
      Words<T> theirs;
      for (int i = 0; i < (int)sizeof(T) / 4; ++i) {
        unsigned long long word;
        do
          word = readWord(slot(first + block, at + i));
        while ((unsigned)(word >> 32) != exchanges);
        theirs.bits[i] = (unsigned)word;
      }
      all[block] = theirs.value;
    }
  }
};

} // namespace flame
