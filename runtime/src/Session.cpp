//===- Session.cpp - runs, blocks, arenas, outputs ------------------------===//
//
// The frame of execution; Commands.cpp has the commands and Control.cpp the branches and loops.
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include "Donation.h"
#include "RunScope.h"
#include "Signature.h"

#include <algorithm>
#include <new>

namespace flame::rt {

Executor::Executor(const Module &module)
    : module(module), plan(module.plan()), shapes(plan), slots(module.sharedValues()), states(plan.blocks.size()),
      queue(module.backend().makeQueue()), residency(*queue, module.mirrors()), kernelUse(usedByKernels(plan)),
      writable(writableByKernels(plan)) {
  if (queue->capturesGraphs())
    sections = findSections(plan, queue->checksIndices());
  if (nvtx)
    nameRanges();
}

/// Kernels, host functions, branches and loops by their source nodes, sections by the first and the last of them.
void Executor::nameRanges() {
  auto nodesOf = [&](const Command &command) {
    std::string out;
    constexpr size_t kShown = 3;
    for (size_t i = 0; i < command.nodes.size() && i < kShown; ++i)
      out += (i ? ", " : "") + plan.nodeNames[command.nodes[i]];
    if (command.nodes.size() > kShown)
      out += cat(" and ", command.nodes.size() - kShown, " more");
    return out;
  };
  commandRanges.resize(plan.commandCount);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const BlockInfo &block = plan.blocks[b];
    for (size_t i = 0; i < block.commands.size(); ++i) {
      const Command &command = block.commands[i];
      std::string &name = commandRanges[block.firstCommand + i];
      if (auto *launch = std::get_if<LaunchCommand>(&command.body))
        name = command.nodes.empty() ? plan.kernels[launch->kernel].symbol : nodesOf(command);
      else if (auto *call = std::get_if<HostCallCommand>(&command.body))
        name = command.nodes.empty() ? call->function : nodesOf(command);
      else if (std::holds_alternative<IfCommand>(command.body) || std::holds_alternative<LoopCommand>(command.body) ||
               std::holds_alternative<CopyCommand>(command.body))
        name = nodesOf(command);
    }
    if (sections.empty())
      continue;
    for (const Section &section : sections[b]) {
      std::string first, last;
      int32_t commands = 0;
      for (int32_t i = section.first; i <= section.last; ++i)
        if (const std::string &name = commandRanges[block.firstCommand + i]; !name.empty()) {
          (commands++ ? last : first) = name;
        }
      sectionRanges.push_back(cat(first, " … ", last, " (", commands, " commands)"));
    }
  }
}

void Executor::run(std::span<const Value *const> inputs, std::span<const Tensor *const> targets,
                   std::span<Value> results) {
  RunScope scope(*queue, [this] {
    for (size_t i = 0; i < plan.blocks.size(); ++i)
      releaseBlock(i);
    residency.clear();
    outputTargets = {};
    runInputs = {};
    phase = Phase::Both;
  });
  const NvtxRange range(nvtx, plan.name);
  cancelled.store(false, std::memory_order_relaxed);
  if (profiling && profile.empty())
    profile.resize(plan.commandCount);
  pending.assign(observer.function ? slots.size() : 0, 0);
  shapes.reset();
  outputTargets = targets;
  runInputs = inputs;
  for (size_t i = 0; i < inputs.size(); ++i)
    bindInput(i, *inputs[i]);
  runBlock(Plan::kMain);
  takeOutputs(targets, results);
  auto onHost = [](const Value *value) { return value->kind != FLAME_TENSOR || value->tensor.onHost(); };
  // Where the application gave the stream and everything lies on the device, the run goes on behind this call.
  auto staysThere = [&](const Tensor *target) { return target ? !target->onHost() : deviceOutputs; };
  const bool runsOn = queue->mayRunOn() && !profiling && std::none_of(inputs.begin(), inputs.end(), onHost) &&
                      std::all_of(targets.begin(), targets.end(), staysThere);
  if (runsOn)
    return;
  queue->finish();
  if (profiling)
    queue->collectTimes();
  checkRedZones();
}

