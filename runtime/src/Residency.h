//===- Residency.h - moving tensors to where they are needed --------------===//
//
// A tensor is in one place; this class brings it to the other one on demand and remembers both sides, so that a value
// that host functions and kernels use in turn crosses once. It is the only part of the executor that knows about two
// places; with a CPU artifact every call returns its argument.
//
// An uploaded tensor replaces the one in its slot. A Mirror is the CPU's copy of a range of device memory; it holds for
// as long as nobody writes to the range, which the executor tells by `written`.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_RESIDENCY_H
#define FLAME_RUNTIME_RESIDENCY_H

#include "Queue.h"

namespace flame::rt {

struct Mirror {
  const char *begin;
  size_t bytes;
  Ref<Buffer> buffer; // of the device memory, which cannot become something else meanwhile
  Tensor host;
};

class Residency {
public:
  /// `weights`: mirrors of what the module has placed on the device, by address.
  Residency(Queue &queue, const std::vector<Mirror> &weights) : queue(queue), weights(weights) {}

  /// Makes a tensor usable by kernels, in place.
  void upload(Tensor &tensor);
  /// The value in CPU memory, items included.
  Value download(const Value &value);
  Tensor download(const Tensor &tensor);
  /// Element `index` of an integer or bool tensor.
  int64_t integerAt(const Tensor &tensor, int64_t index);

  /// A kernel or a copy writes to this memory.
  void written(const Tensor &tensor) {
    if (!mirrors.empty())
      forget(tensor);
  }
  void clear() { mirrors.clear(); }

private:
  bool isHome(const Tensor &tensor) const { return tensor.device == queue.device() || tensor.isString(); }
  const Mirror *find(const Tensor &tensor) const;
  void remember(const Tensor &device, const Tensor &host);
  void forget(const Tensor &tensor);

  Queue &queue;
  const std::vector<Mirror> &weights;
  std::vector<Mirror> mirrors;
};

/// For each slot: whether kernels use its value, be it through an alias, a block's argument or a result. What only host
/// functions, conditions and shapes look at stays in CPU memory.
std::vector<uint8_t> usedByKernels(const Plan &plan);

/// For each slot: whether it is a weight or a constant that kernels of the init block read and nothing else does.
std::vector<uint8_t> readByInitAlone(const Plan &plan);
/// Fills HostCallCommand::kernelCheck.
void findKernelChecks(Plan &plan);
/// For each slot: whether a kernel may write to its memory (see Storage in plan.fbs).
std::vector<uint8_t> writableByKernels(const Plan &plan);

} // namespace flame::rt

#endif
