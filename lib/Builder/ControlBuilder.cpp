//===- ControlBuilder.cpp - loops and branches written as functions ---------------------------------------------------===//
#include "flame/Builder/ControlBuilder.h"
#include "flame/IR/JoinTypes.h"
#include "flame/Ops/Control.h"
#include "flame/Ops/Region.h"

using namespace mlir;
using namespace flame;

static Operation *createControl(GraphBuilder &g, StringRef name, ValueRange operands, ArrayRef<NamedAttribute> attributes,
                                unsigned results, MutableArrayRef<std::unique_ptr<Region>> regions) {
  OperationState state(g.loc, name);
  state.addOperands(operands);
  state.addAttributes(attributes);
  state.addTypes(SmallVector<Type>(results, RankedTensorType::get({}, g.b.getF32Type())));
  for (std::unique_ptr<Region> &region : regions)
    state.addRegion(std::move(region));
  Operation *op = g.b.create(state);
  g.infer(op);
  return op;
}

SmallVector<Value> flame::buildIf(GraphBuilder &g, Value condition, function_ref<SmallVector<Value>()> then,
                                  function_ref<SmallVector<Value>()> otherwise) {
  std::unique_ptr<Region> regions[2] = {std::make_unique<Region>(), std::make_unique<Region>()};
  SmallVector<Value> values[2];
  for (int i = 0; i < 2; ++i) {
    OpBuilder::InsertionGuard guard(g.b);
    g.b.createBlock(regions[i].get());
    values[i] = i == 0 ? then() : otherwise();
  }
  if (values[0].size() != values[1].size())
    g.fail("the branches give " + Twine(values[0].size()) + " and " + Twine(values[1].size()) + " values");
  for (int i = 0; i < 2; ++i) {
    OpBuilder::InsertionGuard guard(g.b);
    g.b.setInsertionPointToEnd(&regions[i]->front());
    // One number has as many dims as its counterpart wants.
    for (auto [value, other] : llvm::zip(values[i], values[1 - i])) {
      if (!isa<RankedTensorType>(value.getType()) || !isa<RankedTensorType>(other.getType()))
        continue;
      if (g.rank(value) < g.rank(other) && g.shapes.numElements(value).isConstant(1))
        value = g.reshape(value, SmallVector<int64_t>(g.rank(other), 1));
    }
  }
  for (int i = 0; i < 2; ++i) {
    OpBuilder::InsertionGuard guard(g.b);
    g.b.setInsertionPointToEnd(&regions[i]->front());
    YieldOp::create(g.b, g.loc, values[i]);
  }
  return SmallVector<Value>(createControl(g, "flame.if", condition, {}, values[0].size(), regions)->getResults());
}

namespace {
/// One build of a loop: its region, or what the iteration turned out to change.
class LoopTry {
public:
  LoopTry(GraphBuilder &g, ArrayRef<Value> initial, LoopMemory &memory) : g(g), initial(initial), memory(memory) {}

  std::unique_ptr<Region> region;
  unsigned numScans = 0;

  /// True if the body fits its own arguments; otherwise `memory` knows more.
  bool build(function_ref<LoopYield(const LoopArguments &)> body) {
    region = std::make_unique<Region>();
    OpBuilder::InsertionGuard guard(g.b);
    Block *block = g.b.createBlock(region.get());
    LoopArguments arguments;
    arguments.iteration = block->addArgument(RankedTensorType::get({}, g.b.getI64Type()), g.loc);
    arguments.condition = block->addArgument(RankedTensorType::get({}, g.b.getI1Type()), g.loc);
    g.shapes.set(arguments.iteration, ResultInfo::tensor(g.b.getI64Type(), {}));
    g.shapes.set(arguments.condition, ResultInfo::tensor(g.b.getI1Type(), {}));
    for (auto [i, value] : llvm::enumerate(initial))
      arguments.carried.push_back(addArgument(block, i, value));
    LoopYield yield = body(arguments);
    if (yield.carried.size() != initial.size())
      g.fail("the loop body gives " + Twine(yield.carried.size()) + " carried values, the loop has " + Twine(initial.size()));
    bool fits = true;
    for (auto [i, value] : llvm::enumerate(yield.carried))
      fits &= check(i, arguments.carried[i], value);
    if (!fits) {
      forget(*region);
      return false;
    }
    SmallVector<Value> values = {yield.condition ? yield.condition : arguments.condition};
    values.append(yield.carried);
    values.append(yield.scans);
    numScans = yield.scans.size();
    YieldOp::create(g.b, g.loc, values);
    return true;
  }

private:
  Value addArgument(Block *block, unsigned i, Value value) {
    auto tensor = dyn_cast<RankedTensorType>(value.getType());
    if (!tensor) {
      if (!memory.types[i])
        memory.types[i] = value.getType();
      Value argument = block->addArgument(memory.types[i], g.loc);
      g.shapes.set(argument, ResultInfo::other(memory.types[i]));
      return argument;
    }
    memory.varying[i].resize(tensor.getRank());
    SmallVector<int64_t> shape(tensor.getShape());
    for (auto [d, size] : llvm::enumerate(shape))
      if (memory.varying[i][d])
        size = ShapedType::kDynamic;
    BlockArgument argument = block->addArgument(RankedTensorType::get(shape, tensor.getElementType()), g.loc);
    ResultInfo info = ResultInfo::tensor(tensor.getElementType(), {});
    for (int64_t d = 0; d < tensor.getRank(); ++d)
      info.dims.push_back(memory.varying[i][d] ? g.shapes.argumentDim(argument, d) : g.dim(value, d));
    g.shapes.set(argument, std::move(info));
    return argument;
  }

