//===- CudaQueue.cpp - see CudaQueue.h -------------------------------------===//

#include "CudaQueue.h"
#include "../host/HostContext.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace flame::rt::cuda {

CudaQueue::CudaQueue(const Plan &plan, const CudaModule &module, const Ref<Allocator> &host,
                     Ref<DeviceAllocator> memory, QueueModes modes)
    : Queue(host, Ref<Allocator>::share(memory.get())), plan(plan), module(module), stream(memory->stream),
      driver(stream->device->driver), modes(modes), ended(stream->device, /*timed=*/false) {
  for (const BlockInfo &block : plan.blocks)
    for (const Command &command : block.commands)
      if (auto *call = std::get_if<HostCallCommand>(&command.body); call && call->kernelCheck)
        sites.push_back({call, plan.slots[call->inputs[0]].dtype, {}});
  if (!sites.empty())
    ownKernels = &stream->device->ownKernels();
}

CudaQueue::~CudaQueue() {
  // Tensors may keep the stream, but the kernels go with the module.
  try {
    ContextScope inside(*stream->device);
    if (unwaited)
      driver.eventSynchronize(ended.handle);
    driver.streamSynchronize(stream->own);
    stream->watch(nullptr);
    if (report)
      driver.memFreeHost(report);
    stream->retire();
  } catch (const Error &) {
    // The context is gone, and nothing runs in it.
  }
}

void CudaQueue::begin() {
  if (stream->isFlagged())
    wait();
  scope.emplace(*stream->device);
  const CUstream target = external.value_or(stream->own);
  const uint64_t number = identify(target);
  if (unwaited && (number != lastStream || number == kUnknownStream)) {
    const CUresult result = driver.streamWaitEvent(target, ended.handle, 0);
    if (result != CUDA_SUCCESS)
      scope.reset(); // a run that has not begun has no end
    check(result, "waiting for the last run");
  }
  behindOthers = unwaited;
  lastStream = number;
  stream->enter(target);
}

uint64_t CudaQueue::identify(CUstream target) const {
  if (target == stream->own)
    return kOwnStream;
  unsigned long long number = 0;
  if (driver.streamGetId && driver.streamGetId(target, &number) == CUDA_SUCCESS)
    return number;
  return kUnknownStream;
}

void CudaQueue::end(bool failed) noexcept {
  if (!scope)
    return; // the context could not be entered
  stopRecording();
  timersUsed = 0;
  measurements.clear();
  if (failed && report && !behindOthers) {
    // What it has found is not the next run's error.
    driver.streamSynchronize(stream->handle);
    report->found = 0;
  }
  if (stream->pending) {
    unwaited = driver.eventRecord(ended.handle, stream->handle) == CUDA_SUCCESS;
    if (!unwaited)
      driver.streamSynchronize(stream->handle);
  }
  stream->leave();
  scope.reset();
}

void CudaQueue::setStream(void *handle, bool enable) {
  if (enable)
    external = static_cast<CUstream>(handle);
  else
    external.reset();
}

// ---- work

void CudaQueue::launch(const KernelLaunch &launch) {
  const KernelInfo &kernel = plan.kernels[launch.kernel];
  const bool wgmma = module.usesWgmma(launch.kernel);
  if (!wgmma && launch.extent > kMaxGridBlocks)
    fail(FLAME_UNSUPPORTED, "kernel '", kernel.symbol, "' would run on ", launch.extent,
         " blocks, a GPU takes at most ", kMaxGridBlocks, "; use smaller inputs");
  Operation operation;
  operation.function = module.function(launch.kernel);
  operation.cooperative = kernel.cooperative;
  operation.blocks = static_cast<unsigned>(
      kernel.cooperative ? std::min<int64_t>(launch.extent, module.residentBlocks(launch.kernel)) : launch.extent);
  operation.threads = kernel.threads;
  if (wgmma) {
    const int64_t cluster = kernel.wgmma.cluster, places = stream->device->multiprocessors / cluster;
    operation.blocks =
        static_cast<unsigned>(std::clamp<int64_t>(launch.extentWgmma / cluster, 1, std::max<int64_t>(places, 1)) * cluster);
    operation.threads = kernel.wgmma.threads;
  }
  operation.shared = module.shared(launch.kernel);
  operation.waits = module.waits(launch.kernel);
  operation.firstParameter = collected.values.size();
  for (const void *buffer : launch.buffers)
    collected.values.push_back(address(buffer));
  for (int64_t arg : launch.args)
    collected.values.push_back(static_cast<uint64_t>(arg));
  if (launch.scratch >= 0) {
    const size_t bytes = std::max<int64_t>(launch.scratch, 1);
    if (!scratch || scratch->bytes < bytes) {
      scratch.reset();
      graphs.forgetAddresses(); // graphs have the old area among their parameters, this one perhaps, too
      pendingAddresses.clear();
      scratch = allocateBuffer(memory(), bytes);
    }
    collected.values.push_back(address(scratch->data));
  }
  if (kernel.state > 0) {
    if (!state) {
      // Goes into the stream before a recording that is under way.
      Ref<Buffer> fresh = allocateBuffer(memory(), module.stateBytes());
      check(driver.memsetD8Async(address(fresh->data), 0, fresh->bytes, stream->handle), "clearing memory of the GPU");
      state = std::move(fresh);
    }
    collected.values.push_back(address(state->data));
  }
  operation.tensorMaps = launch.tensors.size();
  for (const TensorView &view : launch.tensors) {
    const TensorMaps::Words none{}, &map = wgmma ? tensorMaps.find(driver, view) : none;
    collected.values.insert(collected.values.end(), map.begin(), map.end());
  }
  operation.parameters = collected.values.size() - operation.firstParameter;
  submit(operation);
}

