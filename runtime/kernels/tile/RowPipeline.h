//===- RowPipeline.h - rows that stream through a grid in chunks --------------------------------------------------===//
//
// The blocks of a cooperative kernel take the chunks of all rows in turns, in order, and keep each in shared memory from its
// arrival until its results are stored. Warps are of four kinds: the first few count (a chunk's part of the row's
// reductions), some join (what all blocks have counted of a row), one fetches, the rest store. Each kind goes through the block's
// chunks in its own time, as far ahead of the next kind as there is room, so that memory stays busy while numbers travel from
// block to block. Step k of a block is chunk block + k · grid.
//
// Not all blocks of the grid take part: with as many that a row is a whole number of turns, or a turn a whole number of rows,
// a row is under way in as few steps as can be, and no place holds a chunk for longer than it must.
//
// A row with more chunks than the grid's shared memory holds cannot stay there until it has been counted; then the places
// of chunks are free once counted, and who stores reads from memory again (`keeps` is false).
//
// What is counted travels in words of 64 bits with a number in their upper half that no earlier word in that place had, so that
// no fence and no counter is needed for it; see tile/Team.h, whose state this is. A block has places for two laps of steps. It
// begins a lap when all blocks have joined the lap before the last one, which they tell by counters, so that nothing is
// overwritten before it has been read.
//
// State: words 0 and 1 as for teams; words 2 and 3 count the blocks that are done with even and odd laps.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include "ptx/Copy.h"
#include "ptx/Grid.h"
#include "schedule/RowPipeline.h"

