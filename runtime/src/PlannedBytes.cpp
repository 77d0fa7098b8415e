//===- PlannedBytes.cpp - the peak of a run, without running it -----------===//
//
// Walks the blocks as the executor would, following only what the input shapes determine. Both arms of a branch count,
// as a session keeps the arenas of both; a loop body counts once.
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include "Signature.h"
#include "host/HostContext.h"

#include <algorithm>

namespace flame::rt {

namespace {

class Planner {
public:
  Planner(const Plan &plan, std::span<const Dims> inputs, int threads)
      : plan(plan), shapes(plan), threads(threads), known(plan.slots.size()), held(plan.slots.size()) {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (plan.slots[plan.inputs[i].slot].kind == FLAME_TENSOR)
        known[plan.inputs[i].slot] = inputs[i];
  }

  PlannedBytes run() {
    walk(Plan::kMain);
    int32_t state = 0;
    for (const KernelInfo &kernel : plan.kernels)
      state = std::max(state, kernel.state);
    return {peak + scratch + state + checkState, exact};
  }

private:
  const Plan &plan;
  ShapeProgram shapes;
  int threads;
  std::vector<std::optional<Dims>> known;
  std::vector<uint64_t> held;
  uint64_t live = 0, peak = 0, scratch = 0, checkState = 0;
  bool exact = true;

  void add(uint64_t bytes) {
    live += bytes;
    peak = std::max(peak, live);
  }

  std::optional<Dims> dimsOf(int32_t slot) {
    if (known[slot])
      return known[slot];
    const SlotInfo &info = plan.slots[slot];
    if (info.storage == Storage::Param)
      return plan.params[info.source].dims;
    if (info.storage == Storage::Constant)
      return plan.constants[info.source].dims;
    if (!info.ranked)
      return std::nullopt;
    Dims dims;
    for (int32_t expr : info.dims) {
      auto dim = shapes.tryEval(expr);
      if (!dim || *dim < 0)
        return std::nullopt;
      dims.push_back(*dim);
    }
    return dims;
  }

  uint64_t bytesOf(int32_t slot) {
    const SlotInfo &info = plan.slots[slot];
    auto dims = info.kind == FLAME_TENSOR && info.dtype != FLAME_STRING ? dimsOf(slot) : std::nullopt;
    auto bytes = dims ? countBytes(info.dtype, *dims) : std::nullopt;
    exact &= bytes.has_value();
    return bytes.value_or(0);
  }

  void hold(int32_t slot) {
    if (slot == -1)
      return;
    drop(slot);
    held[slot] = bytesOf(slot);
    add(held[slot]);
  }
  void drop(int32_t slot) {
    live -= held[slot];
    held[slot] = 0;
  }

  /// Indices that have been checked are the indices themselves where those stay.
  void holdChecked(const HostCallCommand &call) {
    int32_t owner = call.inputs[0];
    while (owner != -1 && plan.slots[owner].storage == Storage::Alias)
      owner = plan.slots[owner].source;
    if (owner != -1 && plan.slots[owner].storage == Storage::Arena)
      hold(call.outputs[0]);
    if (call.kernelCheck)
      checkState = kIndexGuardBytes;
  }

  void place(const BlockInfo &block) {
    std::vector<ArenaRequest> requests;
    for (int32_t slot : block.arenaSlots)
      requests.push_back({plan.slots[slot].first, plan.slots[slot].last, bytesOf(slot)});
    auto layout = layoutArena(requests, kernelAlignment(plan.device));
    exact &= layout.has_value();
    add(layout ? layout->bytes : 0);
  }

