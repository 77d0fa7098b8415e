//===- Queue.h - where the kernels of a session run -----------------------===//
//
// An executor gives kernels and copies to its queue in the plan's order. The CPU's queue does them at once; a GPU's puts
// them into a stream and returns. Everything that differs between the devices is behind this interface and in
// Residency, which moves a tensor to where it is needed. A Backend belongs to a module, makes its queues and keeps what
// they share: code and weights.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_QUEUE_H
#define FLAME_RUNTIME_QUEUE_H

#include "Plan.h"

#include <array>
#include <chrono>
#include <compare>
#include <memory>
#include <optional>
#include <span>

namespace flame::rt {

struct ProfileCounter {
  uint64_t calls = 0, nanoseconds = 0;
  uint64_t bytes = 0, flops = 0; // of kernels
};

/// What a tensor map is made of, evaluated. Sizes in elements, strides in bytes.
struct TensorView {
  const void *data;
  DType dtype;
  int32_t rank;
  std::array<int64_t, kMaxTensorRank> dims;
  std::array<int64_t, kMaxTensorRank - 1> strides;
  std::array<int32_t, kMaxTensorRank> box;
  bool tf32; // rounds F32
  struct Windows {
    std::array<int32_t, kMaxTensorRank - 2> lower{}, upper{}, steps{};

    auto operator<=>(const Windows &) const = default;
  };
  std::optional<Windows> windows; // of a convolution; the box is channels and windows then

  auto operator<=>(const TensorView &) const = default;
};

/// A kernel and its arguments, evaluated.
struct KernelLaunch {
  int32_t kernel;
  std::span<void *const> buffers;
  std::span<const int64_t> args;
  int64_t extent;  // > 0
  int64_t grain;   // CPU
  int64_t scratch; // bytes, or -1 where the kernel takes no scratch memory
  std::span<const TensorView> tensors; // Cuda, with extentWgmma
  int64_t extentWgmma;
};

/// What a queue that checks indices keeps for it in the kernels' memory.
inline constexpr size_t kIndexGuardBytes = 16;

/// A check_indices or check_ends whose tensors are in the kernels' memory.
struct IndexCheck {
  const HostCallCommand &call;
  const Tensor &indices, &extents;
};

class Queue {
public:
  Queue(Ref<Allocator> host, Ref<Allocator> memory) : hostMemory(std::move(host)), kernelMemory(std::move(memory)) {}
  virtual ~Queue() = default;

  /// Memory for strings and host functions, and for what kernels use.
  const Ref<Allocator> &host() const { return hostMemory; }
  const Ref<Allocator> &memory() const { return kernelMemory; }
  int device() const { return kernelMemory->device(); }
  virtual size_t alignment() const { return kAlignment; }

  /// Before the first and after the last call of a run, in the thread that runs. `end` never fails; of a run that has
  /// failed it drops what has not been submitted and what is still to be found wrong.
  virtual void begin() {}
  virtual void end(bool failed) noexcept { (void)failed; }

  virtual void launch(const KernelLaunch &launch) = 0;
  /// In the queue's order. When it returns the host memory may be read, changed or freed.
  virtual void copyBytes(void *to, int toDevice, const void *from, int fromDevice, size_t bytes) = 0;
  /// Waits for everything so far. Throws Error(FLAME_DEVICE) for failures of commands in between.
  virtual void finish() {}
  /// Outside of a run: waits for runs that nobody has waited for; throws as finish().
  virtual void wait() {}
  /// A copy within the kernels' memory, as fast as the device can.
  virtual void copyFast(void *to, const void *from, size_t bytes) { copyBytes(to, device(), from, device(), bytes); }
  /// Nothing but arithmetic, `rounds` times as much as in one round; gives the number of operations.
  virtual double compute(flame_math math, int64_t rounds) {
    (void)math, (void)rounds;
    fail(FLAME_UNSUPPORTED, "the peak of arithmetic is measured on GPUs alone; this model runs on the CPU");
  }
  /// Whether a run with everything on the device may return without finish().
  virtual bool mayRunOn() const { return false; }

  // ---- what exists on some devices only
  /// Whether the queue can check indices as it launches kernels: finish(), or the next begin() behind a run that went
  /// on by itself, throws Error(FLAME_BAD_DATA) for one that is out of range.
  virtual bool checksIndices() const { return false; }
  virtual void checkIndices(const IndexCheck &check) { (void)check; }
  /// Whether sequences of kernels can be captured; then the commands between these two calls do nothing but launch
  /// kernels, copy within the device and manage memory. `shape` tells apart the shapes that a section runs with.
  virtual bool capturesGraphs() const { return false; }
  /// `addresses`, where given, are all that the kernels depend on beside the shape; true means that they are what they
  /// were at the last time: then the kernels are not to be launched one by one, endSection does it.
  virtual bool beginSection(int32_t section, std::span<const int64_t> shape, std::span<const void *const> addresses) {
    (void)section, (void)shape, (void)addresses;
    return false;
  }
  virtual void endSection() {}
  /// Orders runs with the host application's stream.
  virtual void setStream(void *stream, bool enable) {
    (void)stream, (void)enable;
    fail(FLAME_INVALID_ARGUMENT, "the model runs on the CPU, which has no streams");
  }
  /// After each command, for the message of a failure that shows later; with FLAME_SYNC it shows here.
  virtual void afterCommand(const Command &command) { (void)command; }

  // ---- profile: between the two calls lies a command, and a branch or a loop holds others
  virtual uint64_t startTimer() { return now(); }
  virtual void stopTimer(uint64_t started, ProfileCounter &counter) {
    ++counter.calls;
    counter.nanoseconds += now() - started;
  }
  /// After finish(): the counters have their times.
  virtual void collectTimes() {}

  // ---- tensors
  /// Of strings in CPU memory, everything else where kernels use it.
  Tensor make(DType dtype, const Dims &dims) const;
  /// Elements of tensors wherever they are; strings go to strings.
  void copy(const Tensor &from, int64_t fromIndex, const Tensor &to, int64_t toIndex, int64_t count);
  void copy(const Tensor &from, const Tensor &to) { copy(from, 0, to, 0, from.elements()); }
  /// A copy with memory of its own, in the same place.
  Tensor clone(const Tensor &tensor);
  /// The tensor itself where it is there already, else a copy.
  Tensor toHost(const Tensor &tensor);
  Tensor toDevice(const Tensor &tensor);

private:
  static uint64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  Ref<Allocator> hostMemory, kernelMemory;
};

class Backend {
public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<Queue> makeQueue() = 0;
  /// Brings the weights and constants in `values` that kernels use to the device and puts them there in place of the
  /// CPU's. Those of `transient` slots are needed until forgetTransient().
  virtual void place(std::vector<Value> &values, const std::vector<uint8_t> &transient) { (void)values, (void)transient; }
  virtual void forgetTransient() {}
};

/// Kernels of the CPU: machine code in the artifact, called on the module's threads.
class ThreadPool;
std::unique_ptr<Backend> makeHostBackend(const Plan &plan, ThreadPool &pool, const Ref<Allocator> &allocator);

} // namespace flame::rt

#endif
