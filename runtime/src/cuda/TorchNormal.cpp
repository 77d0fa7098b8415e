//===- TorchNormal.cpp - what torch.randn draws on a GPU -------------------===//
//
// The kernel of TorchNormal.cu with PyTorch's launch: 256 threads a block, one element a thread as long as the GPU
// holds that many threads at once. Its PTX is loaded by each call; the driver keeps what it made of it.
//
//===----------------------------------------------------------------------===//

#include "TorchNormal.h"

#include "Device.h"

#include <algorithm>

namespace flame::rt::cuda {

namespace {

constexpr const char *kText =
#include "TorchNormal.ptx.inc"
    ;
constexpr uint64_t kThreads = 256, kEach = 4;
constexpr int kThreadsPerMultiprocessor = 39; // CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR

/// Goes when the call ends.
struct LoadedModule {
  const Driver &driver;
  CUmodule handle = nullptr;
  ~LoadedModule() {
    if (handle)
      driver.moduleUnload(handle);
  }
};
struct Memory {
  const Driver &driver;
  CUdeviceptr pointer = 0;
  ~Memory() {
    if (pointer)
      driver.memFree(pointer);
  }
};

} // namespace

uint64_t torchNormal(int ordinal, uint64_t seed, uint64_t block, size_t count, float *out) {
  const Ref<Device> device = Device::open(ordinal);
  if (count == 0)
    return block;
  const ContextScope scope(*device);
  const Driver &driver = device->driver;
  LoadedModule module{driver};
  CUfunction function = nullptr;
  CUresult result = driver.moduleLoadDataEx(&module.handle, kText, 0, nullptr, nullptr);
  if (result == CUDA_SUCCESS)
    result = driver.moduleGetFunction(&function, module.handle, "flame_torch_normal");
  if (result != CUDA_SUCCESS)
    fail(FLAME_UNSUPPORTED, device->describe(), ": the driver compiles no PTX: ", driver.describe(result));
  int resident = 0;
  check(driver.deviceGetAttribute(&resident, kThreadsPerMultiprocessor, device->handle), "asking about the GPU");
  const uint64_t most = uint64_t(device->multiprocessors) * (static_cast<uint64_t>(resident) / kThreads);
  const uint64_t blocks = std::min<uint64_t>(most, (count + kThreads - 1) / kThreads);
  Memory memory{driver};
  check(driver.memAlloc(&memory.pointer, count * sizeof(float)), "allocating memory for random numbers");
  uint64_t number = count;
  void *parameters[] = {&memory.pointer, &seed, &block, &number};
  check(driver.launchKernel(function, static_cast<unsigned>(blocks), 1, 1, kThreads, 1, 1, 0, nullptr, parameters,
                            nullptr),
        "drawing random numbers");
  check(driver.memcpyDtoHAsync(out, memory.pointer, count * sizeof(float), nullptr), "copying random numbers");
  check(driver.ctxSynchronize(), "drawing random numbers");
  return block + (count - 1) / (blocks * kThreads * kEach) + 1;
}

} // namespace flame::rt::cuda
