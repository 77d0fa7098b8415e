//===- Module.cpp - modules and sessions of the C interface ---------------===//

#include "Handles.h"

#include <cstring>

using namespace flame::rt;

namespace {

ModuleOptions readOptions(const flame_options *given) {
  ModuleOptions options;
  if (!given)
    return options;
  // A caller built against an older header passes a shorter struct.
  flame_options full{};
  if (given->struct_size < sizeof(size_t) || given->struct_size > 4096)
    fail(FLAME_INVALID_ARGUMENT, "options.struct_size is ", given->struct_size, "; set it to sizeof(flame_options)");
  std::memcpy(&full, given, std::min(given->struct_size, sizeof(full)));
  if (full.weights_directory) {
    options.weightsDirectory = full.weights_directory;
    options.weightsDirectoryGiven = true;
  }
  if (full.threads < 0)
    fail(FLAME_INVALID_ARGUMENT, "options.threads is negative (", full.threads, ")");
  if (full.flags & ~uint32_t(FLAME_POISON_FILL | FLAME_BORROW | FLAME_SYNC | FLAME_RED_ZONES | FLAME_NO_GRAPHS))
    fail(FLAME_INVALID_ARGUMENT, "options.flags has unknown bits (", full.flags, ")");
  if (full.allocator.alloc && !full.allocator.free)
    fail(FLAME_INVALID_ARGUMENT, "options.allocator has alloc but no free");
  options.threads = full.threads;
  options.memoryLimit = full.memory_limit;
  options.failAllocation = full.fail_allocation;
  options.poison = full.flags & FLAME_POISON_FILL;
  options.borrow = full.flags & FLAME_BORROW;
  options.sync = full.flags & FLAME_SYNC;
  options.redZones = full.flags & FLAME_RED_ZONES;
  options.graphs = !(full.flags & FLAME_NO_GRAPHS);
  if (full.device < 0)
    fail(FLAME_INVALID_ARGUMENT, "options.device is negative (", full.device, ")");
  options.device = full.device;
  options.hooks = full.allocator;
  options.log = full.log;
  options.logUser = full.log_user;
  return options;
}

flame_status *describePort(const flame_module *module, bool output, size_t index, flame_port *port) {
  return guard([&] {
    const Plan &plan = checkHandle(unwrap(module), "module").plan();
    flame_port &out = checkHandle(port, "port");
    const auto &ports = output ? plan.outputs : plan.inputs;
    if (index >= ports.size())
      fail(FLAME_INVALID_ARGUMENT, output ? "output " : "input ", index, " of ", ports.size(), " does not exist");
    const PortInfo &info = ports[index];
    const SlotInfo &slot = plan.slots[info.slot];
    const bool ranked = info.ranked && slot.kind == FLAME_TENSOR;
    out.name = info.name.c_str();
    out.type = info.type.c_str();
    out.kind = slot.kind;
    out.dtype = slot.dtype;
    out.rank = ranked ? static_cast<int32_t>(info.dims.size()) : -1;
    out.dims = ranked ? info.dimPointers.data() : nullptr;
  });
}

/// 0 on an error.
template <typename Entry>
size_t profileOf(const flame_session *session, size_t (Session::*gather)(Entry *, size_t), Entry *entries,
                 size_t capacity) {
  if (!session)
    return 0;
  size_t count = 0;
  flame_status_free(guard([&] {
    auto &s = *const_cast<Session *>(unwrap(session));
    std::lock_guard lock(s.mutex);
    count = (s.*gather)(entries, capacity);
  }));
  return count;
}

} // namespace

flame_status *flame_module_load(const char *path, const flame_options *options, flame_module **module) {
  return guard([&] {
    checkHandle(path, "path");
    checkHandle(module, "module");
    *module = wrap(Module::load(path, readOptions(options)).detach());
  });
}

flame_status *flame_module_load_memory(const void *data, size_t bytes, const flame_options *options,
                                       flame_module **module) {
  return guard([&] {
    checkHandle(static_cast<const char *>(data), "data");
    checkHandle(module, "module");
    *module = wrap(Module::loadMemory(data, bytes, readOptions(options)).detach());
  });
}

