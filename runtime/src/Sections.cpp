//===- Sections.cpp - see Sections.h --------------------------------------===//

#include "Sections.h"

#include <algorithm>
#include <set>

namespace flame::rt {

namespace {

constexpr int kMinimalKernels = 2;

bool isCheck(const Command &command) {
  auto *call = std::get_if<HostCallCommand>(&command.body);
  return call && call->kernelCheck;
}

bool isCapturable(const Plan &plan, const Command &command, bool checks) {
  if (isCheck(command))
    return checks;
  if (auto *c = std::get_if<CopyCommand>(&command.body))
    return plan.slots[c->src].kind == FLAME_TENSOR && plan.slots[c->src].dtype != FLAME_STRING;
  return std::holds_alternative<LaunchCommand>(command.body) || std::holds_alternative<AllocCommand>(command.body) ||
         std::holds_alternative<FreeCommand>(command.body) || std::holds_alternative<AliasCommand>(command.body) ||
         std::holds_alternative<BindDimsCommand>(command.body) || std::holds_alternative<CheckCommand>(command.body);
}

bool isKernel(const Command &command, bool checks) {
  return std::holds_alternative<LaunchCommand>(command.body) || (checks && isCheck(command));
}

void examine(const Plan &plan, const BlockInfo &block, Section &section) {
  std::set<int32_t> allocated, used;
  auto use = [&](int32_t slot) {
    if (plan.slots[slot].storage != Storage::Param && plan.slots[slot].storage != Storage::Constant)
      used.insert(slot);
  };
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
      std::for_each(c->buffers.begin(), c->buffers.end(), use);
    } else if (auto *c = std::get_if<HostCallCommand>(&body)) {
      int32_t owner = c->inputs[0];
      while (plan.slots[owner].storage == Storage::Alias)
        owner = plan.slots[owner].source;
      if (plan.slots[owner].storage == Storage::Arena)
        return; // the result is a copy
      std::for_each(c->inputs.begin(), c->inputs.end(), use);
    }
  }
  section.replays = true;
  section.slots.assign(used.begin(), used.end());
}

} // namespace

std::vector<std::vector<Section>> findSections(const Plan &plan, bool checks) {
  std::vector<std::vector<Section>> sections(plan.blocks.size());
  int32_t number = 0;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const BlockInfo &block = plan.blocks[b];
    const int32_t count = block.commands.size();
    for (int32_t i = 0; i < count;) {
      // It begins with a kernel and ends with a kernel or a copy.
      if (!isKernel(block.commands[i], checks)) {
        ++i;
        continue;
      }
      int32_t last = i, kernels = 0, end = i;
      for (; end < count && isCapturable(plan, block.commands[end], checks) && (end == i || end != block.placeAt);
           ++end) {
        kernels += isKernel(block.commands[end], checks);
        if (isKernel(block.commands[end], checks) || std::holds_alternative<CopyCommand>(block.commands[end].body))
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
