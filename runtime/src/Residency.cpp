//===- Residency.cpp - see Residency.h ------------------------------------===//

#include "Residency.h"
#include "host/HostContext.h"

#include <algorithm>

namespace flame::rt {

void Residency::upload(Tensor &tensor) {
  if (isHome(tensor))
    return;
  const Tensor before = tensor;
  tensor = queue.toDevice(before);
  // The executor changes what it calls Arena in CPU memory (a loop's counter) from one iteration to the next.
  if (before.onHost() && before.origin != Origin::Arena)
    remember(tensor, before);
}

Tensor Residency::download(const Tensor &tensor) {
  if (tensor.onHost())
    return tensor;
  if (const Mirror *mirror = find(tensor)) {
    Tensor host = mirror->host;
    host.dtype = tensor.dtype;
    host.dims = tensor.dims;
    host.data = mirror->host.as<char>() + (tensor.as<char>() - mirror->begin);
    host.bytes = tensor.bytes;
    return host;
  }
  Tensor host = queue.toHost(tensor);
  remember(tensor, host);
  return host;
}

Value Residency::download(const Value &value) {
  if (value.kind == FLAME_TENSOR)
    return value.set && !value.tensor.onHost() ? Value::of(download(value.tensor)) : value;
  auto onDevice = [](const Value &item) { return item.kind != FLAME_TENSOR || !item.tensor.onHost(); };
  if (std::none_of(value.items().begin(), value.items().end(), onDevice))
    return value;
  Value copy = value;
  copy.list = makeRef<List>();
  for (const Value &item : value.items())
    copy.list->items.push_back(download(item));
  return copy;
}

int64_t Residency::integerAt(const Tensor &tensor, int64_t index) {
  if (tensor.onHost())
    return readInteger(tensor, index);
  const size_t size = elementSize(tensor.dtype);
  alignas(16) char bytes[16];
  Tensor element;
  element.dtype = tensor.dtype;
  if (const Mirror *mirror = find(tensor)) {
    element.data = mirror->host.as<char>() + (tensor.as<char>() - mirror->begin);
    return readInteger(element, index);
  }
  queue.copyBytes(bytes, kHost, tensor.as<char>() + index * size, tensor.device, size);
  element.data = bytes;
  return readInteger(element, 0);
}

const Mirror *Residency::find(const Tensor &tensor) const {
  const char *data = tensor.as<char>();
  auto covers = [&](const Mirror &m) { return data >= m.begin && data + tensor.bytes <= m.begin + m.bytes; };
  for (const Mirror &mirror : mirrors)
    if (covers(mirror))
      return &mirror;
  auto after = std::upper_bound(weights.begin(), weights.end(), data,
                                [](const char *at, const Mirror &m) { return at < m.begin; });
  return after != weights.begin() && covers(after[-1]) ? &after[-1] : nullptr;
}

void Residency::remember(const Tensor &device, const Tensor &host) {
  // What only a mirror keeps alive is gone for everyone else.
  std::erase_if(mirrors, [](const Mirror &m) { return m.buffer && !m.buffer->isShared(); });
  mirrors.push_back({device.as<char>(), device.bytes, device.buffer, host});
}

void Residency::forget(const Tensor &tensor) {
  const char *begin = tensor.as<char>(), *end = begin + tensor.bytes;
  std::erase_if(mirrors, [&](const Mirror &m) { return m.begin < end && begin < m.begin + m.bytes; });
}

// ---- what a plan says of its slots

namespace {

bool isKernelCheck(const Plan &plan, const HostCallCommand &c, const std::vector<uint8_t> &kernelUse) {
  auto isTensor = [&](int32_t slot) { return slot != -1 && plan.slots[slot].kind == FLAME_TENSOR; };
  if (!c.isCheck() || !isTensor(c.inputs[0]) || !isTensor(c.inputs[1]) || c.outputs[0] == -1 || !kernelUse[c.outputs[0]])
    return false;
  const DType indices = plan.slots[c.inputs[0]].dtype;
  return (indices == FLAME_I64 || indices == FLAME_I32) && plan.slots[c.inputs[1]].dtype == FLAME_I64;
}

} // namespace

void findKernelChecks(Plan &plan) {
  const std::vector<uint8_t> used = usedByKernels(plan);
  for (size_t block = 0; block < plan.blocks.size(); ++block)
    for (Command &command : plan.blocks[block].commands)
      if (auto *c = std::get_if<HostCallCommand>(&command.body))
        c->kernelCheck = plan.device == DeviceKind::Cuda && block != Plan::kInit && isKernelCheck(plan, *c, used);
}

std::vector<uint8_t> usedByKernels(const Plan &plan) {
  std::vector<uint8_t> used(plan.slots.size());
  auto mark = [&](int32_t slot) {
    if (slot != -1)
      used[slot] = 1;
  };
  for (const BlockInfo &block : plan.blocks) {
    for (int32_t slot : block.results)
      mark(slot);
    for (const Command &command : block.commands) {
      if (auto *c = std::get_if<LaunchCommand>(&command.body))
        std::for_each(c->buffers.begin(), c->buffers.end(), mark);
      else if (auto *c = std::get_if<CopyCommand>(&command.body))
        mark(c->src);
      else if (auto *c = std::get_if<LoopCommand>(&command.body))
        std::for_each(c->carried.begin(), c->carried.end(), mark);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (auto block = plan.blocks.rbegin(); block != plan.blocks.rend(); ++block)
      for (auto command = block->commands.rbegin(); command != block->commands.rend(); ++command)
        if (auto *c = std::get_if<AliasCommand>(&command->body); c && used[c->dst] && !used[c->src])
          used[c->src] = 1, changed = true;
        else if (auto *c = std::get_if<HostCallCommand>(&command->body); c && isKernelCheck(plan, *c, used))
          for (int32_t slot : c->inputs)
            changed |= !used[slot], used[slot] = 1;
  }
  for (size_t i = 0; i < used.size(); ++i)
    if (plan.slots[i].kind != FLAME_TENSOR || plan.slots[i].dtype == FLAME_STRING)
      used[i] = 0;
  return used;
}

std::vector<uint8_t> readByInitAlone(const Plan &plan) {
  std::vector<uint8_t> initial(plan.slots.size()), others(plan.slots.size());
  auto mark = [](std::vector<uint8_t> &flags, int32_t slot) {
    if (slot != -1)
      flags[slot] = 1;
  };
  auto all = [&](const std::vector<int32_t> &slots) {
    for (int32_t slot : slots)
      mark(others, slot);
  };
  for (const PortInfo &output : plan.outputs)
    mark(others, output.slot);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    all(plan.blocks[b].results);
    for (const Command &command : plan.blocks[b].commands) {
      if (auto *c = std::get_if<LaunchCommand>(&command.body)) {
        for (int32_t slot : c->buffers)
          mark(b == Plan::kInit ? initial : others, slot);
      } else if (auto *c = std::get_if<HostCallCommand>(&command.body)) {
        all(c->inputs);
      } else if (auto *c = std::get_if<ReadElementCommand>(&command.body)) {
        mark(others, c->slot);
      } else if (auto *c = std::get_if<AliasCommand>(&command.body)) {
        mark(others, c->src);
      } else if (auto *c = std::get_if<CopyCommand>(&command.body)) {
        mark(others, c->src);
      } else if (auto *c = std::get_if<IfCommand>(&command.body)) {
        mark(others, c->condition);
      } else if (auto *c = std::get_if<LoopCommand>(&command.body)) {
        mark(others, c->trip), mark(others, c->condition), all(c->carried);
      }
    }
  }
  for (size_t i = 0; i < initial.size(); ++i)
    initial[i] &= !others[i] && (plan.slots[i].storage == Storage::Param || plan.slots[i].storage == Storage::Constant);
  return initial;
}

std::vector<uint8_t> writableByKernels(const Plan &plan) {
  std::vector<uint8_t> writable(plan.slots.size());
  for (size_t i = 0; i < writable.size(); ++i)
    writable[i] = plan.slots[i].storage == Storage::Arena || plan.slots[i].storage == Storage::Persistent;
  for (const BlockInfo &block : plan.blocks)
    for (const Command &command : block.commands)
      if (auto *c = std::get_if<AllocCommand>(&command.body))
        writable[c->slot] = 1;
  for (size_t i = 0; i < writable.size(); ++i) {
    size_t owner = i;
    while (plan.slots[owner].storage == Storage::Alias)
      owner = plan.slots[owner].source;
    writable[i] |= writable[owner];
  }
  return writable;
}

} // namespace flame::rt