void Executor::runInit() {
  initialising = true;
  RunScope scope(*queue, [this] { residency.clear(); });
  runBlock(Plan::kInit);
  queue->finish();
  checkRedZones();
}

Tensor Executor::upload(const Tensor &tensor) {
  RunScope scope(*queue, [] {});
  Tensor there = queue->toDevice(tensor);
  if (!queue->mayRunOn())
    queue->finish();
  return there;
}

Value Executor::persistentValue(int32_t slot) const {
  Value value = slots[slot];
  if (!value.set)
    return value;
  if (value.kind != FLAME_TENSOR) {
    for (Value &item : value.list->items)
      item.tensor.origin = Origin::Static;
    return value;
  }
  value.tensor.origin = Origin::Static;
  return value;
}

void Executor::bindInput(size_t index, const Value &input) {
  const int32_t slot = plan.inputs[index].slot;
  const SlotInfo &info = plan.slots[slot];
  Value &bound = slots[slot];
  if (info.kind == FLAME_OPTIONAL && input.kind != FLAME_OPTIONAL)
    bound = Value::optional(info.dtype, &input);
  else
    bound = input;
  if (bound.kind == FLAME_TENSOR) {
    Tensor &t = bound.tensor;
    if (queue->device() == kHost)
      t = queue->toHost(t);
    const uintptr_t alignment = t.onHost() ? elementAlignment(t.dtype) : queue->alignment();
    if (t.bytes && reinterpret_cast<uintptr_t>(t.data) % alignment)
      t = queue->clone(t);
    t.origin = Origin::Borrowed;
    if (kernelUse[slot])
      residency.upload(t);
    return;
  }
  if (queue->device() == kHost)
    bound = residency.download(bound);
  // The items are the caller's as well.
  if (bound.list) {
    auto list = makeRef<List>();
    list->items = bound.list->items;
    for (Value &item : list->items) {
      item.tensor.origin = Origin::Borrowed;
      if (item.kind != FLAME_TENSOR && item.list) {
        auto inner = makeRef<List>();
        inner->items = item.list->items;
        for (Value &leaf : inner->items)
          leaf.tensor.origin = Origin::Borrowed;
        item.list = std::move(inner);
      }
    }
    bound.list = std::move(list);
  }
}

// ---- blocks

void Executor::runBlock(int32_t block) {
  const BlockInfo &info = plan.blocks[block];
  const int32_t count = info.commands.size();
  const bool capture = !sections.empty() && !profiling && !observer.function && !initialising;
  const Section *section = capture ? sections[block].data() : nullptr;
  const Section *const end = capture ? section + sections[block].size() : nullptr;
  NvtxRange sectionRange(nvtx);
  for (int32_t i = 0; i < count; ++i) {
    if (i == info.placeAt)
      placeArena(block);
    if (cancelled.load(std::memory_order_relaxed))
      fail(FLAME_CANCELLED, "the run was cancelled");
    if (section != end && section->first == i) {
      if (nvtx)
        sectionRange.begin(sectionRanges[section->number]);
      if (section->replays) {
        runReplayable(block, *section);
        sectionRange.end();
        i = section++->last;
        continue;
      }
      queue->beginSection(section->number, shapes.symbolValues(), {});
    }
    runCommand(block, i);
    if (section != end && section->last == i) {
      queue->endSection();
      sectionRange.end();
      ++section;
    }
  }
}

