//===- Graph.cpp - see Graph.h ---------------------------------------------===//

#include "Graph.h"

#include <algorithm>

namespace flame::rt::cuda {

namespace {

/// The driver wants the address of each parameter.
class Addresses {
public:
  Addresses(const Operation &o, std::span<uint64_t> values) {
    const size_t single = values.size() - o.tensorMaps * kTensorMapWords;
    for (size_t i = 0; i < values.size(); i += i < single ? 1 : kTensorMapWords)
      addresses.push_back(&values[i]);
  }
  void **data() { return addresses.data(); }

private:
  std::vector<void *> addresses;
};

CUDA_KERNEL_NODE_PARAMS kernelParameters(const Operation &o, Addresses &addresses) {
  return {o.function, o.blocks, 1, 1, o.threads, 1, 1, o.shared, addresses.data(), nullptr};
}

CUDA_MEMCPY3D copyParameters(const Operation &o) {
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = o.from;
  copy.dstDevice = o.to;
  copy.WidthInBytes = o.bytes;
  copy.Height = copy.Depth = 1;
  constexpr size_t kMaxPitch = INT32_MAX; // beyond that it must stay 0
  if (o.bytes <= kMaxPitch) {
    copy.srcPitch = copy.dstPitch = o.bytes;
    copy.srcHeight = copy.dstHeight = 1;
  }
  return copy;
}

} // namespace

void Recording::submit(const Operation &o, const Device &device, CUstream stream) {
  if (!o.function)
    return check(device.driver.memcpyDtoDAsync(o.to, o.from, o.bytes, stream), "copying on the GPU");
  Addresses addresses(o, parametersOf(o));
  if (o.cooperative)
    return check(device.driver.launchCooperativeKernel(o.function, o.blocks, 1, 1, o.threads, 1, 1, o.shared, stream,
                                                       addresses.data()),
                 "launching a kernel");
  check(device.driver.launchKernel(o.function, o.blocks, 1, 1, o.threads, 1, 1, o.shared, stream, addresses.data(),
                                   nullptr),
        "launching a kernel");
}

Graph::Graph(Ref<Device> on, Recording of) : device(std::move(on)), recording(std::move(of)) {
  try {
    build();
  } catch (...) {
    destroy();
    throw;
  }
}

Graph::~Graph() { destroy(); }

void Graph::build() {
  const Driver &driver = device->driver;
  check(driver.graphCreate(&graph, 0), "making a graph");
  bool afterKernel = false;
  for (const Operation &o : recording.operations) {
    CUgraphNode node = nullptr;
    const CUgraphNode *after = nodes.empty() ? nullptr : &nodes.back();
    if (o.function) {
      Addresses addresses(o, recording.parametersOf(o));
      const CUDA_KERNEL_NODE_PARAMS params = kernelParameters(o, addresses);
      const bool overlaps = o.waits && afterKernel && driver.graphAddDependencies;
      check(driver.graphAddKernelNode(&node, graph, after, after && !overlaps ? 1 : 0, &params), "making a graph");
      if (overlaps) {
        const CUgraphEdgeData edge{CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC, 0, CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC, {}};
        check(driver.graphAddDependencies(graph, after, &node, &edge, 1), "making a graph");
      }
      if (o.cooperative) {
        CUkernelNodeAttrValue value{};
        value.cooperative = 1;
        check(driver.graphKernelNodeSetAttribute(node, CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE, &value), "making a graph");
      }
    } else {
      const CUDA_MEMCPY3D params = copyParameters(o);
      check(driver.graphAddMemcpyNode(&node, graph, after, after ? 1 : 0, &params, device->context), "making a graph");
    }
    nodes.push_back(node);
    afterKernel = o.function != nullptr;
  }
  check(driver.graphInstantiate(&exec, graph, 0), "making a graph");
}

void Graph::destroy() noexcept {
  try {
    ContextScope scope(*device);
    if (exec)
      device->driver.graphExecDestroy(exec);
    if (graph)
      device->driver.graphDestroy(graph);
  } catch (const Error &) {
    // The context is gone, and the graph with it.
  }
}

bool Graph::update(Recording &next) {
  auto sameShape = [](const Operation &a, const Operation &b) {
    return a.function == b.function && a.blocks == b.blocks && a.threads == b.threads && a.shared == b.shared &&
           a.parameters == b.parameters && a.tensorMaps == b.tensorMaps && a.bytes == b.bytes;
  };
  if (!std::equal(recording.operations.begin(), recording.operations.end(), next.operations.begin(),
                  next.operations.end(), sameShape))
    return false;
  for (size_t i = 0; i < nodes.size(); ++i) {
    Operation &before = recording.operations[i];
    const Operation &now = next.operations[i];
    if (now.function) {
      const auto was = recording.parametersOf(before), is = next.parametersOf(now);
      if (std::equal(was.begin(), was.end(), is.begin()))
        continue;
      Addresses addresses(now, is);
      const CUDA_KERNEL_NODE_PARAMS params = kernelParameters(now, addresses);
      check(device->driver.graphExecKernelNodeSetParams(exec, nodes[i], &params), "updating a graph");
      std::copy(is.begin(), is.end(), was.begin());
    } else {
      if (before.to == now.to && before.from == now.from)
        continue;
      const CUDA_MEMCPY3D params = copyParameters(now);
      check(device->driver.graphExecMemcpyNodeSetParams(exec, nodes[i], &params, device->context), "updating a graph");
      before = now;
    }
    ++updateCount;
  }
  return true;
}

void Graph::launch(CUstream stream) { check(device->driver.graphLaunch(exec, stream), "launching a graph"); }

GraphCache::Entry &GraphCache::find(int32_t section, std::span<const int64_t> shape) {
  std::pair key(section, std::vector<int64_t>(shape.begin(), shape.end()));
  if (auto known = entries.find(key); known != entries.end())
    return known->second;
  if (entries.size() >= kCapacity)
    entries.clear();
  return entries[std::move(key)];
}

} // namespace flame::rt::cuda
