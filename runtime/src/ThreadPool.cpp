//===- ThreadPool.cpp - see ThreadPool.h ----------------------------------===//

#include "ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sched.h>
#include <system_error>

namespace flame::rt {

namespace {

constexpr int kMaxThreads = 1024;
constexpr auto kSpin = std::chrono::microseconds(50);

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

} // namespace

int chooseThreadCount(int requested) {
  if (requested > 0)
    return std::min(requested, kMaxThreads);
  if (const char *text = std::getenv("FLAME_NUM_THREADS")) {
    char *end;
    const long count = std::strtol(text, &end, 10);
    if (*text && !*end && count > 0)
      return static_cast<int>(std::min<long>(count, kMaxThreads));
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
  return std::clamp<int>(std::thread::hardware_concurrency(), 1, kMaxThreads);
}

ThreadPool::ThreadPool(int threads) {
  workers.reserve(threads - 1);
  for (int i = 1; i < threads; ++i) {
    try {
      workers.emplace_back([this] { work(); });
    } catch (const std::system_error &) {
      break; // fewer threads are slower, not wrong
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(sleepMutex);
    stopping.store(true);
  }
  wake.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

int ThreadPool::participants(int64_t extent, int64_t grain) const {
  if (extent <= 0)
    return 1;
  const int64_t chunks = (extent - 1) / std::max<int64_t>(grain, 1) + 1;
  return static_cast<int>(std::min<int64_t>(chunks, size()));
}

void ThreadPool::runChunks(int participant) {
  for (;;) {
    const int64_t begin = next.fetch_add(task.chunk, std::memory_order_relaxed);
    if (begin >= task.extent)
      return;
    task.body(task.context, participant, begin, std::min(begin + task.chunk, task.extent));
  }
}

bool ThreadPool::join() {
  uint64_t seen = state.load(std::memory_order_acquire);
  while (!(seen & kClosed)) {
    // `limit` may belong to a task that is being set up only if the state has changed, and then the exchange fails.
    if (state.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) {
      const int participant = static_cast<int>(seen & kJoined) + 1;
      if (participant < task.limit)
        runChunks(participant);
      finished.fetch_add(1, std::memory_order_release);
      return true;
    }
  }
  return false;
}

void ThreadPool::work() {
  uint64_t last = state.load(std::memory_order_acquire) >> 16;
  bool first = true;
  while (!stopping.load(std::memory_order_relaxed)) {
    const uint64_t seen = state.load(std::memory_order_acquire);
    if (first || seen >> 16 != last) {
      first = false;
      last = seen >> 16;
      join();
      continue;
    }
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    bool changed = false;
    while (!changed && std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 32 && !changed; ++i) {
        pause();
        changed = state.load(std::memory_order_acquire) >> 16 != last || stopping.load(std::memory_order_relaxed);
      }
    }
    if (changed)
      continue;
    std::unique_lock lock(sleepMutex);
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] { return state.load(std::memory_order_seq_cst) >> 16 != last || stopping.load(); });
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
}

void ThreadPool::parallelFor(int64_t extent, int64_t grain, int participants, Body body, void *context) {
  if (extent <= 0)
    return;
  grain = std::max<int64_t>(grain, 1);
  std::unique_lock lock(busy, std::defer_lock);
  // The shared counter runs past the extent by a chunk a thread, which must not overflow.
  if (participants <= 1 || workers.empty() || extent > INT64_MAX / (2 * kMaxThreads) || !lock.try_lock()) {
    body(context, 0, 0, extent);
    return;
  }
  // Four chunks a thread even out unequal speeds without much traffic on the counter.
  const int64_t even = (extent - 1) / (4 * static_cast<int64_t>(participants)) + 1;
  task = {body, context, extent, std::max(grain, even), participants};
  next.store(0, std::memory_order_relaxed);
  finished.store(0, std::memory_order_relaxed);
  const uint64_t generation = (state.load(std::memory_order_relaxed) >> 16) + 1;
  state.store(generation << 16, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) > 0) {
    { std::lock_guard sleeping(sleepMutex); }
    wake.notify_all();
  }
  runChunks(0);
  const uint64_t joined = state.fetch_or(kClosed, std::memory_order_acq_rel) & kJoined;
  for (int spins = 0; finished.load(std::memory_order_acquire) != static_cast<int>(joined); ++spins) {
    if (spins < 4096)
      pause();
    else
      sched_yield(); // more threads than cores: let the worker finish
  }
}

} // namespace flame::rt