void flame_module_retain(flame_module *module) {
  if (module)
    unwrap(module)->retain();
}
void flame_module_release(flame_module *module) {
  if (module)
    unwrap(module)->release();
}

const char *flame_module_name(const flame_module *module) {
  return module ? unwrap(module)->plan().name.c_str() : nullptr;
}
const char *flame_module_producer(const flame_module *module) {
  return module ? unwrap(module)->plan().producer.c_str() : nullptr;
}
int flame_module_threads(const flame_module *module) { return module ? unwrap(module)->pool().size() : 0; }

int flame_module_property(const flame_module *module, size_t index, const char **key, const char **value) {
  if (!module || index >= unwrap(module)->plan().properties.size())
    return 0;
  const auto &property = unwrap(module)->plan().properties[index];
  if (key)
    *key = property.first.c_str();
  if (value)
    *value = property.second.c_str();
  return 1;
}

size_t flame_module_input_count(const flame_module *module) {
  return module ? unwrap(module)->plan().inputs.size() : 0;
}
size_t flame_module_output_count(const flame_module *module) {
  return module ? unwrap(module)->plan().outputs.size() : 0;
}
flame_status *flame_module_input(const flame_module *module, size_t index, flame_port *port) {
  return describePort(module, false, index, port);
}
flame_status *flame_module_output(const flame_module *module, size_t index, flame_port *port) {
  return describePort(module, true, index, port);
}

flame_status *flame_module_planned_bytes(const flame_module *module, const flame_shape *shapes, size_t count,
                                         uint64_t *bytes, int *exact) {
  return guard([&] {
    const Module &m = checkHandle(unwrap(module), "module");
    checkHandle(bytes, "bytes");
    if (count)
      checkHandle(shapes, "shapes");
    std::vector<Dims> dims;
    for (size_t i = 0; i < count; ++i)
      dims.push_back(dimsArgument(shapes[i].dims, shapes[i].rank));
    const PlannedBytes planned = planBytes(m.plan(), dims, m.pool().size());
    *bytes = planned.bytes;
    if (exact)
      *exact = planned.exact;
  });
}

void flame_module_weight_bytes(const flame_module *module, uint64_t *bytes, uint64_t *loading) {
  const PlannedWeights planned = module ? planWeights(unwrap(module)->plan()) : PlannedWeights{};
  if (bytes)
    *bytes = planned.bytes;
  if (loading)
    *loading = planned.loading;
}

void flame_module_memory(const flame_module *module, uint64_t *current, uint64_t *peak) {
  if (current)
    *current = module ? unwrap(module)->allocator()->account->currentBytes() : 0;
  if (peak)
    *peak = module ? unwrap(module)->allocator()->account->peakBytes() : 0;
}

flame_status *flame_session_create(flame_module *module, flame_session **session) {
  return guard([&] {
    Module &m = checkHandle(unwrap(module), "module");
    checkHandle(session, "session");
    m.initialise();
    *session = wrap(new Session(Ref<Module>::share(&m)));
  });
}

void flame_session_retain(flame_session *session) {
  if (session)
    unwrap(session)->retain();
}
void flame_session_release(flame_session *session) {
  if (session)
    unwrap(session)->release();
}

