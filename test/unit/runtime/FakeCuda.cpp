//===- FakeCuda.cpp - a CUDA driver whose GPU is the CPU -------------------===//
//
// See FakeCuda.h. One lock guards everything; kernels run under it.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"
#include "FakeOrder.h"
#include "TestFiles.h"
#include "cuda/DriverApi.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <elf.h>
#include <functional>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using flame::test::AccessLog;
using flame::test::Clock;
using flame::test::FakeCuda;
using flame::test::Moment;

// ---- objects

struct CUstream_st {
  uint64_t number = 0;
  std::deque<std::function<void()>> work;
  int64_t kernels = 0; // given and not done
  uint64_t given = 0, done = 0;
  Clock clock; // of what is given to it next
  bool destroyed = false;
};
struct CUevent_st {
  CUstream stream = nullptr;
  uint64_t position = 0;
  Clock clock;
  double time = 0;
};
struct CUctx_st {
  int device = 0, references = 0;
  CUstream_st defaultStream{};
};
struct CUmod_st {
  void *library = nullptr;
  std::map<std::string, CUfunction> functions;
};
using FakeKernel = int (*)(void *const *values, int64_t blocks);
struct CUfunc_st {
  FakeKernel entry;
  int buffers, args, scratch, maps, maxShared = 48 * 1024;
};
struct CUmemPoolHandle_st {
  int device;
};
struct Work {
  CUfunction function = nullptr;
  unsigned blocks = 0, threads = 0, shared = 0;
  std::vector<uint64_t> values;
  CUdeviceptr to = 0, from = 0;
  size_t bytes = 0;
};
struct CUgraphNode_st {
  Work work;
  bool ordered; // behind the node before it
};
struct CUgraph_st {
  std::deque<CUgraphNode_st> nodes;
};
struct CUgraphExec_st {
  std::vector<CUgraphNode> order;
  std::map<CUgraphNode, Work> work;
};

