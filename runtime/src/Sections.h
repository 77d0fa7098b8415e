//===- Sections.h - runs of commands that a CUDA graph can hold ------------===//
//
// A pass over the plan: maximal runs of commands that only launch kernels, check indices, copy on the device and manage
// memory, with at least two kernels. Whatever waits for data (host functions, elements that are read back, branches, loops) lies between
// them; a loop's body has sections of its own. A section never crosses the command at which the block's arena is laid
// out, since the layout may free an arena that earlier commands still use.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_SECTIONS_H
#define FLAME_RUNTIME_SECTIONS_H

#include "Plan.h"

namespace flame::rt {

struct Section {
  int32_t first, last; // commands, inclusive
  int32_t number;      // in the whole plan
  /// Whether everything but the kernels may be done before the first kernel, and the releases after the last one, with
  /// no more memory in use than in the plan's order: nothing that is allocated in the section is freed in it, and nothing
  /// is copied. Then a run that finds all tensors where they were need not look at the kernels at all.
  bool replays = false;
  std::vector<int32_t> slots; // of a section that replays: what its kernels use and what is not a weight
};

/// For each block, in order. `checks`: the queue checks indices as it launches kernels.
std::vector<std::vector<Section>> findSections(const Plan &plan, bool checks);

} // namespace flame::rt

#endif
