//===- Emulator.cpp - see Emulator.h
//----------------------------------------------------------------------------------===//
#include "Emulator.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
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
  alignas(16) unsigned slot[16];
};
constexpr size_t stackBytes = 256 << 10;

ucontext_t scheduler;
std::vector<Fiber> fibers;
std::vector<unsigned char> memory;
unsigned char *alignedMemory;
int current, currentBlock;
const std::function<void()> *body;

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

void emulator::launch(int blocks, int threads, int sharedBytes, const std::function<void()> &kernel) {
  body = &kernel;
  fibers = std::vector<Fiber>(threads);
  for (currentBlock = 0; currentBlock < blocks; ++currentBlock) {
    memory.assign(sharedBytes + 128, 0xff);
    alignedMemory = memory.data() + (128 - reinterpret_cast<size_t>(memory.data()) % 128) % 128;
    for (Fiber &fiber : fibers) {
      if (!fiber.stack)
        fiber.stack = std::make_unique<char[]>(stackBytes);
      fiber.state = State::Ready;
      fiber.groups.clear();
      fiber.open.clear();
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = stackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, run, 0);
    }
    for (bool alive = true; alive;) {
      bool moved = false;
      alive = false;
      for (size_t warp = 0; warp < fibers.size(); warp += 32)
        do {
          for (size_t i = warp; i < warp + 32; ++i)
            if (fibers[i].state == State::Ready) {
              current = i;
              swapcontext(&scheduler, &fibers[i].context);
              moved = true;
            }
        } while (release(warp, warp + 32, State::AtWarp));
      moved |= release(0, fibers.size(), State::AtBlock);
      for (Fiber &fiber : fibers)
        alive |= fiber.state != State::Done;
      if (alive && !moved) {
        std::fprintf(stderr, "emulator: threads wait at different barriers\n");
        std::abort();
      }
    }
  }
}

int emulator::thread() { return current; }
int emulator::block() { return currentBlock; }
unsigned char *emulator::shared() { return alignedMemory; }
void emulator::syncBlock() { pause(State::AtBlock); }
void emulator::syncWarp() { pause(State::AtWarp); }
unsigned *emulator::slot(int lane) { return fibers[current / 32 * 32 + lane].slot; }

void emulator::copy(void *to, const void *from, int bytes, int valid) {
  size_t first = static_cast<unsigned char *>(to) - alignedMemory;
  if (first % bytes || first + bytes > memory.size() - 128 || (valid && reinterpret_cast<size_t>(from) % bytes) ||
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
