//===- Queue.cpp - tensors between places, and the CPU's queue ------------===//

#include "Queue.h"
#include "CodeObject.h"
#include "ThreadPool.h"
#include "cuda/Transfer.h"

#include <cstring>

namespace flame::rt {

Tensor Queue::make(DType dtype, const Dims &dims) const {
  return makeTensor(dtype == FLAME_STRING ? hostMemory : kernelMemory, dtype, dims);
}

void Queue::copy(const Tensor &from, int64_t fromIndex, const Tensor &to, int64_t toIndex, int64_t count) {
  if (from.onHost() && to.onHost()) {
    copyElements(from, fromIndex, to, toIndex, count);
  } else if (count) {
    const size_t size = elementSize(from.dtype);
    copyBytes(to.as<char>() + toIndex * size, to.device, from.as<char>() + fromIndex * size, from.device, count * size);
  }
}

Tensor Queue::clone(const Tensor &tensor) {
  Tensor copied = makeTensor(tensor.onHost() ? hostMemory : kernelMemory, tensor.dtype, tensor.dims);
  copy(tensor, copied);
  return copied;
}

Tensor Queue::toHost(const Tensor &tensor) {
  if (tensor.onHost())
    return tensor;
  Tensor copied = makeTensor(hostMemory, tensor.dtype, tensor.dims);
  copy(tensor, copied);
  if (tensor.buffer)
    tensor.buffer->verify(); // of another session's run, perhaps
  return copied;
}

Tensor Queue::toDevice(const Tensor &tensor) {
  if (tensor.device == device() || tensor.isString())
    return tensor;
  Tensor copied = makeTensor(kernelMemory, tensor.dtype, tensor.dims);
  copy(tensor, copied);
  return copied;
}

namespace {

using KernelFunction = void (*)(void *const *buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end);

struct LaunchContext {
  KernelFunction kernel;
  void *const *buffers;
  const int64_t *args;
  char *scratch;
  uint64_t scratchStride;
};

void runChunk(void *context, int participant, int64_t begin, int64_t end) {
  auto &c = *static_cast<LaunchContext *>(context);
  c.kernel(c.buffers, c.args, c.scratch ? c.scratch + participant * c.scratchStride : nullptr, begin, end);
}

class HostBackend : public Backend {
public:
  HostBackend(const Plan &plan, ThreadPool &pool, const Ref<Allocator> &allocator) : pool(pool), allocator(allocator) {
    codes.resize(plan.codes.size());
    for (const KernelInfo &kernel : plan.kernels) {
      auto &code = codes[kernel.code];
      if (!code)
        code = std::make_unique<CodeObject>(plan.codes[kernel.code]);
      kernels.push_back(reinterpret_cast<KernelFunction>(code->symbol(kernel.symbol)));
    }
  }
  std::unique_ptr<Queue> makeQueue() override;

  ThreadPool &pool;
  Ref<Allocator> allocator;
  std::vector<std::unique_ptr<CodeObject>> codes;
  std::vector<KernelFunction> kernels;
};

class HostQueue : public Queue {
public:
  explicit HostQueue(const HostBackend &backend) : Queue(backend.allocator, backend.allocator), backend(backend) {}

  void launch(const KernelLaunch &launch) override {
    ThreadPool &pool = backend.pool;
    const int participants = pool.participants(launch.extent, launch.grain);
    LaunchContext context{backend.kernels[launch.kernel], launch.buffers.data(), launch.args.data(), nullptr, 0};
    if (launch.scratch >= 0) {
      context.scratchStride = alignUp(launch.scratch);
      const uint64_t total = context.scratchStride * participants;
      if (!scratch || scratch->bytes < total) {
        scratch.reset();
        scratch = allocateBuffer(memory(), total);
      }
      context.scratch = static_cast<char *>(scratch->data);
    }
    if (participants == 1)
      runChunk(&context, 0, 0, launch.extent);
    else
      pool.parallelFor(launch.extent, launch.grain, participants, runChunk, &context);
  }

  void copyBytes(void *to, int toDevice, const void *from, int fromDevice, size_t bytes) override {
    if (toDevice == kHost && fromDevice == kHost)
      std::memmove(to, from, bytes);
    else // an input or output of the application's
      cuda::copy(to, toDevice, from, fromDevice, bytes);
  }

  void copyFast(void *to, const void *from, size_t bytes) override {
    struct Range {
      char *to;
      const char *from;
    } range{static_cast<char *>(to), static_cast<const char *>(from)};
    auto part = [](void *context, int, int64_t begin, int64_t end) {
      const Range &r = *static_cast<Range *>(context);
      std::memcpy(r.to + begin, r.from + begin, end - begin);
    };
    constexpr int64_t kPart = 1 << 20;
    backend.pool.parallelFor(bytes, kPart, backend.pool.participants(bytes, kPart), part, &range);
  }

private:
  const HostBackend &backend;
  Ref<Buffer> scratch;
};

std::unique_ptr<Queue> HostBackend::makeQueue() { return std::make_unique<HostQueue>(*this); }

} // namespace

std::unique_ptr<Backend> makeHostBackend(const Plan &plan, ThreadPool &pool, const Ref<Allocator> &allocator) {
  return std::make_unique<HostBackend>(plan, pool, allocator);
}

} // namespace flame::rt