namespace {

constexpr uint64_t kDeviceBit = uint64_t(1) << 62;
constexpr size_t kGuard = 256;
constexpr unsigned char kGuardByte = 0xA5;

std::recursive_mutex mutex;
FakeCuda control;
CUctx_st contexts[8];
thread_local std::vector<CUcontext> stack;

struct Block {
  size_t bytes;
  int device;
  void *base; // what malloc returned
  AccessLog log{};
};
std::map<uint64_t, Block> blocks; // device address → block
size_t used[8], highest[8];
std::map<const void *, size_t> pinned;
std::vector<CUevent> endedEvents;
Clock hostClock; // what the CPU has waited for; one for all threads, so races between them stay unseen

/// Whether kernels of real cubins count as done when they are launched, and memory is zeros: so much of a program for a real
/// GPU as is no kernel can then run here.
bool doesNothing() {
  static const char *const kernels = std::getenv("FLAME_FAKE_KERNELS");
  return kernels && std::strcmp(kernels, "none") == 0;
}

void violate(const std::string &text) {
  if (control.violation.empty())
    control.violation = text;
  if (doesNothing())
    std::fprintf(stderr, "fake GPU: %s\n", text.c_str());
  control.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
}

unsigned char *real(uint64_t address) { return reinterpret_cast<unsigned char *>(address & ~kDeviceBit); }

std::map<uint64_t, Block>::iterator blockOf(uint64_t address) {
  auto after = blocks.upper_bound(address);
  if (after == blocks.begin())
    return blocks.end();
  --after;
  return address <= after->first + after->second.bytes ? after : blocks.end();
}

bool checkGuards(uint64_t address, const Block &block) {
  for (size_t i = 0; i < kGuard; ++i)
    if (real(address)[block.bytes + i] != kGuardByte || real(address)[-1 - static_cast<ptrdiff_t>(i)] != kGuardByte) {
      violate("memory beside an allocation of " + std::to_string(block.bytes) + " bytes was overwritten");
      return false;
    }
  return true;
}

/// Live memory, and nothing that is in no order with this touches it.
bool isDevice(const Moment &moment, uint64_t address, size_t bytes, bool write, const char *what) {
  auto block = blockOf(address);
  if (block != blocks.end() && address + bytes <= block->first + block->second.bytes) {
    if (block->second.log.note(moment, write))
      return true;
    violate(std::string(what) + " memory that work in another stream uses, and does not wait for it");
    return false;
  }
  violate(std::string(what) + ((address & kDeviceBit) ? " outside of live device memory" : " gets memory of the CPU"));
  return false;
}

void run(Work &work, const Moment &moment) {
  if (control.sticky)
    return;
  if (!work.function) {
    if (isDevice(moment, work.to, work.bytes, true, "a copy writes") &&
        isDevice(moment, work.from, work.bytes, false, "a copy reads"))
      std::memmove(real(work.to), real(work.from), work.bytes);
    return;
  }
  const CUfunc_st &f = *work.function;
  std::vector<uint64_t> values = work.values;
  std::vector<void *> addresses;
  struct Before {
    uint64_t block;
    std::vector<unsigned char> bytes;
  };
  std::vector<Before> before; // nobody tells what a kernel writes
  for (size_t i = 0; i < values.size(); ++i) {
    if (static_cast<int>(i) < f.buffers || (static_cast<int>(i) >= f.buffers + f.args &&
                                                static_cast<int>(i) < f.buffers + f.args + f.scratch)) {
      if (!isDevice(moment, values[i], 0, false, "a kernel reads"))
        return;
      if (values[i] % 256)
        return violate("a kernel gets a pointer that is not aligned to 256 bytes");
      const auto &[start, block] = *blockOf(values[i]);
      constexpr size_t kSmall = 1 << 16; // larger ones are weights, and take time
      if (block.bytes <= kSmall)
        before.push_back({start, {real(start), real(start) + block.bytes}});
      values[i] &= ~kDeviceBit;
    }
    addresses.push_back(&values[i]);
  }
  if (work.shared > static_cast<unsigned>(f.maxShared))
    return violate("a kernel gets more shared memory than it has asked for");
  ++control.launches;
  if (const int result = f.entry(addresses.data(), work.blocks))
    control.sticky = result;
  for (const Before &b : before)
    if (std::memcmp(b.bytes.data(), real(b.block), b.bytes.size()))
      isDevice(moment, b.block, 0, true, "a kernel writes");
  for (int i = 0; i < f.buffers; ++i)
    if (auto block = blockOf(work.values[i]); block != blocks.end())
      checkGuards(block->first, block->second);
}

void drain(CUstream stream, uint64_t until = UINT64_MAX) {
  while (!stream->work.empty() && stream->done < until) {
    auto work = std::move(stream->work.front());
    stream->work.pop_front();
    ++stream->done;
    work();
  }
}

/// The objects stay, so that a handle which is used too late is noticed and work that is under way ends.
std::vector<CUstream> &allStreams() {
  static std::vector<CUstream> streams;
  return streams;
}

uint64_t newStreamNumber() {
  static uint64_t last = 0;
  return ++last;
}

CUstream streamOf(CUstream handle) {
  CUstream stream = handle ? handle : &stack.back()->defaultStream;
  if (!stream->number)
    stream->number = newStreamNumber();
  if (stream->destroyed)
    violate("a stream is used that has been destroyed");
  return stream;
}

/// The next place in the stream.
Moment advance(CUstream stream) {
  stream->clock.join(hostClock);
  stream->clock.set(stream->number, ++stream->given);
  return {stream->number, stream->given, stream->clock};
}

template <typename Do> void enqueue(CUstream handle, Do work) {
  CUstream stream = streamOf(handle);
  const Moment moment = advance(stream);
  stream->work.push_back([moment, work = std::move(work)]() mutable { work(moment); });
}

void enqueueWork(CUstream handle, Work work) {
  CUstream stream = streamOf(handle);
  stream->kernels += work.function != nullptr;
  enqueue(stream, [stream, work](const Moment &moment) mutable {
    stream->kernels -= work.function != nullptr;
    run(work, moment);
  });
}

/// The CPU has waited for the stream.
void settle(CUstream stream) {
  drain(stream);
  hostClock.join(stream->clock);
}
void settleAll() {
  for (CUstream stream : allStreams())
    settle(stream);
  for (CUctx_st &context : contexts)
    settle(&context.defaultStream);
}

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What every call begins with that may fail.
#define ENTER(needsContext)                                                                                            \
  std::lock_guard lock(mutex);                                                                                         \
  ++control.calls;                                                                                                     \
  if (control.sticky)                                                                                                  \
    return control.sticky;                                                                                             \
  if (needsContext && stack.empty())                                                                                   \
    return 201;                                                                                                        \
  if (control.failCall >= 0 && control.failCall-- == 0)                                                                \
  return 999

CUresult allocate(CUdeviceptr *pointer, size_t bytes, int device) {
  if (control.failAllocation >= 0 && control.failAllocation-- == 0)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (bytes == 0)
    return 1;
  if (bytes > control.memory - used[device])
    return CUDA_ERROR_OUT_OF_MEMORY;
  void *base = std::aligned_alloc(256, (bytes + 2 * kGuard + 255) / 256 * 256);
  auto *data = static_cast<unsigned char *>(base) + kGuard;
  std::memset(base, kGuardByte, bytes + 2 * kGuard);
  std::memset(data, doesNothing() ? 0 : 0xCD, bytes);
  *pointer = reinterpret_cast<uint64_t>(data) | kDeviceBit;
  blocks[*pointer] = {bytes, device, base};
  used[device] += bytes;
  highest[device] = std::max(highest[device], used[device]);
  ++control.allocations;
  return CUDA_SUCCESS;
}

void deallocate(CUdeviceptr pointer) {
  auto block = blocks.find(pointer);
  if (block == blocks.end())
    return violate("memory is freed twice, or never was allocated");
  checkGuards(block->first, block->second);
  used[block->second.device] -= block->second.bytes;
  std::free(block->second.base);
  blocks.erase(block);
  --control.allocations;
}

Work kernelWork(CUfunction f, unsigned grid, unsigned threads, unsigned shared, void **params) {
  Work work{f, grid, threads, shared, {}};
  for (int i = 0; i < f->buffers + f->args + f->scratch; ++i)
    work.values.push_back(*static_cast<uint64_t *>(params[i]));
  for (int i = 0; i < f->maps; ++i) {
    const auto *words = static_cast<uint64_t *>(params[f->buffers + f->args + f->scratch + i]);
    work.values.insert(work.values.end(), words, words + 16);
  }
  return work;
}
Work copyWork(const CUDA_MEMCPY3D &c) {
  Work work;
  work.to = c.dstDevice;
  work.from = c.srcDevice;
  work.bytes = c.WidthInBytes;
  return work;
}

/// Nobody has handles any more.
void forgetStreams() {
  settleAll();
  for (CUstream stream : allStreams())
    delete stream;
  allStreams().clear();
  for (CUevent event : endedEvents)
    delete event;
  endedEvents.clear();
  for (CUctx_st &context : contexts)
    context.defaultStream = {};
  hostClock = {};
}

} // namespace

