//===- Graph.h - sections of a plan as CUDA graphs --------------------------===//
//
// While a section is recorded, its kernels and copies are collected instead of being put into the stream; at its end
// they go there as one graph. Kernels of a section depend on each other in the plan's order: a chain. A kernel that waits
// by itself for the one before it is started as soon as all blocks of that one run: it reads its weights meanwhile. As
// each waits for the whole of the one before it, no kernel ends before any of those that it comes after.
//
// The graph's parameters are brought up to date, node by node, where a pointer or an argument is another one than at the
// last launch. The other way, to copy inputs into buffers whose addresses never change, costs memory and a copy of every
// input in every run, and does nothing for tensors that the plan allocates; with a memory pool those get the same
// addresses in every run, as a rule, and then nothing is to be updated.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_GRAPH_H
#define FLAME_RUNTIME_CUDA_GRAPH_H

#include "Device.h"

#include <map>
#include <memory>
#include <span>

namespace flame::rt::cuda {

/// Words of a tensor map.
inline constexpr size_t kTensorMapWords = 16;

/// A kernel (function != nullptr) or a copy within the device.
struct Operation {
  CUfunction function = nullptr;
  bool cooperative = false; // all blocks at the same time
  unsigned blocks = 0, threads = 0, shared = 0;
  size_t firstParameter = 0, parameters = 0; // of 8 bytes each, in Recording::values
  size_t tensorMaps = 0; // the last of them are so many maps, each of which is one parameter
  bool waits = false; // the kernel waits by itself for those before it
  CUdeviceptr to = 0, from = 0;
  size_t bytes = 0;
};

struct Recording {
  std::vector<Operation> operations;
  std::vector<uint64_t> values;

  void clear() {
    operations.clear();
    values.clear();
  }
  /// Puts one operation into the stream by itself.
  void submit(const Operation &operation, const Device &device, CUstream stream);
  void submit(const Device &device, CUstream stream) {
    for (const Operation &operation : operations)
      submit(operation, device, stream);
  }
  std::span<uint64_t> parametersOf(const Operation &operation) {
    return {values.data() + operation.firstParameter, operation.parameters};
  }
};

class Graph {
public:
  /// Throws Error where the driver cannot make it.
  Graph(Ref<Device> device, Recording recording);
  ~Graph();
  Graph(const Graph &) = delete;

  /// Takes over the parameters of `next`; false where it has other kernels, grids or copies: then make a new graph.
  bool update(Recording &next);
  void launch(CUstream stream);
  size_t updates() const { return updateCount; } // of nodes, in all

private:
  void build();
  void destroy() noexcept;

  Ref<Device> device;
  Recording recording;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  std::vector<CUgraphNode> nodes;
  size_t updateCount = 0;
};

/// The graphs of one session. A section is captured when it runs the second time with a shape, as many shapes come once.
class GraphCache {
public:
  struct Entry {
    uint64_t runs = 0;
    bool refused = false; // cannot be a graph
    std::unique_ptr<Graph> graph;
    std::vector<const void *> addresses; // that the graph's parameters were made of; empty: not known
  };
  Entry &find(int32_t section, std::span<const int64_t> shape);
  /// The next launch of each graph goes through its kernels again.
  void forgetAddresses() {
    for (auto &[key, entry] : entries)
      entry.addresses.clear();
  }

private:
  static constexpr size_t kCapacity = 1024;
  std::map<std::pair<int32_t, std::vector<int64_t>>, Entry> entries;
};

} // namespace flame::rt::cuda

#endif
