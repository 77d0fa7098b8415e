//===- Module.h - a loaded artifact ---------------------------------------===//
//
// Immutable after loading and shared by all sessions, except for what the first session's creation does under a lock: it
// opens the GPU where the plan needs one, brings the weights there, and computes the persistent values. Owns the plan,
// the backend with the code, the maps of artifact and weights, the allocator and the thread pool.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_MODULE_H
#define FLAME_RUNTIME_MODULE_H

#include "MappedFile.h"
#include "Queue.h"
#include "Residency.h"
#include "ThreadPool.h"

#include <memory>
#include <mutex>

namespace flame::rt {

struct ModuleOptions {
  std::string weightsDirectory;
  bool weightsDirectoryGiven = false;
  int threads = 0;
  uint64_t memoryLimit = 0;
  uint64_t failAllocation = 0;
  bool poison = false, borrow = false, sync = false, redZones = false, graphs = true;
  int device = 0;
  flame_allocator hooks{};
  flame_log_fn log = nullptr;
  void *logUser = nullptr;
};

class Module : public RefCounted {
public:
  static Ref<Module> load(const std::string &path, const ModuleOptions &options);
  static Ref<Module> loadMemory(const void *data, size_t bytes, const ModuleOptions &options);
  ~Module() override;

  const Plan &plan() const { return thePlan; }
  const Ref<Allocator> &allocator() const { return theAllocator; }
  ThreadPool &pool() const { return *thePool; }
  const ModuleOptions &options() const { return theOptions; }
  /// What runs the kernels; after initialise.
  Backend &backend() const { return *theBackend; }
  /// The weights and constants on the device, as they are in CPU memory.
  const std::vector<Mirror> &mirrors() const { return theMirrors; }

  /// Values of the Param, Constant and (after initialise) Persistent slots; others are unset.
  const std::vector<Value> &sharedValues() const { return values; }
  /// Makes the device ready and runs the init block unless that has happened. Threads wait for each other; after an error the next call tries
  /// again.
  void initialise();
  /// Throws where a mapped file has become shorter.
  void checkFiles() const;
  void log(flame_log_level level, const std::string &message) const;

private:
  explicit Module(const ModuleOptions &options);
  void bind(const uint8_t *data, size_t bytes, const std::string &name, const std::string &directory);
  void bindConstants();
  void bindParams(const std::string &directory);
  void makeBackend();
  void placeOnDevice();

  ModuleOptions theOptions;
  Ref<Allocator> theAllocator;
  MappedFile artifact;
  Ref<Buffer> artifactCopy;
  Plan thePlan;
  std::vector<MappedFile> files;
  std::string name; // in messages
  std::unique_ptr<ThreadPool> thePool;
  std::unique_ptr<Backend> theBackend;
  std::vector<Value> values;
  std::vector<Mirror> theMirrors; // by address
  /// What is on the device only until the init block has run: slot, and its value on the CPU.
  std::vector<std::pair<size_t, Value>> onHost;
  std::mutex initMutex;
  bool placed = false, initialised = false;
};

} // namespace flame::rt

#endif