flame_status *flame_session_run(flame_session *session, const flame_value *const *inputs, size_t input_count,
                                flame_value **outputs, size_t output_count) {
  return guard([&] {
    checkHandle(unwrap(session), "session");
    // Our own references: the caller may release its handles meanwhile.
    const auto keep = Ref<Session>::share(unwrap(session));
    const Plan &plan = keep->module->plan();
    if (input_count)
      checkHandle(inputs, "inputs");
    if (output_count != plan.outputs.size())
      fail(FLAME_INVALID_ARGUMENT, "the model has ", plan.outputs.size(), " outputs, room for ", output_count,
           " was given");
    if (output_count)
      checkHandle(outputs, "outputs");

    std::vector<Ref<flame_value>> held;
    std::vector<const Value *> values;
    for (size_t i = 0; i < input_count; ++i) {
      if (!inputs[i])
        fail(FLAME_INVALID_ARGUMENT, "input ", i, i < plan.inputs.size() ? cat(" ('", plan.inputs[i].name, "')") : "",
             " is NULL");
      held.push_back(Ref<flame_value>::share(const_cast<flame_value *>(inputs[i])));
      values.push_back(&inputs[i]->value);
    }
    std::vector<const Tensor *> targets;
    for (size_t i = 0; i < output_count; ++i) {
      if (outputs[i] && outputs[i]->value.kind != FLAME_TENSOR)
        fail(FLAME_INVALID_ARGUMENT, "output '", plan.outputs[i].name, "' is given as ", outputs[i]->value.describe(),
             "; only tensors can receive a result");
      if (outputs[i])
        held.push_back(Ref<flame_value>::share(outputs[i]));
      targets.push_back(outputs[i] ? &outputs[i]->value.tensor : nullptr);
    }
    std::vector<Value> results(output_count);
    std::vector<Ref<flame_value>> handles(output_count);
    for (size_t i = 0; i < output_count; ++i)
      if (!outputs[i])
        handles[i] = wrapValue(Value());
    keep->run(values, targets, results);
    for (size_t i = 0; i < output_count; ++i) {
      if (outputs[i])
        continue;
      handles[i]->value = std::move(results[i]);
      outputs[i] = handles[i].detach();
    }
  });
}

void flame_session_cancel(flame_session *session) {
  if (session)
    unwrap(session)->cancel();
}

flame_status *flame_session_device_outputs(flame_session *session, int enable) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    std::lock_guard lock(s.mutex);
    s.executor.deviceOutputs = enable != 0 && s.module->plan().device != DeviceKind::Cpu;
  });
}

flame_status *flame_session_upload(flame_session *session, const flame_value *tensor, flame_value **value) {
  return guard([&] {
    const auto keep = Ref<Session>::share(&checkHandle(unwrap(session), "session"));
    const Value &given = checkHandle(tensor, "tensor").value;
    checkHandle(value, "value");
    if (given.kind != FLAME_TENSOR)
      fail(FLAME_INVALID_ARGUMENT, "the value is ", given.describe(), ", not a tensor");
    auto handle = wrapValue(Value());
    handle->value = Value::of(keep->upload(given.tensor));
    *value = handle.detach();
  });
}

flame_status *flame_session_set_stream(flame_session *session, void *stream, int enable) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    std::lock_guard lock(s.mutex);
    s.executor.setStream(stream, enable != 0);
  });
}

flame_status *flame_session_wait(flame_session *session) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    std::lock_guard lock(s.mutex);
    s.executor.wait();
  });
}

flame_status *flame_session_observe(flame_session *session, flame_observer_fn observer, void *user) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    std::lock_guard lock(s.mutex);
    s.executor.observer = {observer, user};
  });
}

flame_status *flame_session_profile(flame_session *session, int enable) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    std::lock_guard lock(s.mutex);
    s.executor.profiling = enable != 0;
    if (enable)
      s.executor.profile.assign(s.module->plan().commandCount, {});
  });
}

flame_status *flame_session_peak(flame_session *session, flame_math math, double *flops) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    double &out = checkHandle(flops, "flops_per_second");
    if (math < FLAME_MATH_F32 || math > FLAME_MATH_BF16)
      fail(FLAME_INVALID_ARGUMENT, "math is ", int(math), "; it must be FLAME_MATH_F32, _TF32, _F16 or _BF16");
    std::lock_guard lock(s.mutex);
    out = s.executor.measureCompute(math);
  });
}

flame_status *flame_session_bandwidth(flame_session *session, double *bytesPerSecond) {
  return guard([&] {
    Session &s = checkHandle(unwrap(session), "session");
    double &out = checkHandle(bytesPerSecond, "bytes_per_second");
    std::lock_guard lock(s.mutex);
    out = s.executor.measureBandwidth();
  });
}

size_t flame_session_profile_entries(const flame_session *session, flame_profile_entry *entries, size_t capacity) {
  return profileOf(session, &Session::profileEntries, entries, capacity);
}
size_t flame_session_profile_work(const flame_session *session, flame_profile_work *work, size_t capacity) {
  return profileOf(session, &Session::profileWork, work, capacity);
}
size_t flame_session_profile_math(const flame_session *session, flame_math *math, size_t capacity) {
  return profileOf(session, &Session::profileMath, math, capacity);
}