void Executor::runReplayable(int32_t block, const Section &section) {
  const auto &commands = plan.blocks[block].commands;
  auto runAll = [&](Phase now, auto wanted) {
    phase = now;
    for (int32_t i = section.first; i <= section.last; ++i)
      if (wanted(commands[i].body))
        runCommand(block, i);
    phase = Phase::Both;
  };
  auto isLaunch = [](const auto &body) { return std::holds_alternative<LaunchCommand>(body); };
  auto isCheck = [](const auto &body) { return std::holds_alternative<HostCallCommand>(body); };
  auto isFree = [](const auto &body) { return std::holds_alternative<FreeCommand>(body); };
  runAll(Phase::Values, [&](const auto &body) { return !isLaunch(body) && !isFree(body); });
  addresses.clear();
  for (int32_t slot : section.slots) {
    Tensor &t = slots[slot].tensor;
    if (slots[slot].set)
      residency.upload(t);
    if (slots[slot].set && writable[slot])
      residency.written(t);
    addresses.push_back(slots[slot].set ? t.data : nullptr);
  }
  if (!queue->beginSection(section.number, shapes.symbolValues(), addresses))
    runAll(Phase::Kernels, [&](const auto &body) { return isLaunch(body) || isCheck(body); });
  queue->endSection();
  runAll(Phase::Both, isFree);
}

void Executor::runCommand(int32_t block, int32_t index) {
  const Command &command = plan.blocks[block].commands[index];
  NvtxRange range(nvtx);
  if (nvtx)
    range.begin(commandRanges[plan.blocks[block].firstCommand + index]);
  try {
    if (!profiling) {
      std::visit([this](const auto &body) { execute(body); }, command.body);
    } else {
      const uint64_t started = queue->startTimer();
      std::visit([this](const auto &body) { execute(body); }, command.body);
      ProfileCounter &counter = profile[plan.blocks[block].firstCommand + index];
      queue->stopTimer(started, counter);
      if (auto *launch = std::get_if<LaunchCommand>(&command.body))
        countWork(*launch, counter);
    }
    queue->afterCommand(command);
    if (module.options().redZones && module.options().sync && std::holds_alternative<LaunchCommand>(command.body))
      checkRedZones();
  } catch (MemoryLimitError &error) {
    locate(error, command);
    error.message += largestTensors() + "; " + error.remedy;
    throw Error(static_cast<const Error &>(error));
  } catch (Error &error) {
    locate(error, command);
    throw;
  } catch (const std::bad_alloc &) {
    Error error(FLAME_OUT_OF_MEMORY, "out of memory");
    locate(error, command);
    throw error;
  }
  if (observer.function)
    observe(command, block, index);
}

void Executor::locate(Error &error, const Command &command) const {
  if (error.located)
    return;
  error.located = true;
  if (!command.nodes.empty())
    error.message = cat(plan.nodesOf(command), ": ", error.message);
}

std::string Executor::largestTensors() const {
  std::vector<int32_t> order;
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].set && slots[i].kind == FLAME_TENSOR && plan.slots[i].storage <= Storage::Heap)
      order.push_back(i);
  const size_t shown = std::min<size_t>(3, order.size());
  std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                    [&](int32_t a, int32_t b) { return slots[a].tensor.bytes > slots[b].tensor.bytes; });
  std::string out;
  for (size_t i = 0; i < shown; ++i)
    out += cat(i ? ", " : "; largest tensors: ", plan.slotName(order[i]), " ", slots[order[i]].describe(), " ",
               formatBytes(slots[order[i]].tensor.bytes));
  return out;
}

void Executor::releaseBlock(int32_t block) {
  for (int32_t slot : plan.blocks[block].releaseSlots) {
    slots[slot].set = false;
    slots[slot].tensor.buffer.reset();
    slots[slot].list.reset();
  }
}

// ---- arenas

Dims Executor::evalDims(int32_t slot) {
  const SlotInfo &info = plan.slots[slot];
  Dims dims;
  for (int32_t expr : info.dims) {
    try {
      dims.push_back(shapes.eval(expr));
    } catch (Error &error) {
      error.message = cat("the shape of tensor ", plan.slotName(slot), ": ", error.message);
      throw;
    }
  }
  for (int64_t dim : dims)
    if (dim < 0)
      fail(FLAME_BAD_DATA, "tensor ", plan.slotName(slot), " would have the shape ", dims.str(),
           ", with a negative dimension");
  if (!countBytes(info.dtype, dims))
    fail(FLAME_BAD_DATA, "tensor ", plan.slotName(slot), " would have the shape ", dims.str(),
         ", whose size overflows");
  return dims;
}

