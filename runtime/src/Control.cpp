//===- Control.cpp - branches and loops of the executor -------------------===//
//
// Values pass between a block and its parent by reference count. What lies in a block's arena is copied on its way out,
// as the next iteration overwrites it.
//
//===----------------------------------------------------------------------===//

#include "Session.h"
#include "host/HostContext.h"

#include <algorithm>
#include <cstring>

namespace flame::rt {

bool Executor::readBool(int32_t slot) {
  const Tensor &t = tensor(slot);
  if (t.elements() != 1 || !(t.dtype == FLAME_BOOL || isInteger(t.dtype)))
    fail(FLAME_BAD_DATA, "the condition ", plan.slotName(slot), " is ", describeTensor(t.dtype, t.dims),
         ", not a single bool");
  return residency.integerAt(t, 0) != 0;
}

void Executor::execute(const IfCommand &c) {
  const int32_t block = readBool(c.condition) ? c.thenBlock : c.elseBlock;
  runBlock(block);
  const auto &results = plan.blocks[block].results;
  for (size_t i = 0; i < results.size(); ++i)
    store(c.results[i], escape(value(results[i])));
  releaseBlock(block);
}

namespace {

/// Elements of one scan output, stacked as they come, where kernels can use them.
class ScanBuffer {
public:
  ScanBuffer(Queue &queue, DType dtype, int64_t expected) : queue(queue), dtype(dtype), expected(expected) {}

  void append(const Tensor &element, const std::string &name) {
    if (element.dtype != dtype)
      fail(FLAME_INTERNAL, "scan output ", name, " is ", dtypeName(element.dtype), ", the plan says ",
           dtypeName(dtype));
    if (count == 0) {
      dims = element.dims;
    } else if (!(dims == element.dims)) {
      fail(FLAME_BAD_DATA, "scan output ", name, " has the shape ", element.dims.str(), " in iteration ", count,
           " and ", dims.str(), " before; all must agree");
    }
    if (count == capacity)
      grow();
    const int64_t elements = element.elements();
    queue.copy(element, 0, stacked, count * elements, elements);
    ++count;
  }

  Tensor finish(const Dims &emptyDims) {
    if (count == 0) {
      Dims out = emptyDims;
      out.insert(0, 0);
      return queue.make(dtype, out);
    }
    stacked.dims = dims;
    stacked.dims.insert(0, count);
    stacked.bytes = *countBytes(dtype, stacked.dims);
    return std::move(stacked);
  }

private:
  void grow() {
    // A loop that can only count gets its room at once; the limit guards against a huge count of a loop that breaks.
    constexpr int64_t kReserve = 1 << 16;
    const int64_t wanted = capacity ? capacity * 2 : std::clamp<int64_t>(expected, 1, kReserve);
    Dims out = dims;
    out.insert(0, wanted);
    Tensor larger = queue.make(dtype, out);
    if (count) {
      const int64_t elements = count * countElements(dims).value();
      if (dtype == FLAME_STRING)
        std::move(stacked.strings(), stacked.strings() + elements, larger.strings());
      else
        queue.copy(stacked, 0, larger, 0, elements);
    }
    stacked = std::move(larger);
    capacity = wanted;
  }

  Queue &queue;
  DType dtype;
  int64_t expected, count = 0, capacity = 0;
  Dims dims;
  Tensor stacked;
};

} // namespace

void Executor::execute(const LoopCommand &c) {
  const BlockInfo &body = plan.blocks[c.body];
  int64_t trip = INT64_MAX;
  if (c.count != -1) {
    trip = shapes.eval(c.count);
  } else if (c.trip != -1) {
    const Tensor &t = tensor(c.trip);
    if (t.elements() != 1 || !isInteger(t.dtype))
      fail(FLAME_BAD_DATA, "the trip count ", plan.slotName(c.trip), " is ", describeTensor(t.dtype, t.dims),
           ", not a single integer");
    trip = residency.integerAt(t, 0);
  }
  bool condition = c.condition == -1 || readBool(c.condition);

  std::vector<Value> carried;
  for (int32_t slot : c.carried)
    carried.push_back(value(slot));
  std::vector<ScanBuffer> scans;
  for (int32_t slot : c.scans)
    scans.emplace_back(*queue, plan.slots[slot].dtype, trip == INT64_MAX ? 1 : trip);

  // Iteration number and condition live here, so whatever keeps them must copy them: Origin::Arena says so.
  Tensor index = makeTensor(module.allocator(), FLAME_I64, {});
  Tensor flag = makeTensor(module.allocator(), FLAME_BOOL, {});
  index.origin = flag.origin = Origin::Arena;

  for (int64_t i = 0; i < trip && condition; ++i) {
    *index.as<int64_t>() = i;
    *flag.as<uint8_t>() = condition;
    auto bindArgument = [&](size_t position, Value value) {
      const SlotInfo &info = plan.slots[body.args[position]];
      // A scalar of the loop may be declared as one-element tensor.
      if (position < 2 && info.ranked)
        for (size_t k = 0; k < info.dims.size(); ++k)
          value.tensor.dims.push_back(1);
      store(body.args[position], std::move(value));
    };
    bindArgument(0, Value::of(index));
    bindArgument(1, Value::of(flag));
    for (size_t k = 0; k < carried.size(); ++k)
      bindArgument(2 + k, std::move(carried[k]));

    runBlock(c.body);

    condition = readBool(body.results[0]);
    for (size_t k = 0; k < carried.size(); ++k)
      carried[k] = escape(value(body.results[1 + k]));
    for (size_t k = 0; k < scans.size(); ++k)
      scans[k].append(tensor(body.results[1 + carried.size() + k]), plan.slotName(c.scans[k]));
    releaseBlock(c.body);
  }

  for (size_t k = 0; k < carried.size(); ++k)
    store(c.results[k], escape(carried[k]));
  for (size_t k = 0; k < scans.size(); ++k) {
    // With no iteration the element's shape is what the plan can tell of it; unknown dimensions are 0.
    Dims empty;
    const SlotInfo &info = plan.slots[c.scans[k]];
    for (size_t d = 1; d < info.dims.size(); ++d)
      empty.push_back(std::max<int64_t>(shapes.tryEval(info.dims[d]).value_or(0), 0));
    store(c.scans[k], Value::of(scans[k].finish(empty)));
  }
}

} // namespace flame::rt