void CudaQueue::makeReport() {
  if (!guard) {
    // Goes into the stream before a recording that is under way.
    Ref<Buffer> fresh = allocateBuffer(memory(), kIndexGuardBytes);
    check(driver.memsetD8Async(address(fresh->data), 0, fresh->bytes, stream->use()), "clearing memory of the GPU");
    guard = std::move(fresh);
  }
  if (!report) {
    void *pinned = nullptr;
    check(driver.memAllocHost(&pinned, sizeof(IndexReport)), "allocating memory that the GPU can write to");
    report = new (pinned) IndexReport{};
    stream->watch(&report->found);
  }
}

static bool isOfEnds(const HostCallCommand &call) { return call.function == "check_ends"; }

void CudaQueue::checkIndices(const IndexCheck &checked) {
  const int64_t count = checked.indices.elements(), period = checked.extents.elements();
  if (count == 0)
    return;
  if (period == 0)
    fail(FLAME_BAD_DATA, checked.call.function, ": there are no extents");
  makeReport();
  size_t site = 0;
  while (sites[site].call != &checked.call)
    ++site;
  sites[site].dims = checked.indices.dims;
  constexpr int64_t kThreads = 256, kEach = 16, kMaxBlocks = 1024;
  Operation operation;
  operation.function = ownKernels->function(isOfEnds(checked.call) ? OwnKernel::CheckEnds : OwnKernel::CheckIndices);
  operation.blocks = static_cast<unsigned>(std::min((count - 1) / (kThreads * kEach) + 1, kMaxBlocks));
  operation.threads = kThreads;
  operation.firstParameter = collected.values.size();
  collected.values.insert(collected.values.end(),
                          {address(checked.indices.data), address(checked.extents.data), address(guard->data),
                           address(report), static_cast<uint64_t>(count), static_cast<uint64_t>(period),
                           static_cast<uint64_t>(checked.indices.dtype == FLAME_I64), site});
  operation.parameters = collected.values.size() - operation.firstParameter;
  submit(operation);
}

void CudaQueue::throwReport() {
  if (!stream->isFlagged())
    return;
  const IndexReport found = *report;
  report->found = 0;
  const Site &site = sites[found.site];
  const bool sameShape = countElements(site.dims) == found.count;
  const std::string type = sameShape ? describeTensor(site.dtype, site.dims) : std::string(dtypeName(site.dtype));
  std::string nodes;
  for (const BlockInfo &block : plan.blocks)
    for (const Command &command : block.commands)
      if (std::get_if<HostCallCommand>(&command.body) == site.call)
        nodes = plan.nodesOf(command);
  Error error(FLAME_BAD_DATA,
              cat(nodes, nodes.empty() ? "" : ": ", site.call->function, ": ",
                  (isOfEnds(*site.call) ? badEndText : badIndexText)(found.value, found.position, cat("input 0 (", type, ")"), found.extent)));
  error.located = true; // not where it shows, but earlier
  throw error;
}

void CudaQueue::submit(const Operation &operation) {
  if (recording) {
    collected.operations.push_back(operation);
    return;
  }
  struct Clear {
    Recording &collected;
    ~Clear() { collected.clear(); }
  } clear{collected};
  collected.submit(operation, *stream->device, stream->use());
}