void Executor::placeArena(int32_t block) {
  const BlockInfo &info = plan.blocks[block];
  BlockState &state = states[block];
  const bool redZones = module.options().redZones;
  if (state.placedEpoch != shapes.currentEpoch()) {
    state.placedEpoch = 0;
    std::vector<uint64_t> sizes;
    sizes.reserve(info.arenaSlots.size());
    for (int32_t slot : info.arenaSlots) {
      Tensor &t = slots[slot].tensor;
      t.dims = evalDims(slot);
      t.dtype = plan.slots[slot].dtype;
      t.origin = Origin::Arena;
      t.device = queue->device();
      t.bytes = *countBytes(t.dtype, t.dims);
      slots[slot].set = true;
      sizes.push_back(t.bytes);
    }
    if (!state.layout || sizes != state.sizes) {
      auto known = state.layouts.find(sizes);
      if (known == state.layouts.end()) {
        std::vector<ArenaRequest> requests;
        requests.reserve(sizes.size());
        for (size_t i = 0; i < sizes.size(); ++i) {
          const SlotInfo &slot = plan.slots[info.arenaSlots[i]];
          // With guard bytes no two tensors share memory: whose would the bytes between them be?
          if (redZones)
            requests.push_back({0, INT32_MAX, sizes[i] + 2 * Allocator::kGuardBytes});
          else
            requests.push_back({slot.first, slot.last, sizes[i]});
        }
        auto layout = layoutArena(requests, queue->alignment());
        if (!layout)
          fail(FLAME_OUT_OF_MEMORY, "the tensors of block '", info.name, "' exceed the address space");
        constexpr size_t kCachedLayouts = 64;
        if (state.layouts.size() >= kCachedLayouts) {
          state.layout = nullptr;
          state.layouts.clear();
        }
        known = state.layouts.emplace(sizes, std::move(*layout)).first;
      }
      state.layout = &known->second;
      state.sizes = std::move(sizes);
    }
    if (!state.arena || state.arena->bytes < state.layout->bytes)
      growArena(block, state.layout->bytes);
    for (size_t i = 0; i < info.arenaSlots.size(); ++i)
      slots[info.arenaSlots[i]].tensor.data =
          static_cast<char *>(state.arena->data) + state.layout->offsets[i] + (redZones ? Allocator::kGuardBytes : 0);
    state.placedEpoch = shapes.currentEpoch();
  }
  if (module.options().poison)
    queue->memory()->fill(state.arena->data, 0xFF, state.arena->bytes);
  if (redZones)
    for (int32_t slot : info.arenaSlots) {
      const Tensor &t = slots[slot].tensor;
      queue->memory()->makeGuard(t.as<char>() - Allocator::kGuardBytes);
      queue->memory()->makeGuard(t.as<char>() + t.bytes);
    }
  if (observer.function)
    for (int32_t slot : info.arenaSlots)
      pending[slot] = 1;
}

void Executor::growArena(int32_t block, uint64_t bytes) {
  residency.clear(); // of mirrors into the old arena
  states[block].arena.reset();
  try {
    states[block].arena = allocateBuffer(queue->memory(), bytes);
  } catch (MemoryLimitError &error) {
    throw Error(FLAME_OUT_OF_MEMORY,
                cat("the tensors of block '", plan.blocks[block].name, "' need an arena of ", formatBytes(bytes), ": ",
                    error.message, largestTensors(), "; ", error.remedy));
  } catch (Error &error) {
    error.message = cat("the arena of block '", plan.blocks[block].name, "': ", error.message);
    throw;
  }
}

