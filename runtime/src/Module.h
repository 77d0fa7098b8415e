//===- Module.h - a loaded artifact ---------------------------------------===//
//
// Immutable after loading and shared by all sessions, except for the persistent values, which the first session's
// creation computes under a lock. Owns the plan, the code, the maps of artifact and weights, the allocator and the
// thread pool.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_MODULE_H
#define FLAME_RUNTIME_MODULE_H

#include "CodeObject.h"
#include "MappedFile.h"
#include "Plan.h"
#include "ThreadPool.h"

#include <memory>
#include <mutex>

namespace flame::rt {

using KernelFunction = void (*)(void *const *buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end);

struct ModuleOptions {
  std::string weightsDirectory;
  bool weightsDirectoryGiven = false;
  int threads = 0;
  uint64_t memoryLimit = 0;
  uint64_t failAllocation = 0;
  bool poison = false, borrow = false;
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
  KernelFunction kernel(int32_t index) const { return kernels[index]; }
  bool poison() const { return options.poison; }

  /// Values of the Param, Constant and (after initialise) Persistent slots; others are unset.
  const std::vector<Value> &sharedValues() const { return values; }
  /// Runs the init block unless that has happened. Threads wait for each other; after an error the next call tries
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
  void loadCode(const std::string &name);

  ModuleOptions options;
  Ref<Allocator> theAllocator;
  MappedFile artifact;
  Ref<Buffer> artifactCopy;
  Plan thePlan;
  std::vector<MappedFile> files;
  std::vector<std::unique_ptr<CodeObject>> codes;
  std::vector<KernelFunction> kernels;
  std::vector<Value> values;
  std::mutex initMutex;
  bool initialised = false;
  std::unique_ptr<ThreadPool> thePool;
};

} // namespace flame::rt

#endif