void CudaQueue::copyBytes(void *to, int toDevice, const void *from, int fromDevice, size_t bytes) {
  if (bytes == 0)
    return;
  for (int place : {toDevice, fromDevice})
    if (place != kHost && place != device())
      fail(FLAME_INVALID_ARGUMENT, "a tensor is on GPU ", place, " and the model runs on GPU ", device(),
           "; copy it there, or to CPU memory");
  if (toDevice == kHost && fromDevice == kHost) {
    std::memmove(to, from, bytes);
  } else if (toDevice == kHost) {
    submitRecording();
    check(driver.memcpyDtoHAsync(to, address(from), bytes, stream->use()), "reading memory of the GPU");
    finish();
  } else if (fromDevice == kHost) {
    // Goes into the stream before a recording that is under way: the memory is fresh, nothing collected knows it.
    // From pageable memory the driver returns when it has read the bytes, from pinned memory at once.
    constexpr size_t kSmall = 256;
    char small[kSmall];
    if (bytes <= kSmall) {
      std::memcpy(small, from, bytes);
      from = small;
    }
    check(driver.memcpyHtoDAsync(address(to), from, bytes, stream->use()), "writing memory of the GPU");
    if (bytes > kSmall && driver.placeOf(from).type)
      check(driver.streamSynchronize(stream->handle), "writing memory of the GPU");
  } else {
    Operation operation;
    operation.to = address(to);
    operation.from = address(from);
    operation.bytes = bytes;
    submit(operation);
  }
}

// ---- sections

bool CudaQueue::beginSection(int32_t section, std::span<const int64_t> shape, std::span<const void *const> addresses) {
  GraphCache::Entry &found = graphs.find(section, shape);
  if (++found.runs < 2 || found.refused)
    return false;
  // The scratch area of this queue is the one thing that is not among the addresses; where it grows, see launch.
  if (found.graph && !addresses.empty() &&
      std::equal(addresses.begin(), addresses.end(), found.addresses.begin(), found.addresses.end())) {
    replay = &found;
    return true;
  }
  found.addresses.clear();
  pendingAddresses.assign(addresses.begin(), addresses.end());
  entry = &found;
  recording = true;
  stream->defer(true);
  return false;
}

void CudaQueue::endSection() {
  if (replay) {
    Graph &graph = *std::exchange(replay, nullptr)->graph;
    graph.launch(stream->use());
    replayed = true;
    return;
  }
  if (!recording)
    return;
  try {
    if (!entry->graph || !entry->graph->update(collected)) {
      entry->graph.reset();
      Recording copy = collected; // kept in case that the driver refuses
      entry->graph = std::make_unique<Graph>(stream->device, std::move(copy));
    }
    entry->graph->launch(stream->use());
    entry->addresses.swap(pendingAddresses);
    stopRecording();
  } catch (const Error &) {
    entry->graph.reset();
    submitRecording();
  }
}

void CudaQueue::submitRecording() {
  if (!recording)
    return;
  entry->refused = true;
  recording = false;
  const auto operations = std::move(collected.operations);
  collected.operations.clear();
  try {
    for (const Operation &operation : operations)
      collected.submit(operation, *stream->device, stream->use());
  } catch (...) {
    stopRecording();
    throw;
  }
  stopRecording();
}

void CudaQueue::stopRecording() noexcept {
  recording = false;
  entry = replay = nullptr;
  collected.clear();
  stream->defer(false);
}

// ---- waiting and failing

std::string CudaQueue::nameOf(const Command &command) const {
  const auto &launch = std::get<LaunchCommand>(command.body);
  const KernelInfo &kernel = plan.kernels[launch.kernel];
  const std::string nodes = plan.nodesOf(command);
  return cat('\'', kernel.symbol, '\'', nodes.empty() ? "" : " (", nodes, nodes.empty() ? "" : ")");
}

void CudaQueue::failAsync(CUresult result) const {
  std::string list;
  for (const Command *command : recent)
    list += (list.empty() ? "" : ", ") + nameOf(*command);
  Error error(
      result == CUDA_ERROR_OUT_OF_MEMORY ? FLAME_OUT_OF_MEMORY : FLAME_DEVICE,
      cat(stream->device->describe(), ": ", driver.describe(result), list.empty() ? "" : "; the last kernels were ",
          list, replayed ? ", but for those in CUDA graphs" : "",
          "; run in sync mode (FLAME_SYNC, flame-run --sync) to learn which one fails. The GPU's context cannot "
          "be used any more: restart the process"));
  error.located = true; // not where it shows, but earlier
  throw error;
}

