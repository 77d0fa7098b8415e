//===- CudaQueue.h - a session's stream -------------------------------------===//
//
// Kernels and copies go into the stream and the calls return; only what needs a number or bytes on the CPU waits. While
// a section is recorded they are collected first (see Graph.h); memory that is released meanwhile stays until the
// collected work is in the stream.
//
// A run goes into the session's own stream or right into the application's, and allocates there. Arena, scratch memory
// and graphs pass from run to run: a run that is not waited for leaves an event, and the next one waits for it unless
// it is in the same stream. The application's stream is touched during runs only.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_CUDAQUEUE_H
#define FLAME_RUNTIME_CUDA_CUDAQUEUE_H

#include "../Queue.h"
#include "CudaModule.h"
#include "DeviceMemory.h"
#include "TensorMaps.h"

#include <deque>
#include <optional>

namespace flame::rt::cuda {

/// Of the first index that is out of range: written by the GPU into memory of the CPU (OwnKernels.cu).
struct IndexReport {
  uint32_t found;
  int32_t site;
  int64_t position, count, value, extent;
};

struct QueueModes {
  bool sync, graphs;
};

class CudaQueue : public Queue {
public:
  CudaQueue(const Plan &plan, const CudaModule &module, const Ref<Allocator> &host, Ref<DeviceAllocator> memory,
            QueueModes modes);
  ~CudaQueue() override;

  size_t alignment() const override { return kernelAlignment(DeviceKind::Cuda); }
  void begin() override;
  void end(bool failed) noexcept override;
  void launch(const KernelLaunch &launch) override;
  bool checksIndices() const override { return ownKernels && ownKernels->function(OwnKernel::CheckIndices); }
  void checkIndices(const IndexCheck &check) override;
  void copyBytes(void *to, int toDevice, const void *from, int fromDevice, size_t bytes) override;
  double compute(flame_math math, int64_t rounds) override;
  void finish() override;
  void wait() override;
  bool mayRunOn() const override { return external.has_value(); }
  bool capturesGraphs() const override { return modes.graphs && !modes.sync && !memory()->modes.redZones; }
  bool beginSection(int32_t section, std::span<const int64_t> shape, std::span<const void *const> addresses) override;
  void endSection() override;
  void setStream(void *stream, bool enable) override;
  void afterCommand(const Command &command) override;
  uint64_t startTimer() override;
  void stopTimer(uint64_t started, ProfileCounter &counter) override;
  void collectTimes() override;

private:
  void submit(const Operation &operation);
  void makeReport();
  /// After everything has been waited for: throws what a check of indices has found.
  void throwReport();
  /// Puts what has been collected into the stream, kernel by kernel.
  void submitRecording();
  void stopRecording() noexcept;
  uint64_t identify(CUstream target) const;
  [[noreturn]] void failAsync(CUresult result) const;
  std::string nameOf(const Command &command) const;
  Event &timer();

  const Plan &plan;
  const CudaModule &module;
  const Ref<Stream> stream;
  const Driver &driver;
  const QueueModes modes;
  std::optional<ContextScope> scope;
  std::optional<CUstream> external; // the host application's stream
  Event ended;                      // of the last run, if `unwaited`
  bool unwaited = false;
  bool behindOthers = false;            // the run began while an earlier one may have been under way
  uint64_t lastStream = kUnknownStream; // of the last run; handles of destroyed streams come again, numbers do not
  static constexpr uint64_t kOwnStream = UINT64_MAX, kUnknownStream = UINT64_MAX - 1;
  Ref<Buffer> scratch, state;

  const OwnKernels *ownKernels = nullptr; // where the plan has indices to check
  Ref<Buffer> guard;                      // of the kernel that checks
  IndexReport *report = nullptr;
  struct Site {
    const HostCallCommand *call;
    DType dtype;
    Dims dims; // at the last launch
  };
  std::vector<Site> sites; // of checks

  TensorMaps tensorMaps;
  bool recording = false;
  Recording collected;
  GraphCache graphs;
  GraphCache::Entry *entry = nullptr;  // of the section that is recorded
  GraphCache::Entry *replay = nullptr; // of the section that runs as it did before

  std::vector<const void *> pendingAddresses;

  static constexpr size_t kRecent = 6;
  std::deque<const Command *> recent; // kernels that a failure may come from, the last one last
  bool replayed = false;              // graphs have run since, whose kernels are not in the list

  struct Measurement {
    ProfileCounter *counter;
    size_t from, to; // events
  };
  std::vector<Event> timers;
  size_t timersUsed = 0;
  std::vector<Measurement> measurements;
};

} // namespace flame::rt::cuda

#endif
