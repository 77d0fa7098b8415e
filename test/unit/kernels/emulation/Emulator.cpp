//===- Emulator.cpp - see Emulator.h ------------------------------------------------------------------------------===//
#include "Emulator.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace {

enum class State { Ready, AtWarp, AtBlock, Done };
struct Copy {
  void *to;
  const void *from;
  int bytes, valid;
};
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state = State::Ready;
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
  struct {
    std::deque<std::vector<std::function<void()>>> groups;
    std::vector<std::function<void()>> open;
  } work[2];
  int clusterPhase = 0; // that it waits for the end of
  alignas(16) unsigned slot[16];
};
constexpr size_t stackBytes = 256 << 10;

struct NamedBarrier {
  int arrived = 0, generation = 0;
};
struct Block {
  std::vector<unsigned char> memory;
  unsigned char *aligned;
  NamedBarrier named[16], cluster; // the latter of a cluster's first block
  std::map<int, std::vector<unsigned char>> statics;
};

ucontext_t scheduler;
std::vector<Fiber> fibers; // of all blocks that run at the same time
std::vector<Block> blocks;
int current, firstBlock, gridBlocks, blockThreads, clusterBlocks;
size_t moves, yields; // in this round of all threads
const std::function<void()> *body;

Block &currentBlock() { return blocks[current / blockThreads]; }
Block &blockOfCluster(int rank) {
  const int block = current / blockThreads;
  return blocks[block - block % clusterBlocks + rank];
}

void run() {
  (*body)();
  fibers[current].state = State::Done;
  swapcontext(&fibers[current].context, &scheduler);
}

void pause(State state) {
  fibers[current].state = state;
  swapcontext(&fibers[current].context, &scheduler);
}

/// Lets the threads from `begin` to `end` go on if none is elsewhere than at `state` or done; true if some did.
bool release(size_t begin, size_t end, State state) {
  bool any = false;
  for (size_t i = begin; i < end; ++i) {
    if (fibers[i].state != state && fibers[i].state != State::Done)
      return false;
    any |= fibers[i].state == state;
  }
  for (size_t i = begin; i < end; ++i)
    if (fibers[i].state == state)
      fibers[i].state = State::Ready;
  return any;
}

} // namespace

void emulator::launch(int count, int threads, int sharedBytes, const std::function<void()> &kernel, bool together,
                      int cluster) {
  if (count % cluster) {
    std::fprintf(stderr, "emulator: %d blocks in clusters of %d\n", count, cluster);
    std::abort();
  }
  body = &kernel;
  gridBlocks = count;
  blockThreads = threads;
  clusterBlocks = cluster;
  const int atOnce = together ? count : cluster;
  fibers = std::vector<Fiber>(size_t(atOnce) * threads);
  blocks = std::vector<Block>(atOnce);
  for (firstBlock = 0; firstBlock < count; firstBlock += atOnce) {
    for (Block &block : blocks) {
      block.statics.clear();
      for (NamedBarrier &barrier : block.named)
        barrier = {};
      block.cluster = {};
      block.memory.assign(sharedBytes + 1024, 0xff);
      block.aligned = block.memory.data() + (1024 - reinterpret_cast<size_t>(block.memory.data()) % 1024) % 1024;
    }
    for (Fiber &fiber : fibers) {
      if (!fiber.stack)
        fiber.stack = std::make_unique_for_overwrite<char[]>(stackBytes);
      fiber.state = State::Ready;
      fiber.groups.clear();
      fiber.open.clear();
      for (auto &work : fiber.work)
        work = {};
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = stackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, run, 0);
    }
    int idle = 0; // rounds in which all only looked whether they may go on
    for (bool alive = true; alive;) {
      moves = yields = 0;
      alive = false;
      for (size_t warp = 0; warp < fibers.size(); warp += 32)
        do {
          for (size_t i = warp; i < warp + 32; ++i)
            if (fibers[i].state == State::Ready) {
              current = i;
              swapcontext(&scheduler, &fibers[i].context);
              ++moves;
            }
        } while (release(warp, warp + 32, State::AtWarp));
      for (size_t first = 0; first < fibers.size(); first += threads)
        moves += release(first, first + threads, State::AtBlock);
      for (Fiber &fiber : fibers)
        alive |= fiber.state != State::Done;
      idle = moves == yields ? idle + 1 : 0;
      if (alive && (moves == 0 || idle > 1000)) {
        std::fprintf(stderr, "emulator: threads wait at different barriers, or for ever\n");
        std::abort();
      }
    }
  }
}

