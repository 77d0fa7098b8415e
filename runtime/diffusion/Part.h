//===- Part.h - a compiled model of a pipeline -----------------------------===//
//
// An artifact with its weights' folder, its ports by name, and a session that comes when the part first runs and goes
// when its memory is needed elsewhere. A part of a GPU artifact is on the GPU as long as it has its weights there.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_PART_H
#define FLAME_DIFFUSION_PART_H

#include "MemoryPlan.h"
#include "flame_rt.hpp"

#include <map>
#include <mutex>

namespace flame::diffusion {

using NamedValues = std::map<std::string, Value>;
using NamedShapes = std::map<std::string, std::vector<int64_t>>;

class Part {
public:
  /// Opens artifacts/name.flame, whose weights are in folder/name. `kind` is what `flamec compile --part` calls it, or
  /// empty.
  Part(const std::string &folder, const std::string &artifacts, const std::string &name, const std::string &kind,
       const Options &options);

  /// Element type of an input. Throws Error(FLAME_BAD_ARTIFACT) where there is none of that name and rank.
  flame_dtype input(const std::string &port, int32_t rank) const;
  void output(const std::string &port, int32_t rank) const;
  /// The size of a dim that the model fixes.
  size_t fixedDim(const std::string &port, int32_t dim) const;

  /// Brings the weights to where they are used, unless they are there. `inStream`: runs follow each other in the GPU's
  /// default stream without waiting (flame_session_set_stream).
  void load(bool inStream);
  bool isLoaded() const { return bool(session); }
  /// Gives back what runs need, and the weights.
  void unload(bool weightsToo);

  /// The wanted outputs, by name, in CPU memory; the others don't leave the GPU. Every input must be given.
  NamedValues run(const NamedValues &inputs, std::initializer_list<const char *> wanted);
  /// Results go to `outputs`, which may be inputs (donated); returns before they are there where all are on a GPU.
  void runInto(const NamedValues &inputs, const NamedValues &outputs);
  void wait() const { session.wait(); }
  Value upload(const Value &tensor) const { return session.upload(tensor); }
  void cancel();

  /// Weights, the peak of a run with these inputs, and of loading where that is still to come.
  PartBytes planned(const NamedShapes &inputs) const;
  /// What is held now; the most ever held since loading.
  PartBytes held() const;
  uint64_t peak() const;

  void profile(bool enable);
  flame_session *handle() const { return session.get(); }
  const std::string name;

private:
  [[noreturn]] void wrong(const std::string &problem) const;
  std::vector<Value> ordered(const NamedValues &given) const;
  void open();

  std::string kind, artifact, weights;
  Options options;
  Module module;
  mutable std::mutex mutex; // of `session`, between a run and cancel
  Session session;
  bool onGpu = false, profiling = false;
  Module::Weights weightBytes{};
  std::vector<flame_port> inputs, outputs;
};

} // namespace flame::diffusion

#endif