void CudaQueue::finish() {
  submitRecording();
  const CUresult result = driver.streamSynchronize(stream->handle);
  if (result != CUDA_SUCCESS)
    failAsync(result);
  recent.clear();
  replayed = unwaited = stream->pending = false;
  throwReport();
}

void CudaQueue::wait() {
  ContextScope inside(*stream->device);
  if (!unwaited)
    return throwReport();
  const CUresult result = driver.eventSynchronize(ended.handle);
  if (result != CUDA_SUCCESS)
    failAsync(result);
  recent.clear();
  replayed = unwaited = false;
  throwReport();
}

void CudaQueue::afterCommand(const Command &command) {
  if (auto *call = std::get_if<HostCallCommand>(&command.body); call && call->kernelCheck && modes.sync)
    finish();
  if (!std::holds_alternative<LaunchCommand>(command.body))
    return;
  if (recent.size() == kRecent)
    recent.pop_front();
  recent.push_back(&command);
  if (!modes.sync)
    return;
  const CUresult result = driver.streamSynchronize(stream->handle);
  if (result != CUDA_SUCCESS)
    fail(FLAME_DEVICE, "kernel ", nameOf(command), " failed on ", stream->device->describe(), ": ",
         driver.describe(result));
}

// ---- profile

double CudaQueue::compute(flame_math math, int64_t rounds) {
  // Of a thread of flame_peak_f32, of a warp of the others (OwnKernels.cu): results under way, operations of each.
  struct Unit {
    OwnKernel kernel;
    int threads;
    double operations;
  };
  const Unit unit = math == FLAME_MATH_F32    ? Unit{OwnKernel::PeakF32, 1, 32 * 2}
                    : math == FLAME_MATH_TF32 ? Unit{OwnKernel::PeakTf32, 32, 8 * 2 * 16 * 8 * 8}
                    : math == FLAME_MATH_F16  ? Unit{OwnKernel::PeakF16, 32, 8 * 2 * 16 * 8 * 16}
                                              : Unit{OwnKernel::PeakBf16, 32, 8 * 2 * 16 * 8 * 16};
  const OwnKernels &own = stream->device->ownKernels();
  if (!own.function(unit.kernel))
    fail(FLAME_UNSUPPORTED, stream->device->describe(), ": the driver compiles no PTX: ", own.failure());
  Operation operation;
  operation.function = own.function(unit.kernel);
  operation.threads = 256;
  operation.blocks = 2 * stream->device->multiprocessors;
  const int64_t threads = int64_t(operation.blocks) * operation.threads;
  const Ref<Buffer> out = allocateBuffer(memory(), threads * sizeof(float));
  operation.firstParameter = collected.values.size();
  collected.values.insert(collected.values.end(), {address(out->data), static_cast<uint64_t>(rounds)});
  operation.parameters = 2;
  submit(operation);
  return unit.operations * (threads / unit.threads) * rounds;
}

uint64_t CudaQueue::startTimer() {
  check(driver.eventRecord(timer().handle, stream->use()), "measuring time");
  return timersUsed - 1;
}

Event &CudaQueue::timer() {
  if (timersUsed == timers.size())
    timers.emplace_back(stream->device, /*timed=*/true);
  return timers[timersUsed++];
}

void CudaQueue::stopTimer(uint64_t started, ProfileCounter &counter) {
  check(driver.eventRecord(timer().handle, stream->use()), "measuring time");
  measurements.push_back({&counter, started, timersUsed - 1});
  // Within a branch or a loop earlier events are still needed; at the outermost level a long run starts anew.
  constexpr size_t kMany = 16384;
  if (started == 0 && timersUsed > kMany) {
    finish();
    collectTimes();
  }
}

void CudaQueue::collectTimes() {
  for (const Measurement &m : measurements) {
    float milliseconds = 0;
    check(driver.eventElapsedTime(&milliseconds, timers[m.from].handle, timers[m.to].handle), "measuring time");
    ++m.counter->calls;
    m.counter->nanoseconds += static_cast<uint64_t>(milliseconds * 1e6);
  }
  measurements.clear();
  timersUsed = 0;
}

} // namespace flame::rt::cuda