int emulator::thread() { return current % blockThreads; }
int emulator::block() { return firstBlock + current / blockThreads; }
int emulator::gridSize() { return gridBlocks; }
int emulator::blockSize() { return blockThreads; }
void emulator::yield() {
  ++yields;
  pause(State::Ready);
}
void *emulator::staticShared(int id, int bytes) {
  std::vector<unsigned char> &memory = currentBlock().statics[id];
  if (memory.empty())
    memory.assign(bytes, 0xff);
  return memory.data();
}
unsigned char *emulator::shared() { return currentBlock().aligned; }
int emulator::clusterRank() { return current / blockThreads % clusterBlocks; }
unsigned char *emulator::sharedOf(unsigned char *here, int rank) {
  if (rank < 0 || rank >= clusterBlocks) {
    std::fprintf(stderr, "emulator: block %d of a cluster of %d\n", rank, clusterBlocks);
    std::abort();
  }
  return blockOfCluster(rank).aligned + (here - shared());
}
void emulator::arriveCluster() {
  NamedBarrier &barrier = blockOfCluster(0).cluster;
  fibers[current].clusterPhase = barrier.generation;
  if (++barrier.arrived == clusterBlocks * blockThreads)
    barrier.arrived = 0, ++barrier.generation;
}
void emulator::awaitCluster() {
  while (blockOfCluster(0).cluster.generation == fibers[current].clusterPhase)
    yield();
}
void emulator::syncBlock() { pause(State::AtBlock); }
void emulator::syncWarp() { pause(State::AtWarp); }
void emulator::syncThreads(int number, int threads) {
  NamedBarrier &barrier = currentBlock().named[number];
  const int generation = barrier.generation;
  if (++barrier.arrived == threads)
    barrier.arrived = 0, ++barrier.generation;
  while (barrier.generation == generation)
    yield();
}
void emulator::arriveThreads(int number, int threads) {
  NamedBarrier &barrier = currentBlock().named[number];
  if (++barrier.arrived == threads)
    barrier.arrived = 0, ++barrier.generation;
}
void emulator::start(int queue, std::function<void()> work) {
  fibers[current].work[queue].open.push_back(std::move(work));
}
void emulator::commitWork(int queue) {
  auto &work = fibers[current].work[queue];
  work.groups.push_back(std::move(work.open));
  work.open.clear();
}
void emulator::waitForWork(int queue, int pending) {
  // Not by reference: work may let others run.
  while (int(fibers[current].work[queue].groups.size()) > pending) {
    auto group = std::move(fibers[current].work[queue].groups.front());
    fibers[current].work[queue].groups.pop_front();
    for (auto &each : group)
      each();
  }
}
unsigned *emulator::slot(int lane) { return fibers[current / 32 * 32 + lane].slot; }

void emulator::copy(void *to, const void *from, int bytes, int valid) {
  size_t first = static_cast<unsigned char *>(to) - currentBlock().aligned;
  if (first % bytes || first + bytes > currentBlock().memory.size() - 1024 || (valid && reinterpret_cast<size_t>(from) % bytes) ||
      valid < 0 || valid > bytes) {
    std::fprintf(stderr, "emulator: copy of %d of %d bytes to shared offset %zu\n", valid, bytes, first);
    std::abort();
  }
  std::memset(to, 0xff, bytes);
  fibers[current].open.push_back({to, from, bytes, valid});
}
void emulator::commit() {
  fibers[current].groups.push_back(std::move(fibers[current].open));
  fibers[current].open.clear();
}
void emulator::wait(int pending) {
  auto &groups = fibers[current].groups;
  for (; int(groups.size()) > pending; groups.pop_front())
    for (const Copy &copy : groups.front()) {
      std::memset(copy.to, 0, copy.bytes);
      std::memcpy(copy.to, copy.from, copy.valid);
    }
}
