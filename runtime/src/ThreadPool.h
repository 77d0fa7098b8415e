//===- ThreadPool.h - one parallel loop at a time, with low latency -------===//
//
// A loop over [0, extent) is cut into chunks that the caller and the workers take from a shared counter. Workers spin
// for some 50 µs after a loop, then sleep. There is no queue: where the pool is busy with another session's loop, the
// caller runs its own alone. The caller never waits for a worker that has not joined, so a slow wake-up costs nothing.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_THREADPOOL_H
#define FLAME_RUNTIME_THREADPOOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace flame::rt {

class ThreadPool {
public:
  /// `threads` includes the caller, at least 1. Fewer are started where the system refuses more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int size() const { return static_cast<int>(workers.size()) + 1; }

  /// What a chunk runs: `participant` is in [0, participants) and unique among the threads inside this loop.
  using Body = void (*)(void *context, int participant, int64_t begin, int64_t end);

  /// Threads that parallelFor would use at most.
  int participants(int64_t extent, int64_t grain) const;
  /// Runs body over [0, extent) in chunks of at least `grain`, at most `participants` threads. Returns when all is
  /// done.
  void parallelFor(int64_t extent, int64_t grain, int participants, Body body, void *context);

private:
  void work();
  bool join();
  void runChunks(int participant);

  struct Task {
    Body body;
    void *context;
    int64_t extent, chunk;
    int limit; // participants
  };

  // The state word: generation << 16 | closed << 15 | workers that joined. A worker joins by incrementing it while it
  // is open, so it can never see the fields of a later task under an old generation.
  static constexpr uint64_t kClosed = 1u << 15, kJoined = kClosed - 1;
  alignas(64) std::atomic<uint64_t> state{kClosed};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int> finished{0};
  Task task{};
  std::mutex busy; // held during a loop

  std::mutex sleepMutex;
  std::condition_variable wake;
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;
};

/// The threads to use where `requested` is 0: FLAME_NUM_THREADS, else the cores this process may run on.
int chooseThreadCount(int requested);

} // namespace flame::rt

#endif
