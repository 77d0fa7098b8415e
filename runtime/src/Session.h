//===- Session.h - execution of a plan ------------------------------------===//
//
// An Executor interprets the blocks of one module for one run at a time and keeps arenas, layouts and computed shapes
// between runs. A Session is an Executor behind a lock, with a cancel flag. The plan has been validated: no index is
// checked again here; what is checked is everything that depends on data.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_SESSION_H
#define FLAME_RUNTIME_SESSION_H

#include "Arena.h"
#include "Module.h"
#include "Nvtx.h"
#include "Residency.h"
#include "Sections.h"
#include "ShapeProgram.h"

#include <atomic>
#include <map>
#include <mutex>
#include <span>

namespace flame::rt {

struct Observer {
  flame_observer_fn function = nullptr;
  void *user = nullptr;
};

class Executor {
public:
  explicit Executor(const Module &module);

  /// Inputs have passed checkInputs. targets[i]: the caller's tensor for output i, or nullptr; results[i] is set where
  /// there is none.
  void run(std::span<const Value *const> inputs, std::span<const Tensor *const> targets, std::span<Value> results);
  void runInit();
  /// The tensor where kernels work.
  Tensor upload(const Tensor &tensor);
  /// Waits for runs that went on behind their call; throws what came of them.
  void wait() { queue->wait(); }
  /// After runInit: the value of a Persistent slot, with a life of its own.
  Value persistentValue(int32_t slot) const;

  std::atomic<bool> cancelled{false};
  Observer observer;
  bool profiling = false;
  std::vector<ProfileCounter> profile; // by command number in the plan
  bool deviceOutputs = false;          // outputs stay where kernels made them
  void setStream(void *stream, bool enable) { queue->setStream(stream, enable); }

  /// As flame_session_bandwidth.
  double measureBandwidth();
  /// As flame_session_peak.
  double measureCompute(flame_math math);

private:
  struct BlockState {
    Ref<Buffer> arena;
    uint64_t placedEpoch = 0;    // of the shape program when `slots` got their places; 0: never
    std::vector<uint64_t> sizes; // of arenaSlots, as placed
    const ArenaLayout *layout = nullptr;
    std::map<std::vector<uint64_t>, ArenaLayout> layouts;
  };

  void runBlock(int32_t block);
  void runCommand(int32_t block, int32_t index);
  void runReplayable(int32_t block, const Section &section);
  void nameRanges();
  void placeArena(int32_t block);
  void growArena(int32_t block, uint64_t bytes);
  void releaseBlock(int32_t block);
  void bindInput(size_t index, const Value &value);
  void takeOutputs(std::span<const Tensor *const> targets, std::span<Value> results);

  void execute(const AllocCommand &c);
  void execute(const FreeCommand &c);
  void execute(const LaunchCommand &c);
  TensorView view(const TensorMapInfo &tensor);
  void execute(const HostCallCommand &c);
  void checkIndices(const HostCallCommand &c);
  void execute(const BindDimsCommand &c);
  void execute(const ReadElementCommand &c);
  void execute(const AliasCommand &c);
  void execute(const CopyCommand &c);
  void execute(const IfCommand &c);
  void execute(const LoopCommand &c);
  void execute(const CheckCommand &c);

  /// The value of a slot that must have one.
  Value &value(int32_t slot);
  /// The same, where kernels can use it.
  Tensor &kernelTensor(int32_t slot);
  Tensor &tensor(int32_t slot);
  Dims evalDims(int32_t slot);
  Tensor allocate(int32_t slot, const Dims &dims);
  /// Whether output `output` may be computed in the caller's tensor, which may be an input's.
  bool mayWrite(size_t output, const Tensor &target);
  bool readBool(int32_t slot);
  /// Stores a command's result, whose type must be the slot's.
  void store(int32_t slot, Value value);
  /// A value that outlives this block's arena: arena tensors are copied.
  Value escape(const Value &value);
  /// A value that the caller may keep and change.
  Value own(const Value &value, std::vector<const Buffer *> &given);
  void checkRedZones();
  void countWork(const LaunchCommand &launch, ProfileCounter &counter);
  template <typename Do> uint64_t timed(Do work); // nanoseconds, at least 1
  void locate(Error &error, const Command &command) const;
  std::string largestTensors() const;
  void observe(const Command &command, int32_t block, int32_t index);
  void report(int32_t slot, const Command &command);

  const Module &module;
  const Plan &plan;
  ShapeProgram shapes;
  std::vector<Value> slots;
  std::vector<BlockState> states;
  std::vector<uint8_t> pending; // with an observer: the slot has memory and nobody has written it yet
  bool initialising = false;
  /// Of a section that replays: first the values of all its slots, then the kernels.
  enum class Phase { Both, Values, Kernels } phase = Phase::Both;
  std::unique_ptr<Queue> queue;
  Residency residency;
  const std::vector<uint8_t> kernelUse, writable; // by slot
  std::vector<std::vector<Section>> sections;     // by block; empty where the queue does not capture
  const Nvtx *const nvtx = Nvtx::attached();
  std::vector<std::string> commandRanges, sectionRanges; // with a profiler: their names, by number
  std::vector<void *> pointers;
  std::vector<int64_t> arguments;
  std::vector<TensorView> views;
  std::vector<const void *> addresses;
  std::span<const Tensor *const> outputTargets;
  std::span<const Value *const> runInputs;
  std::map<std::pair<size_t, size_t>, bool> donations; // input and output: whether they may share memory meanwhile
};

class Session : public RefCounted {
public:
  explicit Session(Ref<Module> module);
  void run(std::span<const Value *const> inputs, std::span<const Tensor *const> targets, std::span<Value> results);
  /// As flame_session_upload.
  Tensor upload(const Tensor &tensor);
  /// As flame_session_profile_entries.
  size_t profileEntries(flame_profile_entry *entries, size_t capacity);
  /// As flame_session_profile_work.
  size_t profileWork(flame_profile_work *work, size_t capacity);
  /// As flame_session_profile_math.
  size_t profileMath(flame_math *math, size_t capacity);
  void cancel() { executor.cancelled.store(true, std::memory_order_relaxed); }

  Ref<Module> module;
  std::mutex mutex; // held during a run
  Executor executor;

private:
  /// make(command, counter, number) of each command that has run.
  template <typename Entry, typename Make> size_t gather(Entry *entries, size_t capacity, Make make) const;

  std::vector<std::string> profileNames; // of each command, made when first asked for
};

struct PlannedBytes {
  uint64_t bytes;
  bool exact;
};
/// The peak of arenas, heap tensors and scratch memory of a run with these input shapes on so many threads.
PlannedBytes planBytes(const Plan &plan, std::span<const Dims> shapes, int threads);
struct PlannedWeights {
  uint64_t bytes = 0, loading = 0; // held as long as the module; besides, until the init block has run
};
/// As flame_module_weight_bytes.
PlannedWeights planWeights(const Plan &plan);

} // namespace flame::rt

#endif
