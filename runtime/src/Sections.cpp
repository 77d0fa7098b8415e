//===- Sections.cpp - see Sections.h --------------------------------------===//

#include "Sections.h"

#include <set>

namespace flame::rt {

namespace {

constexpr int kMinimalKernels = 2;

bool isCapturable(const Plan &plan, const Command &command) {
  if (auto *c = std::get_if<CopyCommand>(&command.body))
    return plan.slots[c->src].kind == FLAME_TENSOR && plan.slots[c->src].dtype != FLAME_STRING;
  return std::holds_alternative<LaunchCommand>(command.body) || std::holds_alternative<AllocCommand>(command.body) ||
         std::holds_alternative<FreeCommand>(command.body) || std::holds_alternative<AliasCommand>(command.body) ||
         std::holds_alternative<BindDimsCommand>(command.body) || std::holds_alternative<CheckCommand>(command.body);
}

bool isKernel(const Command &command) { return std::holds_alternative<LaunchCommand>(command.body); }

void examine(const Plan &plan, const BlockInfo &block, Section &section) {
  std::set<int32_t> allocated, used;
  for (int32_t i = section.first; i <= section.last; ++i) {
    const auto &body = block.commands[i].body;
    if (auto *c = std::get_if<AllocCommand>(&body)) {
      if (!allocated.insert(c->slot).second)
        return; // one slot, two tensors
    } else if (auto *c = std::get_if<FreeCommand>(&body)) {
      if (allocated.count(c->slot))
        return;
    } else if (auto *c = std::get_if<AliasCommand>(&body)) {
      if (plan.slots[c->dst].storage != Storage::Alias)
        return; // it may copy
    } else if (std::holds_alternative<CopyCommand>(body)) {
      return;
    } else if (auto *c = std::get_if<LaunchCommand>(&body)) {
      for (int32_t slot : c->buffers)
        if (plan.slots[slot].storage != Storage::Param && plan.slots[slot].storage != Storage::Constant)
          used.insert(slot);
    }
  }
  section.replays = true;
  section.slots.assign(used.begin(), used.end());
}

} // namespace

std::vector<std::vector<Section>> findSections(const Plan &plan) {
  std::vector<std::vector<Section>> sections(plan.blocks.size());
  int32_t number = 0;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const BlockInfo &block = plan.blocks[b];
    const int32_t count = block.commands.size();
    for (int32_t i = 0; i < count;) {
      // It begins with a kernel and ends with a kernel or a copy.
      if (!isKernel(block.commands[i])) {
        ++i;
        continue;
      }
      int32_t last = i, kernels = 0, end = i;
      for (; end < count && isCapturable(plan, block.commands[end]) && (end == i || end != block.placeAt); ++end) {
        kernels += isKernel(block.commands[end]);
        if (isKernel(block.commands[end]) || std::holds_alternative<CopyCommand>(block.commands[end].body))
          last = end;
      }
      if (kernels >= kMinimalKernels) {
        sections[b].push_back({i, last, number++, false, {}});
        examine(plan, block, sections[b].back());
      }
      i = end;
    }
  }
  return sections;
}

} // namespace flame::rt
