//===- Sections.cpp - see Sections.h --------------------------------------===//

#include "Sections.h"

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
      if (kernels >= kMinimalKernels)
        sections[b].push_back({i, last, number++});
      i = end;
    }
  }
  return sections;
}

} // namespace flame::rt
