//===- ControlOnnx.cpp - If, Loop and Scan -----------------------------------------------------------------------------===//
//
// All iteration becomes flame.loop: Scan takes slices of its scan inputs by the iteration number.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Sequence.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

namespace {

void importIf(OnnxNode &n) {
  Value condition = n.input(0);
  SmallVector<Value> values;
  // The branch that can't run may have another rank, or be meaningless for the shapes at hand.
  if (auto known = n.shapes.constants(condition); known && known->size() == 1)
    values = n.inlineGraph((*known)[0] ? "then_branch" : "else_branch", {});
  else
    values = buildIf(
        n, condition, [&] { return n.inlineGraph("then_branch", {}); }, [&] { return n.inlineGraph("else_branch", {}); });
  if (values.size() < n.numOutputs())
    n.fail("has " + Twine(n.numOutputs()) + " outputs, its branches " + Twine(values.size()));
  for (auto [i, value] : llvm::enumerate(values))
    n.setOutput(i, value);
}

/// A trip count or condition as a tensor of rank 0.
Value scalarOf(OnnxNode &n, Value value) { return n.rank(value) == 0 ? value : n.reshape(value, GraphBuilder::Axes{}); }

void importLoop(OnnxNode &n) {
  Value trip = n.inputOr(0, {}), condition = n.inputOr(1, {});
  SmallVector<Value> initial;
  for (unsigned i = 2; i < n.numInputs(); ++i)
    initial.push_back(n.input(i));
  unsigned inputs = n.graphInputCount("body"), outputs = n.graphOutputs("body").size();
  if (inputs != 2 + initial.size())
    n.fail("its body has " + Twine(inputs) + " inputs; iteration number, condition and " + Twine(initial.size()) +
           " carried values make " + Twine(2 + initial.size()));
  if (outputs < 1 + initial.size())
    n.fail("its body has " + Twine(outputs) + " outputs; the condition and " + Twine(initial.size()) +
           " carried values make " + Twine(1 + initial.size()));
  // The body may state its iteration number or condition as tensors of one element.
  SmallVector<Type> stated = n.graphInputTypes("body");
  auto asStated = [&](Value scalar, Type type) {
    auto tensor = dyn_cast_or_null<RankedTensorType>(type);
    return tensor && tensor.getRank() == 1 ? n.reshape(scalar, {1}) : scalar;
  };
  // A body may take an optional and give what it holds (opset 16): inside the loop it stays an optional.
  SmallVector<bool> wrapped(initial.size(), false);
  // A condition that is false at once and a trip count that is not positive are cases of the loop itself.
  auto results = buildLoop(
      n, trip ? scalarOf(n, trip) : Value(), condition ? scalarOf(n, condition) : Value(), initial,
      [&](const LoopArguments &arguments) {
        SmallVector<Value> values = {asStated(arguments.iteration, stated[0]), asStated(arguments.condition, stated[1])};
        values.append(arguments.carried);
        SmallVector<Value> yields = n.inlineGraph("body", values);
        LoopYield yield;
        yield.condition = yields[0] == values[1] ? arguments.condition : scalarOf(n, yields[0]);
        yield.carried.assign(yields.begin() + 1, yields.begin() + 1 + initial.size());
        yield.scans.assign(yields.begin() + 1 + initial.size(), yields.end());
        for (auto [i, value] : llvm::enumerate(yield.carried))
          if (isa<OptionalType>(initial[i].getType()) && !isa<OptionalType>(value.getType())) {
            value = n.op<OptionalConstructOp>(value);
            wrapped[i] = true;
          }
        return yield;
      },
      &n.loopMemory());
  for (auto [i, value] : llvm::enumerate(results)) {
    Type stated = n.statedOutputType(i);
    if (i < wrapped.size() && wrapped[i] && !isa_and_nonnull<OptionalType>(stated))
      {
      SmallVector<NamedAttribute> attributes;
      if (stated)
        attributes.push_back(n.attr("type", TypeAttr::get(stated)));
      value = n.op<OptionalGetElementOp>(value, attributes);
    }
    n.setOutput(i, value);
  }
}

struct ScanAxes {
  SmallVector<int64_t> axes;
  SmallVector<bool> reverse;
};

/// Axes (negative ones count from the end of the rank of `values`, plus `extra`) and directions of scan inputs or outputs.
ScanAxes scanAxes(OnnxNode &n, StringRef axesName, StringRef directionsName, unsigned count) {
  ScanAxes result;
  result.axes = n.intsAttr(axesName);
  if (result.axes.empty())
    result.axes.assign(count, 0);
  SmallVector<int64_t> directions = n.intsAttr(directionsName);
  if (directions.empty())
    directions.assign(count, 0);
  if (result.axes.size() != count || directions.size() != count)
    n.fail("attributes '" + axesName + "' and '" + directionsName + "' must have an entry for each of " + Twine(count) + " scans");
  for (int64_t direction : directions) {
    if (direction != 0 && direction != 1)
      n.fail("attribute '" + directionsName + "' holds " + Twine(direction) + "; a direction is 0 or 1");
    result.reverse.push_back(direction == 1);
  }
  return result;
}

/// The values of Scan (opset 9 and later), whose inputs are `initial` and `scans`.
SmallVector<Value> buildScan(OnnxNode &n, ArrayRef<Value> initial, ArrayRef<Value> scans, const ScanAxes &in,
                             const ScanAxes &out, Value lastLength = {}) {
  SmallVector<int64_t> axes;
  for (auto [value, axis] : llvm::zip(scans, in.axes))
    axes.push_back(n.axis(axis, n.rank(value), "scan axis"));
  DimExpr length = n.dim(scans[0], axes[0]);
  Value trip = lastLength ? lastLength : n.reshape(n.shapeTensor({length}), GraphBuilder::Axes{});
  Value last;
  if (llvm::is_contained(in.reverse, true))
    last = n.sub(trip, n.i64Scalar(1));
  auto results = buildLoop(
      n, trip, {}, initial,
      [&](const LoopArguments &arguments) {
        SmallVector<Value> values(arguments.carried);
        for (auto [i, value] : llvm::enumerate(scans)) {
          Value position = in.reverse[i] ? n.sub(last, arguments.iteration) : arguments.iteration;
          values.push_back(n.gather(value, position, axes[i]));
        }
        SmallVector<Value> yields = n.inlineGraph("body", values);
        if (yields.size() < initial.size())
          n.fail("its body has " + Twine(yields.size()) + " outputs, fewer than the " + Twine(initial.size()) + " states");
        LoopYield yield;
        yield.carried.assign(yields.begin(), yields.begin() + initial.size());
        yield.scans.assign(yields.begin() + initial.size(), yields.end());
        return yield;
      },
      &n.loopMemory());
  for (unsigned i = initial.size(); i < results.size(); ++i) {
    unsigned k = i - initial.size();
    Value &value = results[i];
    if (k < out.reverse.size() && out.reverse[k]) {
      DimExpr size = n.dim(value, 0);
      Value positions = n.iota(size, n.b.getI64Type());
      Value end = n.shapeTensor({size - 1});
      value = n.gather(value, n.sub(end, positions), 0);
    }
    int64_t rank = n.rank(value), axis = k < out.axes.size() ? n.axis(out.axes[k], rank, "scan output axis") : 0;
    if (axis != 0) {
      SmallVector<int64_t> permutation;
      for (int64_t d = 1; d < rank; ++d)
        permutation.push_back(d);
      permutation.insert(permutation.begin() + axis, 0);
      value = n.transpose(value, permutation);
    }
  }
  return results;
}

void importScan(OnnxNode &n) {
  int64_t scans = n.intAttr("num_scan_inputs");
  if (scans < 1 || scans > n.numInputs())
    n.fail("attribute 'num_scan_inputs' is " + Twine(scans) + ", the node has " + Twine(n.numInputs()) + " inputs");
  SmallVector<Value> inputs;
  for (unsigned i = 0; i < n.numInputs(); ++i)
    inputs.push_back(n.input(i));
  unsigned states = inputs.size() - scans;
  if (n.graphInputCount("body") != inputs.size())
    n.fail("its body has " + Twine(n.graphInputCount("body")) + " inputs, the node " + Twine(inputs.size()));
  unsigned bodyOutputs = n.graphOutputs("body").size();
  unsigned outputs = bodyOutputs > states ? bodyOutputs - states : 0;
  auto results = buildScan(n, ArrayRef(inputs).take_front(states), ArrayRef(inputs).drop_front(states),
                           scanAxes(n, "scan_input_axes", "scan_input_directions", scans),
                           scanAxes(n, "scan_output_axes", "scan_output_directions", outputs));
  for (auto [i, value] : llvm::enumerate(results))
    n.setOutput(i, value);
}

/// Opset 8: inputs have a batch axis 0 before the sequence axis 1, and input 0 may give the length of each sequence. The
/// batch is an outer loop.
void importScan8(OnnxNode &n) {
  int64_t scans = n.intAttr("num_scan_inputs");
  if (scans < 1 || scans + 1 > n.numInputs())
    n.fail("attribute 'num_scan_inputs' is " + Twine(scans) + ", the node has " + Twine(n.numInputs()) + " inputs");
  SmallVector<Value> inputs;
  for (unsigned i = 1; i < n.numInputs(); ++i) {
    inputs.push_back(n.input(i));
    if (n.rank(inputs.back()) < (i + scans >= n.numInputs() ? 2 : 1))
      n.fail("input " + Twine(i) + " lacks the batch and sequence axes that Scan of opset 8 has");
  }
  unsigned states = inputs.size() - scans;
  SmallVector<int64_t> directions = n.intsAttr("directions");
  if (directions.empty())
    directions.assign(scans, 0);
  if (int64_t(directions.size()) != scans)
    n.fail("attribute 'directions' must have an entry for each of " + Twine(scans) + " scan inputs");
  unsigned bodyOutputs = n.graphOutputs("body").size();
  ScanAxes in, out;
  for (int64_t direction : directions) {
    in.axes.push_back(0);
    in.reverse.push_back(direction == 1);
  }
  out.axes.assign(bodyOutputs > states ? bodyOutputs - states : 0, 0);
  out.reverse.assign(out.axes.size(), false);
  Value batch = n.reshape(n.shapeTensor({n.dim(inputs[0], 0)}), GraphBuilder::Axes{});
  Value lengths = n.hasInput(0) ? n.input(0) : Value();
  auto results = buildLoop(n, batch, {}, {}, [&](const LoopArguments &arguments) {
    SmallVector<Value> values;
    for (Value input : inputs)
      values.push_back(n.gather(input, arguments.iteration, 0));
    Value length = lengths ? n.gather(lengths, arguments.iteration, 0) : Value();
    LoopYield yield;
    yield.scans = buildScan(n, ArrayRef(values).take_front(states), ArrayRef(values).drop_front(states), in, out, length);
    return yield;
  });
  for (auto [i, value] : llvm::enumerate(results))
    n.setOutput(i, value);
}

} // namespace

void flame::registerControlOnnx(OnnxRegistry &registry) {
  registry.add("If", importIf, 1, "", "all");
  registry.add("Loop", importLoop, 1, "", "all");
  registry.add("Scan", importScan8, 8, "", "all");
  registry.add("Scan", importScan, 9, "", "all");
}
