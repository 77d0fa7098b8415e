//===- Commands.cpp - the straight-line commands of the executor ----------===//

#include "Donation.h"
#include "Session.h"
#include "host/HostContext.h"

#include <algorithm>

namespace flame::rt {

Value &Executor::value(int32_t slot) {
  Value &value = slots[slot];
  if (!value.set) {
    // The init block's kernels may write to persistent tensors that nothing else has allocated.
    const SlotInfo &info = plan.slots[slot];
    if (!initialising || info.storage != Storage::Persistent || info.kind != FLAME_TENSOR || !info.ranked)
      fail(FLAME_INTERNAL, "the plan uses ", plan.slotName(slot), " before anything has set it");
    value = Value::of(allocate(slot, evalDims(slot)));
  }
  return value;
}

Tensor &Executor::tensor(int32_t slot) { return value(slot).tensor; }

Tensor &Executor::kernelTensor(int32_t slot) {
  Tensor &t = value(slot).tensor;
  residency.upload(t);
  if (writable[slot])
    residency.written(t);
  return t;
}

bool Executor::mayWrite(size_t output, const Tensor &target) {
  size_t donated = runInputs.size();
  for (size_t i = 0; i < runInputs.size(); ++i) {
    const Value &input = *runInputs[i];
    if (input.kind != FLAME_TENSOR) { // its items' tensors may be anywhere
      if (input.length())
        return false;
      continue;
    }
    if (!overlap(input.tensor, target))
      continue;
    if (donated != runInputs.size() || input.tensor.data != target.data || input.tensor.bytes != target.bytes)
      return false;
    donated = i;
  }
  if (donated == runInputs.size())
    return true;
  auto [known, fresh] = donations.try_emplace({donated, output});
  if (fresh)
    known->second = worksInPlace(plan, donated, output);
  return known->second;
}

Tensor Executor::allocate(int32_t slot, const Dims &dims) {
  const SlotInfo &info = plan.slots[slot];
  // An output that the caller has memory for is computed in place, a view of what is computed here, too.
  auto owner = [&](int32_t output) {
    while (plan.slots[output].storage == Storage::Alias)
      output = plan.slots[output].source;
    return output;
  };
  if (info.block == Plan::kMain)
    for (size_t i = 0; i < outputTargets.size(); ++i) {
      const Tensor *target = outputTargets[i];
      if (!target || owner(plan.outputs[i].slot) != slot || target->dtype != info.dtype ||
          target->device != queue->device() ||
          reinterpret_cast<uintptr_t>(target->data) %
              (queue->device() == kHost ? elementAlignment(info.dtype) : queue->alignment()))
        continue;
      Tensor here = *target;
      here.dims = dims;
      if (here.elements() == target->elements() && mayWrite(i, *target))
        return here;
    }
  try {
    return queue->make(info.dtype, dims);
  } catch (Error &error) {
    error.message = cat("tensor ", plan.slotName(slot), " ", describeTensor(info.dtype, dims), ": ", error.message);
    throw;
  }
}

void Executor::store(int32_t slot, Value value) {
  const SlotInfo &info = plan.slots[slot];
  const bool typed = info.kind == FLAME_TENSOR;
  if (!value.set || value.kind != info.kind || (typed && value.tensor.dtype != info.dtype) ||
      (typed && info.ranked && value.tensor.dims.size() != info.dims.size()))
    fail(FLAME_INTERNAL, "the result for ", plan.slotName(slot), " is ", value.describe(), ", the plan says ",
         dtypeName(info.dtype), info.ranked ? cat(" of rank ", info.dims.size()) : std::string());
  slots[slot] = std::move(value);
}

void Executor::execute(const AllocCommand &c) {
  if (plan.slots[c.slot].storage == Storage::Persistent && slots[c.slot].set)
    return;
  slots[c.slot] = Value::of(allocate(c.slot, evalDims(c.slot)));
  if (observer.function)
    pending[c.slot] = 1;
}

void Executor::execute(const FreeCommand &c) {
  slots[c.slot].set = false;
  slots[c.slot].tensor.buffer.reset();
  slots[c.slot].list.reset();
}

void Executor::execute(const LaunchCommand &c) {
  const int64_t extent = shapes.eval(c.extent);
  if (extent < 0)
    fail(FLAME_BAD_DATA, "a kernel would run over ", extent, " elements");
  pointers.clear();
  for (int32_t slot : c.buffers)
    pointers.push_back(kernelTensor(slot).data);
  if (extent == 0)
    return;
  arguments.clear();
  for (int32_t arg : c.args)
    arguments.push_back(shapes.eval(arg));
  const int64_t grain = c.grain == -1 ? 1 : std::max<int64_t>(shapes.eval(c.grain), 1);
  int64_t scratch = -1;
  if (c.scratch != -1) {
    scratch = shapes.eval(c.scratch);
    constexpr int64_t kMaxScratch = int64_t(1) << 48;
    if (scratch < 0 || scratch > kMaxScratch)
      fail(FLAME_OUT_OF_MEMORY, "a kernel wants ", scratch, " bytes of scratch memory");
  }
  views.clear();
  for (const TensorMapInfo &tensor : c.tensors)
    views.push_back(view(tensor));
  const int64_t extentWgmma = c.extentWgmma == -1 ? 0 : shapes.eval(c.extentWgmma);
  queue->launch({c.kernel, pointers, arguments, extent, grain, scratch, views, extentWgmma});
}

TensorView Executor::view(const TensorMapInfo &tensor) {
  TensorView view{static_cast<const char *>(pointers[tensor.buffer]) + shapes.eval(tensor.offset), tensor.dtype,
                  static_cast<int32_t>(tensor.dims.size()), {}, {}, {}, tensor.tf32, {}};
  for (size_t i = 0; i < tensor.dims.size(); ++i)
    view.dims[i] = shapes.eval(tensor.dims[i]);
  for (size_t i = 0; i < tensor.strides.size(); ++i)
    view.strides[i] = shapes.eval(tensor.strides[i]);
  std::copy(tensor.box.begin(), tensor.box.end(), view.box.begin());
  if (!tensor.steps.empty()) {
    auto &windows = view.windows.emplace();
    std::copy(tensor.lower.begin(), tensor.lower.end(), windows.lower.begin());
    std::copy(tensor.upper.begin(), tensor.upper.end(), windows.upper.begin());
    std::copy(tensor.steps.begin(), tensor.steps.end(), windows.steps.begin());
  }
  return view;
}

void Executor::checkIndices(const HostCallCommand &c) {
  auto onDevice = [&](int32_t slot) -> const Tensor & {
    residency.upload(tensor(slot));
    return tensor(slot);
  };
  const Tensor &indices = onDevice(c.inputs[0]);
  if (phase != Phase::Kernels)
    store(c.outputs[0], escape(value(c.inputs[0])));
  if (phase != Phase::Values)
    queue->checkIndices({c, indices, onDevice(c.inputs[1])});
}

void Executor::execute(const HostCallCommand &c) {
  if (c.kernelCheck && queue->checksIndices())
    return checkIndices(c);
  std::vector<const Value *> inputs;
  std::vector<Value> downloaded;
  inputs.reserve(c.inputs.size());
  downloaded.reserve(c.inputs.size());
  for (int32_t slot : c.inputs) {
    if (slot == -1) {
      inputs.push_back(nullptr);
    } else if (queue->device() == kHost) {
      inputs.push_back(&value(slot));
    } else {
      downloaded.push_back(residency.download(value(slot)));
      inputs.push_back(&downloaded.back());
    }
  }
  std::vector<Value> outputs(c.outputs.size());
  HostContext context(c, inputs, outputs, module.allocator());
  c.entry(context);
  for (size_t i = 0; i < c.outputs.size(); ++i)
    if (c.outputs[i] != -1)
      store(c.outputs[i], escape(outputs[i]));
}

void Executor::execute(const BindDimsCommand &c) {
  const Tensor &t = tensor(c.slot);
  if (t.dims.size() != c.symbols.size())
    fail(FLAME_BAD_DATA, "tensor ", plan.slotName(c.slot), " has the shape ", t.dims.str(), ", of rank ", t.dims.size(),
         "; the model wants rank ", c.symbols.size());
  for (size_t i = 0; i < c.symbols.size(); ++i)
    if (c.symbols[i] != -1)
      shapes.set(c.symbols[i], t.dims[i]);
}

void Executor::execute(const ReadElementCommand &c) {
  const Tensor &t = tensor(c.slot);
  if (c.index >= t.elements())
    fail(FLAME_BAD_DATA, "tensor ", plan.slotName(c.slot), " has ", t.elements(), " elements; the model reads element ",
         c.index, " of it");
  shapes.set(c.symbol, residency.integerAt(t, c.index));
}

void Executor::execute(const AliasCommand &c) {
  Value &src = value(c.src);
  const SlotInfo &info = plan.slots[c.dst];
  if (kernelUse[c.dst]) // once for the alias and for what it is an alias of
    residency.upload(src.tensor);
  Value alias = info.storage == Storage::Alias ? src : escape(src);
  if (info.kind == FLAME_TENSOR) {
    Tensor &t = alias.tensor;
    if (info.ranked)
      t.dims = evalDims(c.dst);
    t.dtype = info.dtype;
    const auto bytes = countBytes(t.dtype, t.dims);
    if (bytes != src.tensor.bytes)
      fail(FLAME_BAD_DATA, "tensor ", plan.slotName(c.src), " ", src.describe(), " cannot be seen as ",
           describeTensor(t.dtype, t.dims), ": they differ in size");
  }
  slots[c.dst] = std::move(alias);
  if (observer.function)
    pending[c.dst] = 1;
}

void Executor::execute(const CopyCommand &c) {
  const Value &src = value(c.src);
  if (src.kind != FLAME_TENSOR) {
    slots[c.dst] = src;
    return;
  }
  if (!slots[c.dst].set)
    slots[c.dst] = Value::of(allocate(c.dst, plan.slots[c.dst].ranked ? evalDims(c.dst) : src.tensor.dims));
  const Tensor &dst = slots[c.dst].tensor;
  if (dst.bytes != src.tensor.bytes)
    fail(FLAME_BAD_DATA, "tensor ", plan.slotName(c.src), " ", src.describe(), " cannot be copied to ",
         plan.slotName(c.dst), " ", slots[c.dst].describe());
  if (src.tensor.isString())
    return copyElements(src.tensor, dst);
  residency.written(dst);
  Tensor from = src.tensor;
  residency.upload(from); // memory in `dst` has its place among the kernels, fresh memory has not
  if (dst.bytes)
    queue->copyBytes(dst.data, dst.device, from.data, from.device, dst.bytes);
}

void Executor::execute(const CheckCommand &c) {
  const int64_t a = shapes.eval(c.a), b = shapes.eval(c.b);
  bool holds = false;
  const char *relation = "";
  switch (c.relation) {
  case Relation::Equal:
    holds = a == b;
    relation = " == ";
    break;
  case Relation::LessEqual:
    holds = a <= b;
    relation = " <= ";
    break;
  case Relation::EqualOrOne:
    holds = a == b || a == 1 || b == 1;
    relation = " ~ ";
    break;
  }
  if (!holds)
    fail(FLAME_BAD_DATA, c.message.empty() ? "a condition of the model does not hold" : c.message, " (", a, relation, b,
         " is false)");
}

// ---- observation

void Executor::report(int32_t slot, const Command &command) {
  if (!slots[slot].set)
    return;
  pending[slot] = 0;
  auto seen = makeRef<flame_value>();
  seen->value = residency.download(slots[slot]);
  observer.function(plan.slots[slot].name.c_str(), plan.nodesOf(command).c_str(), seen.get(), observer.user);
}

void Executor::observe(const Command &command, int32_t block, int32_t index) {
  if (auto *c = std::get_if<LaunchCommand>(&command.body)) {
    // The plan does not say which buffers a kernel writes: those that nobody has written before.
    for (int32_t slot : c->buffers)
      if (pending[slot] && (plan.slots[slot].storage != Storage::Arena || plan.slots[slot].block != block ||
                            plan.slots[slot].first <= index))
        report(slot, command);
  } else if (auto *c = std::get_if<HostCallCommand>(&command.body)) {
    for (int32_t slot : c->outputs)
      if (slot != -1)
        report(slot, command);
  } else if (auto *c = std::get_if<CopyCommand>(&command.body)) {
    report(c->dst, command);
  } else if (auto *c = std::get_if<IfCommand>(&command.body)) {
    for (int32_t slot : c->results)
      report(slot, command);
  } else if (auto *c = std::get_if<LoopCommand>(&command.body)) {
    for (const auto *list : {&c->results, &c->scans})
      for (int32_t slot : *list)
        report(slot, command);
  }
}

} // namespace flame::rt
