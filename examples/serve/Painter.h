//===- Painter.h - one pipeline for many clients ---------------------------===//
//
// A pipeline makes pictures for one caller at a time. Requests wait in a queue of limited length; a thread of its own
// takes the oldest, and with it the others that want the same size and steps: they are denoised together. A picture
// does not depend on those made beside it.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_SERVE_PAINTER_H
#define FLAME_SERVE_PAINTER_H

#include "Request.h"
#include "flame_diffusion.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

class Painter {
public:
  struct Settings {
    std::string folder, artifacts;
    uint64_t memoryLimit = 0;
    int device = 0, threads = 0;
    size_t batch = 4, queue = 64;
  };
  /// The queue is full.
  struct Busy : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  /// What went wrong in the pipeline, with its code.
  struct Failure : std::runtime_error {
    Failure(flame_code code, const std::string &message) : std::runtime_error(message), code(code) {}
    flame_code code;
  };

  /// Opens the pipeline. Throws Failure.
  explicit Painter(const Settings &settings);
  ~Painter();
  Painter(const Painter &) = delete;

  /// The bytes of a PNG file. Blocks. Throws Busy, Failure.
  std::string paint(Request request);
  /// Ends the run in progress; it and what waits fail with FLAME_CANCELLED, new requests with Busy.
  void close();
  /// Requests that wait or are worked on.
  size_t waiting() const;

private:
  using Result = std::promise<std::string>;
  struct Job {
    Request request;
    Result result;
  };

  void work();
  std::vector<Job> take();
  void run(std::vector<Job> &jobs);

  const Settings settings;
  std::unique_ptr<flame_pipeline, void (*)(flame_pipeline *)> pipeline;
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> queue;
  size_t active = 0;
  std::atomic<bool> ending = false;
  std::thread worker; // the last member: it uses the others
};

#endif
