//===- Donation.cpp - see Donation.h --------------------------------------===//

#include "Donation.h"

#include <algorithm>

namespace flame::rt {

namespace {

/// Follows one input and one output through the plan.
class InPlace {
public:
  InPlace(const Plan &plan, int32_t input, int32_t output)
      : plan(plan), input(input), output(output), sees(plan.slots.size()) {}

  bool holds() {
    if (plan.slots[output].storage != Storage::Heap || plan.slots[output].block != Plan::kMain)
      return false;
    sees[input] = kInput;
    sees[output] = kOutput;
    const auto &commands = plan.blocks[Plan::kMain].commands;
    // Views come after what they are views of.
    for (const Command &command : commands)
      follow(command);
    for (const PortInfo &port : plan.outputs)
      if (sees[port.slot] == kInput)
        return false; // read when all has been computed
    for (const Command &command : commands)
      if (!take(command))
        return false;
    return written;
  }

private:
  const Plan &plan;
  const int32_t input, output;
  enum : uint8_t { kNeither, kInput, kOutput };
  std::vector<uint8_t> sees; // of each slot: whose memory
  bool written = false;      // the output, by now

  void follow(const Command &command) {
    if (auto *c = std::get_if<AliasCommand>(&command.body))
      sees[c->dst] = std::max(sees[c->dst], sees[c->src]);
    else if (auto *c = std::get_if<HostCallCommand>(&command.body); c && c->isCheck())
      for (int32_t slot : c->outputs)
        if (slot != -1)
          sees[slot] = std::max(sees[slot], sees[c->inputs[0]]);
  }

  bool touches(int32_t slot, uint8_t which) const { return slot != -1 && sees[slot] == which; }
  bool touches(const std::vector<int32_t> &list, uint8_t which) const {
    return std::any_of(list.begin(), list.end(), [&](int32_t slot) { return touches(slot, which); });
  }
  bool reads(bool does) const { return !does || !written; }

  /// False where the command rules it out.
  bool take(const Command &command) {
    if (auto *c = std::get_if<LaunchCommand>(&command.body))
      return launch(*c);
    if (auto *c = std::get_if<CopyCommand>(&command.body)) {
      if (!reads(touches(c->src, kInput)))
        return false;
      if (touches(c->dst, kOutput)) {
        written = true;
        return !touches(c->src, kInput); // a copy of the input: nothing to compute
      }
      return true;
    }
    if (auto *c = std::get_if<HostCallCommand>(&command.body)) {
      // The results of other functions than a check may hold their inputs' memory.
      return !touches(c->outputs, kOutput) &&
             (c->isCheck() ? reads(touches(c->inputs, kInput)) : !touches(c->inputs, kInput));
    }
    if (auto *c = std::get_if<ReadElementCommand>(&command.body))
      return reads(touches(c->slot, kInput));
    if (auto *c = std::get_if<IfCommand>(&command.body))
      return !touches(c->results, kOutput) && reads(touches(c->condition, kInput)) && outside(c->thenBlock) &&
             outside(c->elseBlock);
    if (auto *c = std::get_if<LoopCommand>(&command.body))
      return !touches(c->results, kOutput) && !touches(c->scans, kOutput) && !touches(c->carried, kInput) &&
             reads(touches(c->trip, kInput)) && reads(touches(c->condition, kInput)) && outside(c->body);
    return true; // dims and books
  }

  bool launch(const LaunchCommand &c) {
    const bool in = touches(c.buffers, kInput), out = touches(c.buffers, kOutput);
    if (in && (written || out) && !(out && !written && agrees(c)))
      return false;
    written |= out;
    return true;
  }

  /// A kernel that reads the input in step with the output.
  bool agrees(const LaunchCommand &c) const {
    for (size_t i = 0; i < c.buffers.size(); ++i) {
      if (!touches(c.buffers[i], kInput))
        continue;
      bool stated = false;
      for (size_t k = 0; k + 1 < c.inPlace.size(); k += 2)
        stated |= size_t(c.inPlace[k]) == i && c.buffers[c.inPlace[k + 1]] == output;
      if (!stated || c.buffers[i] != input)
        return false;
    }
    return true;
  }

  /// A nested block that touches neither.
  bool outside(int32_t block) const {
    const BlockInfo &info = plan.blocks[block];
    auto apart = [&](int32_t slot) { return slot == -1 || sees[slot] == kNeither; };
    auto all = [&](const std::vector<int32_t> &list) { return std::all_of(list.begin(), list.end(), apart); };
    if (!all(info.results))
      return false;
    for (const Command &command : info.commands) {
      const auto &body = command.body;
      bool fine = true;
      if (auto *c = std::get_if<LaunchCommand>(&body))
        fine = all(c->buffers);
      else if (auto *c = std::get_if<HostCallCommand>(&body))
        fine = all(c->inputs) && all(c->outputs);
      else if (auto *c = std::get_if<CopyCommand>(&body))
        fine = apart(c->src) && apart(c->dst);
      else if (auto *c = std::get_if<AliasCommand>(&body))
        fine = apart(c->src) && apart(c->dst);
      else if (auto *c = std::get_if<ReadElementCommand>(&body))
        fine = apart(c->slot);
      else if (auto *c = std::get_if<IfCommand>(&body))
        fine = apart(c->condition) && all(c->results) && outside(c->thenBlock) && outside(c->elseBlock);
      else if (auto *c = std::get_if<LoopCommand>(&body))
        fine = apart(c->trip) && apart(c->condition) && all(c->carried) && all(c->results) && all(c->scans) &&
               outside(c->body);
      if (!fine)
        return false;
    }
    return true;
  }
};

} // namespace

bool worksInPlace(const Plan &plan, size_t input, size_t output) {
  int32_t owner = plan.outputs[output].slot;
  while (plan.slots[owner].storage == Storage::Alias)
    owner = plan.slots[owner].source;
  return InPlace(plan, plan.inputs[input].slot, owner).holds();
}

bool overlap(const Tensor &a, const Tensor &b) {
  const char *first = a.as<char>(), *second = b.as<char>();
  return !a.isString() && !b.isString() && a.device == b.device && first < second + b.bytes && second < first + a.bytes;
}

void checkTargets(const Plan &plan, std::span<const Tensor *const> targets) {
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] && targets[i]->buffer && targets[i]->buffer->readOnly)
      fail(FLAME_INVALID_ARGUMENT, "the tensor given for output '", plan.outputs[i].name,
           "' came as a read-only one by DLPack; give one that may be written to");
    for (size_t j = 0; j < i; ++j)
      if (targets[i] && targets[j] && overlap(*targets[i], *targets[j]))
        fail(FLAME_INVALID_ARGUMENT, "outputs '", plan.outputs[j].name, "' and '", plan.outputs[i].name,
             "' are given the same memory; each needs its own");
  }
}

} // namespace flame::rt