#define API extern "C" __attribute__((visibility("default")))

API FakeCuda *flameFakeCuda() { return &control; }

API CUresult cuDriverGetVersion(int *version) {
  *version = control.version;
  return control.version ? CUDA_SUCCESS : CUDA_ERROR_STUB_LIBRARY;
}
API CUresult cuGetErrorName(CUresult result, const char **text) {
  *text = result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult result, const char **text) {
  *text = result == 700 ? "an illegal memory access was encountered" : result == 2 ? "out of memory" : "fake failure";
  return CUDA_SUCCESS;
}
API CUresult cuInit(unsigned) { return control.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API CUresult cuDeviceGetCount(int *count) {
  *count = control.devices;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER(false);
  *device = ordinal;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetName(char *name, int length, CUdevice) {
  ENTER(false);
  std::strncpy(name, "Fake GPU", length);
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice) {
  ENTER(false);
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? control.major
           : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? control.minor
           : attribute == CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED   ? control.pools
           : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? control.multiprocessors
                                                                       : 227 * 1024;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice) {
  ENTER(false);
  *bytes = control.memory;
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ENTER(false);
  *context = &contexts[device];
  contexts[device].device = device;
  ++contexts[device].references;
  ++control.contexts;
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  std::lock_guard lock(mutex);
  --contexts[device].references;
  --control.contexts;
  if (control.alive() == 0)
    forgetStreams();
  return CUDA_SUCCESS;
}
API CUresult cuCtxPushCurrent_v2(CUcontext context) {
  stack.push_back(context); // as the driver does, even where the context has failed
  return CUDA_SUCCESS;
}
API CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  *context = stack.back();
  stack.pop_back();
  return CUDA_SUCCESS;
}
API CUresult cuCtxSynchronize() {
  // Where a wait fails the work has ended nevertheless: nothing may touch the CPU's memory later.
  {
    std::lock_guard first(mutex);
    settleAll();
  }
  ENTER(true);
  return control.sticky;
}

// ---- modules

API CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  ENTER(true);
  const char *text = static_cast<const char *>(image);
  std::string path;
  int file = -1;
  if (std::memcmp(text, ELFMAG, SELFMAG) == 0) {
    const auto &header = *static_cast<const Elf64_Ehdr *>(image);
    const size_t bytes = header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
    if (header.e_machine == EM_CUDA && doesNothing()) {
      *module = new CUmod_st{nullptr, {}};
      ++control.modules;
      return CUDA_SUCCESS;
    }
    file = memfd_create("fake-cubin", MFD_CLOEXEC);
    if (write(file, image, bytes) != static_cast<ssize_t>(bytes))
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    path = "/proc/self/fd/" + std::to_string(file);
  } else if (std::strncmp(text, "// ", 3) == 0) { // PTX: the path of the object
    path = text + 3;
  } else if (std::strstr(text, ".entry flame_check_indices")) { // the runtime's own kernels
    if (!control.compilesPtx)
      return CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
    path = flame::test::testFile(FLAME_TEST_DEVICE_KERNELS);
  } else {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
        std::strcpy(static_cast<char *>(values[i]), "line 1: this is no PTX\n");
    return 218;
  }
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  // Left open on purpose: the loader knows objects by name, and the next one must get another.
  if (!library)
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  *module = new CUmod_st{library, {}};
  ++control.modules;
  return CUDA_SUCCESS;
}
API CUresult cuModuleUnload(CUmodule module) {
  std::lock_guard lock(mutex);
  for (CUstream stream : allStreams())
    if (stream->kernels)
      violate("a module is unloaded while its kernels may be in a stream");
  for (auto &[name, function] : module->functions)
    delete function;
  if (module->library)
    dlclose(module->library);
  delete module;
  --control.modules;
  return CUDA_SUCCESS;
}
API CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  ENTER(true);
  static const int kNothing[4] = {};
  auto *entry = module->library ? reinterpret_cast<FakeKernel>(dlsym(module->library, name))
                                : static_cast<FakeKernel>([](void *const *, int64_t) { return 0; });
  auto *signature = module->library
                        ? static_cast<const int *>(dlsym(module->library, (std::string(name) + "_signature").c_str()))
                        : kNothing;
  if (!entry || !signature)
    return CUDA_ERROR_NOT_FOUND;
  CUfunction &known = module->functions[name];
  if (!known)
    known = new CUfunc_st{entry, signature[0], signature[1], signature[2], signature[3]};
  *function = known;
  return CUDA_SUCCESS;
}
namespace {
/// Checks what the driver checks; the map tells what it was made of (k_tensor in DeviceKernels.c, TensorMap::of in
/// kernels/emulation/ptx/Tensor.h).
CUresult encodeMap(uint64_t *map, int type, uint32_t rank, CUdeviceptr address, const uint64_t *dims,
                   const uint64_t *strides, int interleave, int swizzle, int promotion, int fill) {
  if (reinterpret_cast<uintptr_t>(map) % 64 || address % 16 || rank < 2 || rank > 5 || interleave || fill)
    return 1;
  ++control.tensorMaps;
  std::memset(map, 0, 128);
  map[0] = static_cast<uint64_t>(type) | rank << 8 | static_cast<uint64_t>(swizzle) << 16;
  map[1] = static_cast<uint64_t>(promotion) | 1 << 21;
  map[2] = address & ~kDeviceBit;
  for (uint32_t i = 0; i < rank; ++i) {
    if (dims[i] == 0 || (i && (strides[i - 1] % 16 || !strides[i - 1])))
      return 1;
    map[3 + i] = dims[i];
    if (i)
      map[7 + i] = strides[i - 1];
  }
  return CUDA_SUCCESS;
}
} // namespace
API CUresult cuTensorMapEncodeTiled(uint64_t *map, int type, uint32_t rank, CUdeviceptr address, const uint64_t *dims,
                                    const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                                    int swizzle, int promotion, int fill) {
  ENTER(true);
  if (const CUresult result = encodeMap(map, type, rank, address, dims, strides, interleave, swizzle, promotion, fill))
    return result;
  for (uint32_t i = 0; i < rank; ++i) {
    if (box[i] == 0 || box[i] > 256 || steps[i] != 1)
      return 1;
    map[13] |= static_cast<uint64_t>(box[i]) << 12 * i;
  }
  return CUDA_SUCCESS;
}
/// Corners and steps are 8 bits each of the last two words.
API CUresult cuTensorMapEncodeIm2col(uint64_t *map, int type, uint32_t rank, CUdeviceptr address, const uint64_t *dims,
                                     const uint64_t *strides, const int *lower, const int *upper, uint32_t channels,
                                     uint32_t pixels, const uint32_t *steps, int interleave, int swizzle, int promotion,
                                     int fill) {
  ENTER(true);
  if (const CUresult result = encodeMap(map, type, rank, address, dims, strides, interleave, swizzle, promotion, fill))
    return result;
  if (rank < 3 || channels == 0 || channels > 256 || pixels == 0 || pixels > 1024 || steps[0] != 1 || steps[rank - 1] != 1)
    return 1;
  map[12] = 1; // of windows
  map[13] = channels | pixels << 12;
  for (uint32_t i = 0; i + 2 < rank; ++i) {
    const int reach = 1 << (16 / (rank - 2) - 1);
    if (lower[i] < -reach || lower[i] >= reach || upper[i] < -reach || upper[i] >= reach || steps[i + 1] < 1 || steps[i + 1] > 8)
      return 1;
    map[14] |= static_cast<uint64_t>(lower[i] & 255) << 16 * i | static_cast<uint64_t>(upper[i] & 255) << (16 * i + 8);
    map[15] |= static_cast<uint64_t>(steps[i + 1]) << 8 * i;
  }
  return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction function, int, int value) {
  ENTER(true);
  function->maxShared = value;
  return CUDA_SUCCESS;
}
API CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned, unsigned, unsigned blockX, unsigned,
                            unsigned, unsigned shared, CUstream stream, void **params, void **) {
  ENTER(true);
  if (gridX == 0 || blockX == 0)
    return 1;
  enqueueWork(stream, kernelWork(function, gridX, blockX, shared, params));
  return CUDA_SUCCESS;
}
API CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                                       unsigned blockY, unsigned blockZ, unsigned shared, CUstream stream, void **params) {
  if (gridX > static_cast<unsigned>(control.multiprocessors))
    return 720; // too many blocks to run at the same time
  ++control.cooperativeLaunches;
  return cuLaunchKernel(function, gridX, gridY, gridZ, blockX, blockY, blockZ, shared, stream, params, nullptr);
}
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction, int, size_t) {
  ENTER(true);
  *blocks = 1;
  return CUDA_SUCCESS;
}

