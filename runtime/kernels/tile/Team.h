//===- Team.h - blocks that share a row --------------------------------------------------------------------------===//
//
// The blocks of a cooperative kernel run at the same time. Consecutive ones form a team, which hands numbers around: each
// block publishes its own and reads those of the others. A number travels with the exchange's number in one word of 64
// bits, so that no fence and no counter is needed; two sets of slots take turns, because a block that is done with an
// exchange may be one ahead of the others, never two.
//
// State (of the session, zero before its first kernel): word 0 is how many exchanges kernels have made so far, word 1 how
// many blocks of this kernel have come; then slots.
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

  /// Tells the others one number or two; thread 0's count, and only its warp need come.
  template <typename T> FLAME_DEVICE void publish(T mine) const {
    const T all[] = {mine};
    write(all);
  }
  template <typename T> FLAME_DEVICE void publish(T mine, T other) const {
    const T all[] = {mine, other};
    write(all);
  }
  /// Fills all[0], …, all[size − 1] (shared memory) with what the blocks have published last, in their order; waits for them.
  template <typename T> FLAME_DEVICE void collect(T *all) {
    T *const to[] = {all};
    read(to);
  }
  template <typename T> FLAME_DEVICE void collect(T *all, T *allOthers) {
    T *const to[] = {all, allOthers};
    read(to);
  }

  /// By every block of the grid, with or without a row, once: the last one to come knows that all have read where this kernel
  /// began. What it learns is for `leave`, so that nobody waits for it.
  FLAME_DEVICE void come() {
    if (threadId() == 0)
      before = addToStateAfter(state + 1, begun);
  }
  /// At the end of the kernel. `most`: exchanges of the team that made most, or more.
  FLAME_DEVICE void leave(int most) const {
    if (threadId() == 0 && before == notCome)
      stopKernel(); // the session's next kernel would read numbers of this one
    if (threadId() == 0 && before == (unsigned)gridSize() - 1) {
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
  static constexpr unsigned notCome = ~0u;
  unsigned *state, begun, exchanges, before = notCome;
  int first, size;

  /// The words of a block in the exchange that is about to be, the next one.
  FLAME_DEVICE unsigned long long *slot(int block) const {
    return (unsigned long long *)(state + TeamState::header / 4) +
           ((int)((exchanges + 1) & 1) * TeamState::blocks + block) * TeamState::words;
  }
  template <int count, typename T> FLAME_DEVICE void write(const T (&mine)[count]) const {
    if (threadId() != 0)
      return;
    unsigned long long *to = slot(blockId());
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const Words<T> words{mine[i]};
#pragma unroll
      for (int j = 0; j < (int)sizeof(T) / 4; ++j)
        writeWord(to++, (unsigned long long)(exchanges + 1) << 32 | words.bits[j]);
    }
  }
  /// All words of a block are read at a time, and again until none is missing.
  template <int count, typename T> FLAME_DEVICE void read(T *const (&all)[count]) {
    constexpr int words = count * sizeof(T) / 4;
    for (int block = threadId(); block < size; block += blockSize()) {
      const unsigned long long *from = slot(first + block);
      unsigned long long word[words];
      bool missing;
      do {
        missing = false;
        if constexpr (words == 1) {
          word[0] = readWord(from);
        } else {
#pragma unroll
          for (int i = 0; i < words; i += 2)
            readWords(*(unsigned long long (*)[2]) & word[i], from + i);
        }
#pragma unroll
        for (int i = 0; i < words; ++i)
          missing |= (unsigned)(word[i] >> 32) != exchanges + 1;
      } while (missing);
#pragma unroll
      for (int k = 0; k < count; ++k) {
        Words<T> theirs;
#pragma unroll
        for (int i = 0; i < words / count; ++i)
          theirs.bits[i] = (unsigned)word[k * (words / count) + i];
        all[k][block] = theirs.value;
      }
    }
    ++exchanges;
    syncBlock();
  }
};

} // namespace flame