  bool check(unsigned i, Value argument, Value value) {
    auto before = dyn_cast<RankedTensorType>(argument.getType()), after = dyn_cast<RankedTensorType>(value.getType());
    if (!before || !after) {
      if (argument.getType() == value.getType())
        return true;
      Type general = joinTypes(argument.getType(), value.getType());
      if (!general)
        mismatch(i, argument, value);
      bool fits = general == memory.types[i];
      memory.types[i] = general;
      return fits;
    }
    if (before.getRank() != after.getRank() || before.getElementType() != after.getElementType())
      mismatch(i, argument, value);
    bool fits = true;
    for (int64_t d = 0; d < before.getRank(); ++d)
      if (!memory.varying[i][d] && g.dim(argument, d) != g.dim(value, d)) {
        memory.varying[i][d] = true;
        fits = false;
      }
    return fits;
  }

  [[noreturn]] void mismatch(unsigned i, Value argument, Value value) {
    std::string text;
    llvm::raw_string_ostream(text) << "the loop-carried value #" << i << " is " << argument.getType()
                                   << " before an iteration and " << value.getType()
                                   << " after it; its element type and rank must stay the same";
    g.fail(text);
  }

  /// Values of a discarded body must not be taken for new ones at the same address.
  void forget(Region &discarded) {
    for (Block &block : discarded) {
      for (BlockArgument argument : block.getArguments())
        g.shapes.forget(argument);
      for (Operation &op : block) {
        for (Value result : op.getResults())
          g.shapes.forget(result);
        for (Region &inner : op.getRegions())
          forget(inner);
      }
    }
  }

  GraphBuilder &g;
  ArrayRef<Value> initial;
  LoopMemory &memory;
};
} // namespace

SmallVector<Value> flame::buildLoop(GraphBuilder &g, Value trip, Value condition, ArrayRef<Value> initial,
                                    function_ref<LoopYield(const LoopArguments &)> body, LoopMemory *memory) {
  LoopMemory own;
  LoopMemory &known = memory ? *memory : own;
  known.varying.resize(initial.size());
  known.types.resize(initial.size());
  LoopTry attempt(g, initial, known);
  // Each try learns of at least one more dim or type, so this ends.
  while (!attempt.build(body))
    ;
  SmallVector<Value> operands;
  if (trip)
    operands.push_back(trip);
  if (condition)
    operands.push_back(condition);
  operands.append(initial.begin(), initial.end());
  SmallVector<Attribute> fixed;
  bool anyFixed = false;
  for (auto [i, value] : llvm::enumerate(initial)) {
    SmallVector<int64_t> dims;
    if (auto tensor = dyn_cast<RankedTensorType>(value.getType()))
      for (int64_t d = 0; d < tensor.getRank(); ++d)
        if (tensor.isDynamicDim(d) && !known.varying[i][d])
          dims.push_back(d);
    anyFixed |= !dims.empty();
    fixed.push_back(g.b.getDenseI64ArrayAttr(dims));
  }
  SmallVector<NamedAttribute> attributes = {g.flag("has_trip", bool(trip)), g.flag("has_condition", bool(condition))};
  if (anyFixed)
    attributes.push_back(g.attr("fixed", g.b.getArrayAttr(fixed)));
  Operation *loop = createControl(g, "flame.loop", operands, attributes, initial.size() + attempt.numScans, attempt.region);
  return SmallVector<Value>(loop->getResults());
}
