//===- Device.h - a GPU, its context, streams and events ------------------===//
//
// Everything a module does on a GPU happens in the device's primary context, which the host application may use, too;
// a ContextScope makes it current for a while and restores what was current before. Objects here are reference-counted
// and keep their device alive, so a tensor may outlive its session and its module.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_DEVICE_H
#define FLAME_RUNTIME_CUDA_DEVICE_H

#include "../Ref.h"
#include "Driver.h"
#include "OwnKernels.h"

#include <memory>
#include <mutex>
#include <vector>

namespace flame::rt::cuda {

class Stream;

class Device : public RefCounted {
public:
  /// The device with this number; one object per device while anyone refers to it. Throws Error(FLAME_DEVICE).
  static Ref<Device> open(int ordinal);
  ~Device() override;

  const Driver &driver;
  const int ordinal;
  int major = 0, minor = 0;
  int maxShared = 0; // bytes of dynamic shared memory that a block may ask for
  int multiprocessors = 0;
  uint64_t memory = 0;
  std::string name;
  CUdevice handle = 0;
  CUcontext context = nullptr;
  CUmemoryPool pool = nullptr; // nullptr: the driver has no stream-ordered memory

  /// "GPU 0 (NVIDIA H200, sm_90)"
  std::string describe() const;
  /// Checks the memory that a stranger says is on this device. Throws Error(FLAME_INVALID_ARGUMENT).
  void checkPointer(const void *pointer) const;
  /// The runtime's kernels, loaded by the first call.
  const OwnKernels &ownKernels() const;
  /// Waits for everything on the device.
  void synchronize() const;
  /// Waits, and releases what streams keep for their next run.
  void reclaim() const;

private:
  friend class Stream;
  Device(const Driver &driver, int ordinal);

  mutable std::mutex ownMutex;
  mutable std::unique_ptr<OwnKernels> own;
  mutable std::mutex streamsMutex;
  mutable std::vector<Stream *> streams; // without references: ~Stream removes itself
};

/// Makes the device's context current in this thread; nested scopes of one device cost nothing.
class ContextScope {
public:
  explicit ContextScope(const Device &device);
  ~ContextScope();
  ContextScope(const ContextScope &) = delete;

private:
  const Device &device;
  const Device *outer;
  bool pushed = false;
};

/// A stream of our own and the device memory that is ordered with it, or with the application's stream that a run is
/// in.
///
/// Memory that is released between two runs of the application's stream stays until the next one begins: what the
/// application has put into its stream before may still read it, and only during a run is that stream known to exist.
class Stream : public RefCounted {
public:
  explicit Stream(Ref<Device> device);
  ~Stream() override;

  const Ref<Device> device;
  CUstream own = nullptr;
  CUstream handle = nullptr; // where work goes: during a run the run's stream, otherwise `own`
  bool pending = false;      // something has been given to it and not been waited for; for the thread that runs
  CUstream use() {
    pending = true;
    return handle;
  }

  /// A run begins in `target`, which is ordered behind everything that has been done with this memory.
  void enter(CUstream target) noexcept;
  void leave() noexcept;
  /// There will be no other run; memory that is still in use is released when the whole device has become idle.
  void retire() noexcept;

  /// Stream-ordered where the driver can do that. nullptr where memory has run out; throws on any other failure.
  void *allocate(size_t bytes);
  void giveBack(void *memory) noexcept;
  /// Between defer(true) and defer(false) nothing is released: work that uses the memory is not yet in the stream.
  void defer(bool on) noexcept;
  /// Releases what waits for a next run, after the device has become idle.
  void reclaim() noexcept;
  /// `flag`, which the GPU may set, says that results in this memory are wrong; nullptr: nobody knows.
  void watch(uint32_t *flag) noexcept;
  bool isFlagged() noexcept;
  /// Reads memory outside of the streams' order, after everything that has been submitted.
  void read(void *to, const void *from, size_t bytes);

private:
  void releaseNow(void *memory) noexcept;
  void releaseDeferred() noexcept;
  bool foreign() const noexcept { return unordered && !running; }
  std::mutex mutex;
  std::vector<void *> deferred; // has room for every live allocation: releasing cannot fail
  size_t live = 0;
  uint32_t *flag = nullptr;
  bool deferring = false, running = false, retired = false;
  bool unordered = false; // the last run was in the application's stream, and `own` does not wait for it
};

class Event {
public:
  Event(const Ref<Device> &device, bool timed);
  ~Event();
  Event(Event &&other) noexcept;
  Event &operator=(Event &&) = delete;

  Ref<Device> device;
  CUevent handle = nullptr;
};

inline CUdeviceptr address(const void *pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

} // namespace flame::rt::cuda

#endif
