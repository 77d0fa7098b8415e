//===- Backend.cpp - see Backend.h -----------------------------------------===//

#include "Backend.h"
#include "../ThreadPool.h"
#include "CudaQueue.h"
#include "Upload.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace flame::rt::cuda {

namespace {

/// The option, else the environment, else the first device.
int chooseDevice(const ModuleOptions &options) {
  const char *text = std::getenv("FLAME_DEVICE");
  if (options.device || !text || !*text)
    return options.device;
  int number = -1;
  const char *end = text + std::strlen(text);
  const auto parsed = std::from_chars(text, end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number < 0)
    fail(FLAME_INVALID_ARGUMENT, "FLAME_DEVICE is '", text, "'; it must be the number of a GPU, counted from 0");
  return number;
}

class CudaBackend : public Backend {
public:
  CudaBackend(const Plan &plan, const ModuleOptions &options, const Ref<Allocator> &host)
      : plan(plan), modes{options.sync, options.graphs}, threads(options.threads), host(host), device(Device::open(chooseDevice(options))),
        module(plan, device) {}

  std::unique_ptr<Queue> makeQueue() override {
    return std::make_unique<CudaQueue>(plan, module, host, makeMemory(), modes);
  }

  void place(std::vector<Value> &values, const std::vector<uint8_t> &transient) override {
    const std::vector<uint8_t> used = usedByKernels(plan);
    weights = placeIf(values, [&](size_t i) { return used[i] && !transient[i]; });
    initWeights = placeIf(values, [&](size_t i) { return used[i] && transient[i]; });
  }
  void forgetTransient() override { initWeights = {}; }

private:
  /// One piece of memory holds all; a mapped file's tensors come in the order of the file where the plan has them so.
  template <typename Chosen> Ref<Buffer> placeIf(std::vector<Value> &values, Chosen chosen) {
    std::vector<Piece> pieces;
    std::vector<size_t> slots;
    uint64_t total = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      if (!values[i].set || !chosen(i))
        continue;
      const Tensor &t = values[i].tensor;
      pieces.push_back({t.data, total, t.bytes});
      slots.push_back(i);
      total += alignUp(std::max<size_t>(t.bytes, 1), kernelAlignment(DeviceKind::Cuda));
    }
    if (slots.empty())
      return {};
    const Ref<DeviceAllocator> memory = makeMemory();
    Ref<Buffer> image;
    try {
      image = allocateBuffer(Ref<Allocator>::share(memory.get()), total);
    } catch (Error &error) {
      error.message = cat("the weights need ", formatBytes(total), " on the GPU: ", error.message);
      throw;
    }
    upload(memory->stream, image->data, pieces, chooseThreadCount(threads));
    for (size_t i = 0; i < slots.size(); ++i) {
      Tensor &t = values[slots[i]].tensor;
      t.data = static_cast<char *>(image->data) + pieces[i].offset;
      t.device = device->ordinal;
      t.buffer.reset();
    }
    return image;
  }
  Ref<DeviceAllocator> makeMemory() { return makeRef<DeviceAllocator>(makeRef<Stream>(device), *host); }

  const Plan &plan;
  const QueueModes modes;
  const int threads;
  Ref<Allocator> host;
  Ref<Device> device;
  CudaModule module;
  Ref<Buffer> weights, initWeights; // the latter: what the init block alone reads
};

} // namespace

std::unique_ptr<Backend> makeBackend(const Plan &plan, const ModuleOptions &options, const Ref<Allocator> &host) {
  return std::make_unique<CudaBackend>(plan, options, host);
}

} // namespace flame::rt::cuda
