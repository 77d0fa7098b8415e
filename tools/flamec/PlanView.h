//===- PlanView.h - what an artifact says about itself ----------------------------------------------------------------===//
//
// Reads the plan without running or loading anything, so that artifacts for other processors can be inspected. The seal and
// the FlatBuffer's structure are verified on construction; indices are checked where they are used.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_PLANVIEW_H
#define FLAME_TOOLS_FLAMEC_PLANVIEW_H

#include "plan_generated.h"
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace flame::tool {

class PlanView {
public:
  /// `bytes` must outlive the view. Throws InputError, which names `origin`.
  PlanView(std::span<const uint8_t> bytes, const std::string &origin);

  const plan::Artifact &root() const { return *artifact; }

  struct Step {
    std::string command; // "kernel", or the name of the runtime's function
    std::string name;    // of a kernel: its description, or its symbol
    std::vector<std::string> nodes;
    bool init = false; // runs once, when the model is loaded
  };
  /// Kernel launches and calls of the runtime's functions in the order of the plan, nested blocks included.
  std::vector<Step> steps() const;

  struct Weights {
    uint64_t count = 0, bytes = 0, embedded = 0; // `embedded`: bytes inside the artifact
  };
  Weights weights() const;

  /// "4*batch"
  std::string expression(int32_t index) const;
  /// The `count` largest tensors of a run with inputs of these shapes: "name f32[8,16]", bytes. Those whose size depends on
  /// data are left out.
  std::vector<std::pair<std::string, uint64_t>> largestTensors(std::span<const std::vector<int64_t>> inputs,
                                                               size_t count) const;

private:
  void collect(int32_t block, bool init, unsigned depth, std::vector<Step> &out) const;
  std::string text(int32_t index, unsigned depth) const;

  const plan::Artifact *artifact;
};

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_PLANVIEW_H