  void walk(int32_t block) {
    const BlockInfo &info = plan.blocks[block];
    for (int32_t i = 0; i < static_cast<int32_t>(info.commands.size()); ++i) {
      if (i == info.placeAt)
        place(info);
      const auto &body = info.commands[i].body;
      if (auto *c = std::get_if<AllocCommand>(&body)) {
        hold(c->slot);
      } else if (auto *c = std::get_if<FreeCommand>(&body)) {
        drop(c->slot);
      } else if (auto *c = std::get_if<HostCallCommand>(&body)) {
        if (c->isCheck())
          holdChecked(*c);
        else
          for (int32_t slot : c->outputs)
            hold(slot);
      } else if (auto *c = std::get_if<BindDimsCommand>(&body)) {
        auto dims = dimsOf(c->slot);
        if (dims && dims->size() == c->symbols.size()) {
          for (size_t d = 0; d < c->symbols.size(); ++d)
            if (c->symbols[d] != -1)
              shapes.set(c->symbols[d], (*dims)[d]);
        }
      } else if (auto *c = std::get_if<ReadElementCommand>(&body)) {
        const SlotInfo &slot = plan.slots[c->slot];
        if (slot.storage == Storage::Constant && c->index < *countElements(plan.constants[slot.source].dims))
          shapes.set(c->symbol, constantElement(plan.constants[slot.source], c->index));
      } else if (auto *c = std::get_if<IfCommand>(&body)) {
        walk(c->thenBlock);
        walk(c->elseBlock);
        exact = false;
        for (int32_t slot : c->results)
          hold(slot);
      } else if (auto *c = std::get_if<LoopCommand>(&body)) {
        walkLoop(*c);
        for (const auto *list : {&c->results, &c->scans})
          for (int32_t slot : *list)
            hold(slot);
      } else if (auto *c = std::get_if<LaunchCommand>(&body)) {
        if (c->scratch != -1) {
          // One area, as large as the largest launch wants; a thread more than a launch has chunks gets none.
          const auto bytes = shapes.tryEval(c->scratch), extent = shapes.tryEval(c->extent);
          const auto grain = c->grain == -1 ? std::optional<int64_t>(1) : shapes.tryEval(c->grain);
          exact &= bytes && extent && grain;
          if (plan.device == DeviceKind::Cuda) // one area for the launch
            scratch = std::max<uint64_t>(scratch, bytes && *bytes > 0 && extent && *extent > 0 ? *bytes : 0);
          else if (bytes && *bytes > 0 && extent && *extent > 0 && grain) {
            const int64_t chunks = (*extent - 1) / std::max<int64_t>(*grain, 1) + 1;
            scratch = std::max<uint64_t>(scratch, alignUp(*bytes) * std::min<int64_t>(chunks, threads));
          }
        }
      }
    }
    for (int32_t slot : info.releaseSlots)
      if (block != Plan::kMain)
        drop(slot);
  }

  /// An iteration counts for all: each has the body's memory, and from the second one on, beside what the loop began with, what the
  /// iteration before has left.
  void walkLoop(const LoopCommand &c) {
    exact = false;
    const auto times = c.count == -1 ? std::nullopt : shapes.tryEval(c.count);
    if (times && *times <= 0)
      return;
    const auto &args = plan.blocks[c.body].args;
    if (!times || *times > 1)
      std::for_each(args.begin() + 2, args.end(), [&](int32_t slot) { hold(slot); });
    walk(c.body);
    std::for_each(args.begin(), args.end(), [&](int32_t slot) { drop(slot); });
  }

  static int64_t constantElement(const ConstantInfo &constant, int64_t index) {
    Tensor t;
    t.dtype = constant.dtype;
    t.data = const_cast<uint8_t *>(constant.data);
    return readInteger(t, index);
  }
};

} // namespace

PlannedBytes planBytes(const Plan &plan, std::span<const Dims> shapes, int threads) {
  checkShapes(plan, shapes);
  return Planner(plan, shapes, threads).run();
}

PlannedWeights planWeights(const Plan &plan) {
  const std::vector<uint8_t> used = usedByKernels(plan), transient = readByInitAlone(plan);
  std::vector<uint8_t> isView(plan.slots.size());
  if (plan.hasInit())
    for (const Command &command : plan.blocks[Plan::kInit].commands)
      if (auto *c = std::get_if<AliasCommand>(&command.body))
        isView[c->dst] = 1;
  ShapeProgram shapes(plan);
  PlannedWeights planned;
  auto place = [&](size_t slot, DType dtype, const Dims &dims) {
    (transient[slot] ? planned.loading : planned.bytes) +=
        alignUp(std::max<size_t>(countBytes(dtype, dims).value_or(0), 1), kernelAlignment(plan.device));
  };
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const SlotInfo &slot = plan.slots[i];
    if (slot.storage == Storage::Persistent && slot.kind == FLAME_TENSOR && !isView[i]) {
      Dims dims;
      for (int32_t expr : slot.dims)
        dims.push_back(shapes.tryEval(expr).value_or(0));
      planned.bytes += countBytes(slot.dtype, dims).value_or(0);
    } else if (plan.device == DeviceKind::Cuda && used[i] && slot.storage == Storage::Param) {
      place(i, plan.params[slot.source].dtype, plan.params[slot.source].dims);
    } else if (plan.device == DeviceKind::Cuda && used[i] && slot.storage == Storage::Constant) {
      place(i, plan.constants[slot.source].dtype, plan.constants[slot.source].dims);
    }
  }
  return planned;
}

} // namespace flame::rt