void Executor::checkRedZones() {
  if (!module.options().redZones)
    return;
  const void *block = nullptr;
  try {
    for (size_t b = 0; b < states.size(); ++b) {
      if (!states[b].placedEpoch)
        continue;
      for (int32_t slot : plan.blocks[b].arenaSlots) {
        const Tensor &t = slots[slot].tensor;
        queue->memory()->checkGuard(t.as<char>() - Allocator::kGuardBytes, t.data, "before", t.bytes);
        queue->memory()->checkGuard(t.as<char>() + t.bytes, t.data, "behind", t.bytes);
      }
    }
    queue->memory()->checkRedZones();
    queue->host()->checkRedZones();
    return;
  } catch (const RedZoneError &error) {
    block = error.block;
    std::string name;
    for (size_t i = 0; i < slots.size() && name.empty(); ++i)
      if (block && slots[i].set && slots[i].kind == FLAME_TENSOR && slots[i].tensor.data == block)
        name = cat("tensor ", plan.slotName(i), " ", slots[i].describe(), ": ");
    throw Error(error.code,
                name + error.message +
                    (module.options().sync ? "" : "; run with FLAME_SYNC, too, to learn which kernel does it"));
  }
}

// ---- results

Value Executor::escape(const Value &value) {
  if (value.kind == FLAME_TENSOR)
    return value.tensor.origin == Origin::Arena ? Value::of(queue->clone(value.tensor)) : value;
  auto inArena = [](const Value &item) { return item.kind == FLAME_TENSOR && item.tensor.origin == Origin::Arena; };
  const auto &items = value.items();
  if (std::none_of(items.begin(), items.end(), inArena))
    return value;
  Value copy = value;
  copy.list = makeRef<List>();
  for (const Value &item : items)
    copy.list->items.push_back(escape(item));
  return copy;
}

Value Executor::own(const Value &value, std::vector<const Buffer *> &given) {
  if (value.kind != FLAME_TENSOR) {
    Value copy = value;
    copy.list = makeRef<List>();
    for (const Value &item : value.items())
      copy.list->items.push_back(own(item, given));
    return copy;
  }
  const Tensor tensor = deviceOutputs ? queue->toDevice(value.tensor) : residency.download(value.tensor);
  const Buffer *buffer = tensor.buffer.get();
  if (tensor.origin == Origin::Owned && buffer && std::find(given.begin(), given.end(), buffer) == given.end()) {
    given.push_back(buffer);
    return Value::of(tensor);
  }
  return Value::of(queue->clone(tensor));
}

void Executor::takeOutputs(std::span<const Tensor *const> targets, std::span<Value> results) {
  std::vector<const Buffer *> given;
  for (const Tensor *target : targets)
    if (target && target->buffer)
      given.push_back(target->buffer.get());
  // Before anything is copied into memory that may be an input's: all that is still to be read of inputs.
  std::vector<Value> copies(plan.outputs.size());
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const Value &result = value(plan.outputs[i].slot);
    if (!targets[i])
      results[i] = own(result, given);
    else if (result.kind == FLAME_TENSOR && result.tensor.origin == Origin::Borrowed)
      copies[i] = Value::of(queue->clone(result.tensor));
  }
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const PortInfo &port = plan.outputs[i];
    const Value &result = copies[i].set ? copies[i] : value(port.slot);
    if (!targets[i])
      continue;
    const Tensor &target = *targets[i];
    if (result.kind != FLAME_TENSOR || target.dtype != result.tensor.dtype || !(target.dims == result.tensor.dims))
      fail(FLAME_INVALID_ARGUMENT, "output '", port.name, "' is ", result.describe(), ", the tensor given for it ",
           describeTensor(target.dtype, target.dims));
    if (target.data != result.tensor.data)
      queue->copy(result.tensor, target);
  }
}

// ---- sessions

Session::Session(Ref<Module> module) : module(std::move(module)), executor(*this->module) {}

void Session::run(std::span<const Value *const> inputs, std::span<const Tensor *const> targets,
                  std::span<Value> results) {
  checkInputs(module->plan(), inputs);
  checkTargets(module->plan(), targets);
  std::lock_guard lock(mutex);
  module->checkFiles();
  executor.run(inputs, targets, results);
}

Tensor Session::upload(const Tensor &tensor) {
  std::lock_guard lock(mutex);
  return executor.upload(tensor);
}

} // namespace flame::rt