namespace flame {

/// Places for chunks in a block's shared memory: on sm_90 and later, and before.
template <int hopperStages, int olderStages, typename Shape = RowPipelineShape, int mostAhead = Shape::ahead> class RowPipeline {
public:
  static constexpr int stages = hasClusters ? hopperStages : olderStages;
  static_assert(stages >= Shape::minStages && stages <= Shape::maxStages);

  /// All threads of the block. `memory` is shared memory of Shape::words, `lastStage` where the last of the chunks' places is; a
  /// row has so many `chunks`, all rows together `items`.
  FLAME_DEVICE RowPipeline(unsigned *state, unsigned long long *memory, void *lastStage, int chunks, int items)
      : state(state), begun(readState(state)), chunks(chunks), items(items), used(blocksFor(chunks)) {
    const int span = (chunks + used - 1) / used;
    kept = span < stages;
    while (!kept && 1 << lagBits < span + 2)
      ++lagBits;
    while ((2 << lapBits) * used <= Shape::places / 2)
      ++lapBits;
    const int held = kept ? stages : stages - 1, lag = kept ? stages : 1 << lagBits;
    unsigned long long *rings = kept ? memory + Shape::stageWords * Shape::maxStages : (unsigned long long *)lastStage;
    fetched = sharedAddress(memory), counted = fetched + 8 * stages;
    joined = sharedAddress(rings), stored = joined + 8 * lag, numbers = rings + 2 * lag;
    if (threadId() == 0) {
      for (int i = 0; i < held; ++i) {
        makeBarrier(fetched + 8 * i, hasClusters ? 1 : 32);
        makeBarrier(counted + 8 * i, Shape::countingWarps);
      }
      for (int i = 0; i < lag; ++i) {
        makeBarrier(joined + 8 * i, 1);
        makeBarrier(stored + 8 * i, Shape::storingWarps);
      }
      fenceBarriers();
    }
    syncBlock();
  }

  /// Blocks that take part, and the first chunk of this one; `items` if it is none of them.
  FLAME_DEVICE int blocks() const { return used; }
  FLAME_DEVICE int firstItem() const { return blockId() < used ? blockId() : items; }
  FLAME_DEVICE bool keeps() const { return kept; }
  /// Which of the chunks' places a step's has.
  FLAME_DEVICE int stageOf(int step) const { return kept ? step % stages : step % (stages - 1); }

  // ---- the warp that fetches

  /// What a later fetch brings, as far as the second-level cache: memory goes on reading while all places are taken.
  FLAME_DEVICE void prefetch(const void *global, int bytes) const {
    if (hasClusters && isFirstLane())
      prefetchBulk(global, bytes);
  }
  FLAME_DEVICE void beginFetch(int step, int bytes) const {
    awaitStored(step);
    if (!kept && step >= stages - 1)
      await(counted + 8 * stageOf(step), (stageTurn(step) - 1) & 1);
    // A phase can be waited for until the stage is filled again.
    constexpr int wanted = hasClusters ? mostAhead : Shape::olderAhead, ahead = stages - 1 < wanted ? stages - 1 : wanted;
    if (step >= ahead)
      awaitFetched(step - ahead);
    if (hasClusters && isFirstLane())
      arriveExpecting(fetched + 8 * stageOf(step), bytes);
  }
  FLAME_DEVICE void fetch(int step, const void *shared, const void *global, int bytes) const {
    if (hasClusters) {
      if (isFirstLane())
        copyBulk(sharedAddress(shared), global, bytes, fetched + 8 * stageOf(step));
    } else {
      for (int i = threadId() % 32 * 16; i < bytes; i += 32 * 16)
        copyAsync<16>(sharedAddress(shared) + i, (const char *)global + i, 16);
    }
  }
  FLAME_DEVICE void endFetch(int step) const {
    if (!hasClusters)
      arriveAfterCopies(fetched + 8 * stageOf(step));
  }

  // ---- the warps that count, and all that read chunks

  FLAME_DEVICE void awaitFetched(int step) const { await(fetched + 8 * stageOf(step), stageTurn(step) & 1); }
  /// Among the warps that count.
  FLAME_DEVICE void syncCounting() const { syncThreads(1, Shape::counting); }
  /// By all of them, when they have read the step's chunk.
  FLAME_DEVICE void endCounting(int step) const {
    if (!kept && isFirstLane())
      arrive(counted + 8 * stageOf(step));
  }
  /// Tells the others what has been counted of the step's chunk; thread 0's numbers count, and only its warp need come.
  template <typename T> FLAME_DEVICE void publish(int step, T mine) const {
    const T all[] = {mine};
    write(step, all);
  }
  template <typename T> FLAME_DEVICE void publish(int step, T mine, T other) const {
    const T all[] = {mine, other};
    write(step, all);
  }

  // ---- the warps that join

  /// Among the warps that join.
  FLAME_DEVICE void syncJoining() const {
    if constexpr (Shape::joiningWarps == 1)
      syncWarp();
    else
      syncThreads(2, Shape::joining);
  }
  /// Fills all[0], …, all[chunks − 1] (shared memory) with what has been counted of a row's chunks; waits for it. A thread
  /// gets every one whose number is its own among these warps, modulo their threads, and need not see the others.
  template <typename T> FLAME_DEVICE void collect(int row, T *all) const {
    T *const to[] = {all};
    read(row, to);
  }
  template <typename T> FLAME_DEVICE void collect(int row, T *all, T *allOthers) const {
    T *const to[] = {all, allOthers};
    read(row, to);
  }
  /// Hands the numbers of the step's row to the warps that store.
  template <typename T> FLAME_DEVICE void handOver(int step, T first) const {
    beginJoin(step);
    numberOf<T>(step, 0) = first;
    endJoin(step);
  }
  template <typename T> FLAME_DEVICE void handOver(int step, T first, T second) const {
    beginJoin(step);
    numberOf<T>(step, 0) = first;
    numberOf<T>(step, 1) = second;
    endJoin(step);
  }

  // ---- the warps that store

  FLAME_DEVICE void awaitJoined(int step) const {
    if (kept)
      awaitFetched(step);
    await(joined + 8 * placeOf(step), turnOf(step) & 1);
  }
  /// What was handed over.
  template <typename T> FLAME_DEVICE T number(int step, int which) const { return numberOf<T>(step, which); }
  FLAME_DEVICE void endStoring(int step) const {
    syncWarp();
    if (isFirstLane())
      arrive(stored + 8 * placeOf(step));
  }

  /// At the end of the kernel, all threads.
  FLAME_DEVICE void leave() const {
    syncBlock();
    if (threadId() == 0 && addToState(state + 1) == (unsigned)gridSize() - 1) {
      state[0] = begun + (unsigned)(laps() + 1) / 2;
      state[1] = state[2] = state[3] = 0;
    }
  }

private:
  template <typename T> union Words {
    static_assert(sizeof(T) % 4 == 0);
    T value;
    unsigned bits[sizeof(T) / 4];
  };
  unsigned *state, begun;
  // Counts of places that are known only at run time are powers of two, as a division by them would take a hundred cycles, and each
  // kind of warps would need several for a step.
  int chunks, items, used, lagBits = 0, lapBits = 0;
  bool kept;
  SharedAddress fetched, counted, joined, stored; // barriers
  unsigned long long *numbers;

  /// An eighth of the blocks is more than even turns are worth.
  static FLAME_DEVICE int blocksFor(int chunks) {
    const int grid = gridSize(), turns = (chunks + grid - 1) / grid;
    const int even = chunks > grid ? (chunks + turns - 1) / turns : grid / chunks * chunks;
    return even * 8 >= grid * 7 ? even : grid;
  }
  static FLAME_DEVICE bool isFirstLane() { return threadId() % 32 == 0; }
  /// How often the step's stage has been filled before.
  FLAME_DEVICE int stageTurn(int step) const { return kept ? step / stages : step / (stages - 1); }
  /// Which place of those that wait to be stored the step has, and how often that has been used before.
  FLAME_DEVICE int placeOf(int step) const { return kept ? step % stages : step & ((1 << lagBits) - 1); }
  FLAME_DEVICE int turnOf(int step) const { return kept ? step / stages : step >> lagBits; }
  FLAME_DEVICE int laps() const { return (((items + used - 1) / used - 1) >> lapBits) + 1; }
  FLAME_DEVICE bool beginsLap(int step) const { return (step & ((1 << lapBits) - 1)) == 0; }
  /// That the step whose place this one has has been stored.
  FLAME_DEVICE void awaitStored(int step) const {
    if (turnOf(step) > 0)
      await(stored + 8 * placeOf(step), (turnOf(step) - 1) & 1);
  }
  template <typename T> FLAME_DEVICE T &numberOf(int step, int which) const { return *(T *)(numbers + 2 * placeOf(step) + which); }
  FLAME_DEVICE void beginJoin(int step) const { awaitStored(step); }
  FLAME_DEVICE void endJoin(int step) const {
    syncJoining();
    if (threadId() == Shape::counting) {
      arrive(joined + 8 * placeOf(step));
      if (beginsLap(step + 1))
        endLap(step >> lapBits);
    }
  }
  FLAME_DEVICE void endLap(int done) const {
    // Nobody waits for the last two laps, and no block misses a step of the others.
    if (done >= laps() - 2)
      return;
    fenceDevice();
    addToState(state + 2 + (done & 1));
  }
  /// By the thread that writes: that the lap before the last one has been read.
  FLAME_DEVICE void awaitPlace(int step) const {
    const int before = (step >> lapBits) - 2;
    if (threadId() != 0 || before < 0 || !beginsLap(step))
      return;
    while (readState(state + 2 + (before & 1)) < (unsigned)((before / 2 + 1) * used)) {
    }
    fenceDevice();
  }
  /// Of two laps. The items of two laps have places one after the other, so those of a row, as far as they are of the same two laps, lie
  /// side by side.
  FLAME_DEVICE int placesOfLaps() const { return used << (lapBits + 1); }
  FLAME_DEVICE unsigned long long *wordsAt(int place, int words) const {
    return (unsigned long long *)(state + Shape::firstPlace / 4) + place * words;
  }
  template <int count, typename T> FLAME_DEVICE void write(int step, const T (&mine)[count]) const {
    awaitPlace(step);
    if (threadId() == 0) {
      const int place = (step & ((2 << lapBits) - 1)) * used + blockId();
      const unsigned tag = begun + 1 + (unsigned)(step >> (lapBits + 1));
      unsigned long long *to = wordsAt(place, count * sizeof(T) / 4);
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const Words<T> words{mine[i]};
#pragma unroll
        for (int j = 0; j < (int)sizeof(T) / 4; ++j)
          writeWord(to++, (unsigned long long)tag << 32 | words.bits[j]);
      }
    }
  }
  /// Several places are read at a time, and all again until none is missing.
  template <int count, typename T> FLAME_DEVICE void read(int row, T *const (&all)[count]) const {
    constexpr int words = count * sizeof(T) / 4, batch = 16 / words;
    const int places = placesOfLaps(), twoLaps = row * chunks / places, begin = row * chunks - twoLaps * places;
    for (int first = threadId() - Shape::counting; first < chunks; first += Shape::joining * batch) {
      const unsigned long long *from[batch];
      unsigned tag[batch];
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        const int chunk = first + Shape::joining * j, place = begin + (chunk < chunks ? chunk : first);
        const bool next = place >= places;
        from[j] = wordsAt(next ? place - places : place, words);
        tag[j] = begun + 1 + (unsigned)(twoLaps + next);
      }
      unsigned long long word[batch][words];
      bool missing;
      do {
        missing = false;
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          if constexpr (words == 1) {
            word[j][0] = readWord(from[j]);
          } else {
#pragma unroll
            for (int i = 0; i < words; i += 2)
              readWords(*(unsigned long long (*)[2]) & word[j][i], from[j] + i);
          }
        }
#pragma unroll
        for (int j = 0; j < batch; ++j)
#pragma unroll
          for (int i = 0; i < words; ++i)
            missing |= (unsigned)(word[j][i] >> 32) != tag[j];
      } while (missing);
#pragma unroll
      for (int j = 0; j < batch; ++j)
#pragma unroll
        for (int k = 0; k < count; ++k) {
          Words<T> theirs;
#pragma unroll
          for (int i = 0; i < words / count; ++i)
            theirs.bits[i] = (unsigned)word[j][k * (words / count) + i];
          if (first + Shape::joining * j < chunks)
            all[k][first + Shape::joining * j] = theirs.value;
        }
    }
  }
};

} // namespace flame
