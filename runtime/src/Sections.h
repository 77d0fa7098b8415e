//===- Sections.h - runs of commands that a CUDA graph can hold ------------===//
//
// A pass over the plan: maximal runs of commands that only launch kernels, copy on the device and manage memory, with at
// least two kernels. Whatever waits for data (host functions, elements that are read back, branches, loops) lies between
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
};

/// For each block, in order.
std::vector<std::vector<Section>> findSections(const Plan &plan);

} // namespace flame::rt

#endif