// ---- streams and events

API CUresult cuStreamCreate(CUstream *stream, unsigned) {
  ENTER(true);
  *stream = new CUstream_st;
  (*stream)->number = newStreamNumber();
  allStreams().push_back(*stream);
  ++control.streams;
  return CUDA_SUCCESS;
}
API CUresult cuStreamDestroy_v2(CUstream stream) {
  std::lock_guard lock(mutex);
  streamOf(stream)->destroyed = true;
  --control.streams;
  return CUDA_SUCCESS;
}
API CUresult cuStreamGetId(CUstream stream, unsigned long long *number) {
  ENTER(true);
  if (!control.streamNumbers)
    return 801;
  *number = streamOf(stream)->number;
  return CUDA_SUCCESS;
}
API CUresult cuStreamSynchronize(CUstream stream) {
  {
    std::lock_guard first(mutex);
    if (!stack.empty())
      settle(streamOf(stream));
  }
  ENTER(true);
  return control.sticky;
}
API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  ENTER(true);
  ++control.eventWaits;
  if (event->stream) {
    enqueue(stream, [from = event->stream, position = event->position](const Moment &) { drain(from, position); });
    streamOf(stream)->clock.join(event->clock);
  }
  return CUDA_SUCCESS;
}
API CUresult cuEventCreate(CUevent *event, unsigned) {
  ENTER(true);
  *event = new CUevent_st;
  ++control.events;
  return CUDA_SUCCESS;
}
API CUresult cuEventDestroy_v2(CUevent event) {
  std::lock_guard lock(mutex);
  endedEvents.push_back(event); // a stream may still have to write its time
  --control.events;
  return CUDA_SUCCESS;
}
API CUresult cuEventRecord(CUevent event, CUstream stream) {
  ENTER(true);
  ++control.eventRecords;
  enqueue(stream, [event](const Moment &) { event->time = now(); });
  event->stream = streamOf(stream);
  event->position = event->stream->given;
  event->clock = event->stream->clock;
  return CUDA_SUCCESS;
}
API CUresult cuEventSynchronize(CUevent event) {
  {
    std::lock_guard first(mutex);
    if (event->stream) {
      drain(event->stream, event->position);
      hostClock.join(event->clock);
    }
  }
  ENTER(true);
  return control.sticky;
}
API CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  ENTER(true);
  if (from->stream->done < from->position || to->stream->done < to->position)
    return 600;
  *milliseconds = static_cast<float>(to->time - from->time);
  return CUDA_SUCCESS;
}

// ---- memory

API CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  ENTER(true);
  return allocate(pointer, bytes, stack.back()->device);
}
API CUresult cuMemFree_v2(CUdeviceptr pointer) {
  std::lock_guard lock(mutex);
  if (stack.empty())
    return 201;
  settleAll();
  deallocate(pointer);
  return CUDA_SUCCESS;
}
API CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
  ENTER(false);
  *pool = new CUmemPoolHandle_st{properties->location.id};
  ++control.pools_;
  return CUDA_SUCCESS;
}
API CUresult cuMemPoolDestroy(CUmemoryPool pool) {
  std::lock_guard lock(mutex);
  delete pool;
  --control.pools_;
  return CUDA_SUCCESS;
}
API CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void *value) {
  ENTER(false);
  *static_cast<uint64_t *>(value) =
      attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH ? highest[pool->device] : used[pool->device];
  return CUDA_SUCCESS;
}
API CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *) {
  ENTER(false);
  if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
    highest[pool->device] = used[pool->device];
  return CUDA_SUCCESS;
}
API CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) { return CUDA_SUCCESS; }
API CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool, CUstream stream) {
  ENTER(true);
  const CUresult result = allocate(pointer, bytes, stack.back()->device);
  if (result == CUDA_SUCCESS) {
    CUstream ordered = streamOf(stream);
    enqueue(ordered, [](const Moment &) {});
    blocks[*pointer].log.note({ordered->number, ordered->given, ordered->clock}, true);
  }
  return result;
}
API CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
  std::lock_guard lock(mutex);
  if (stack.empty())
    return 201;
  enqueue(stream, [pointer](const Moment &moment) {
    if (isDevice(moment, pointer, 0, true, "a release ends the life of"))
      deallocate(pointer);
  });
  return CUDA_SUCCESS;
}
API CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
  ENTER(true);
  *available = control.memory - used[stack.back()->device];
  *total = control.memory;
  return CUDA_SUCCESS;
}
API CUresult cuMemAllocHost_v2(void **pointer, size_t bytes) {
  ENTER(true);
  *pointer = std::malloc(bytes);
  pinned[*pointer] = bytes;
  ++control.pinned;
  return CUDA_SUCCESS;
}
API CUresult cuMemFreeHost(void *pointer) {
  std::lock_guard lock(mutex);
  std::memset(pointer, 0xEE, pinned[pointer]); // a copy that has not run yet would show
  pinned.erase(pointer);
  std::free(pointer);
  --control.pinned;
  return CUDA_SUCCESS;
}
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  ENTER(true);
  if (reinterpret_cast<uint64_t>(from) & kDeviceBit) {
    violate("a copy from the CPU reads device memory");
    return control.sticky;
  }
  ++control.copiesToDevice;
  auto range = pinned.upper_bound(from);
  const bool late = range != pinned.begin() &&
                    static_cast<const char *>(from) < static_cast<const char *>((--range)->first) + range->second;
  std::vector<char> early;
  if (!late)
    early.assign(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
  enqueue(stream, [to, from, bytes, late, early = std::move(early)](const Moment &moment) {
    if (isDevice(moment, to, bytes, true, "a copy to the GPU writes"))
      std::memcpy(real(to), late ? from : early.data(), bytes);
  });
  return CUDA_SUCCESS;
}
API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER(true);
  if (reinterpret_cast<uint64_t>(to) & kDeviceBit) {
    violate("a copy to the CPU writes device memory");
    return control.sticky;
  }
  ++control.copiesToHost;
  enqueue(stream, [to, from, bytes](const Moment &moment) {
    if (isDevice(moment, from, bytes, false, "a copy from the GPU reads"))
      std::memcpy(to, real(from), bytes);
  });
  return CUDA_SUCCESS;
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER(true);
  Work work;
  work.to = to;
  work.from = from;
  work.bytes = bytes;
  enqueueWork(stream, work);
  return CUDA_SUCCESS;
}
API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  ENTER(true);
  enqueue(stream, [=](const Moment &moment) {
    if (isDevice(moment, to, bytes, true, "a fill writes"))
      std::memset(real(to), value, bytes);
  });
  return CUDA_SUCCESS;
}
API CUresult cuPointerGetAttributes(unsigned count, int *attributes, void **values, CUdeviceptr pointer) {
  std::lock_guard lock(mutex);
  auto block = blockOf(pointer);
  const bool known = block != blocks.end();
  for (unsigned i = 0; i < count; ++i)
    *static_cast<int *>(values[i]) = attributes[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE
                                         ? (known ? int(CU_MEMORYTYPE_DEVICE) : 0)
                                         : (known ? block->second.device : -2);
  return CUDA_SUCCESS;
}

// ---- graphs

API CUresult cuGraphCreate(CUgraph *graph, unsigned) {
  ENTER(true);
  *graph = new CUgraph_st;
  ++control.graphs;
  return CUDA_SUCCESS;
}
API CUresult cuGraphDestroy(CUgraph graph) {
  std::lock_guard lock(mutex);
  delete graph;
  --control.graphs;
  return CUDA_SUCCESS;
}
API CUresult cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                  const CUDA_KERNEL_NODE_PARAMS *p) {
  ENTER(true);
  if (count > 1 || (count && *after != &graph->nodes.back()))
    violate("the graph is not a chain");
  graph->nodes.push_back({kernelWork(p->func, p->gridDimX, p->blockDimX, p->sharedMemBytes, p->kernelParams),
                          count == 1 || graph->nodes.empty()});
  *node = &graph->nodes.back();
  return CUDA_SUCCESS;
}
API CUresult cuGraphKernelNodeSetAttribute(CUgraphNode node, int attribute, const CUkernelNodeAttrValue *value) {
  ENTER(true);
  if (attribute != CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE || !value->cooperative ||
      node->work.blocks > static_cast<unsigned>(control.multiprocessors))
    return 1;
  ++control.cooperativeLaunches;
  return CUDA_SUCCESS;
}
API CUresult cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                  const CUDA_MEMCPY3D *p, CUcontext) {
  ENTER(true);
  if (count != (graph->nodes.empty() ? 0u : 1u) || (count && *after != &graph->nodes.back()))
    violate("the graph is not a chain");
  graph->nodes.push_back({copyWork(*p), true});
  *node = &graph->nodes.back();
  return CUDA_SUCCESS;
}
API CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to,
                                       const CUgraphEdgeData *edge, size_t count) {
  ENTER(true);
  const size_t nodes = graph->nodes.size();
  if (count != 1 || nodes < 2 || *to != &graph->nodes[nodes - 1] || *from != &graph->nodes[nodes - 2])
    violate("the graph is not a chain");
  else if (!(*from)->work.function || !(*to)->work.function || edge->from_port != 1 || edge->type != 1)
    violate("an edge that is none between overlapping kernels");
  (*to)->ordered = true;
  ++control.overlaps;
  return CUDA_SUCCESS;
}
API CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long) {
  ENTER(true);
  *exec = new CUgraphExec_st;
  for (CUgraphNode_st &node : graph->nodes) {
    if (!node.ordered)
      violate("a kernel of the graph waits for nothing");
    (*exec)->order.push_back(&node);
    (*exec)->work[&node] = node.work;
  }
  ++control.graphs;
  ++control.graphsMade;
  return CUDA_SUCCESS;
}
API CUresult cuGraphExecDestroy(CUgraphExec exec) {
  std::lock_guard lock(mutex);
  delete exec;
  --control.graphs;
  return CUDA_SUCCESS;
}
API CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  ENTER(true);
  ++control.graphLaunches;
  for (CUgraphNode node : exec->order)
    enqueueWork(stream, exec->work[node]);
  return CUDA_SUCCESS;
}
API CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p) {
  ENTER(true);
  ++control.nodeUpdates;
  exec->work[node] = kernelWork(p->func, p->gridDimX, p->blockDimX, p->sharedMemBytes, p->kernelParams);
  return CUDA_SUCCESS;
}
API CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *p, CUcontext) {
  ENTER(true);
  ++control.nodeUpdates;
  exec->work[node] = copyWork(*p);
  return CUDA_SUCCESS;
}
