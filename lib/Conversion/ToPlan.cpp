//===- ToPlan.cpp - regions, views, host functions and control flow to commands ---------------------------------------===//
//
// Walks @main in order. Every demanded value gets a slot. Constant values go to the init block and persistent slots. Where
// a symbol's number is read from data, the ReadElement is inserted right behind the command that makes the data, once the
// whole plan is known; lifetimes and frees are computed last, from the finished command lists.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Conversion/ToPlan.h"
#include "PlanBuilder.h"
#include "flame/Analysis/Cost.h"
#include "flame/Analysis/Demand.h"
#include "flame/Ops/Control.h"
#include "flame/Ops/Index.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace {

class Lowering {
public:
  Lowering(func::FuncOp function, EmitKernel emit, const ToPlanOptions &options, model::Plan &plan)
      : function(function), emit(emit), options(options), shapes(exprs), demand(function, shapes),
        b(plan, shapes, options) {}

  LogicalResult run() {
    b.mainBlock = b.addBlock("main", -1);
    b.initBlock = b.addBlock("init", -1);
    Block &entry = function.getBody().front();
    bindArguments(entry, b.mainBlock);
    for (BlockArgument argument : entry.getArguments())
      addPort(b.plan.inputs, argument, argumentName(argument.getArgNumber()), b.slot(argument));
    if (failed(lowerBlock(entry, b.mainBlock)))
      return failure();
    Operation *terminator = entry.getTerminator();
    SmallVector<int32_t> used;
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      int32_t slot = ownedResult(value, b.mainBlock, used);
      used.push_back(slot);
      b.plan.blocks[b.mainBlock].results.push_back(slot);
      std::string name = "output" + std::to_string(i);
      if (auto stated = function.getResultAttrOfType<StringAttr>(i, "flame.name"))
        name = stated.str();
      b.plan.slots[slot].name = name;
      addPort(b.plan.outputs, value, name, slot);
    }
    return b.finish();
  }

private:
  std::string argumentName(unsigned i) {
    if (auto name = function.getArgAttrOfType<StringAttr>(i, "flame.name"))
      return name.str();
    return "input" + std::to_string(i);
  }

  void addPort(std::vector<model::Port> &ports, Value value, std::string name, int32_t slot) {
    model::Port port;
    port.name = std::move(name);
    port.slot = slot;
    std::string type;
    if (auto tensor = dyn_cast<RankedTensorType>(value.getType())) {
      type = dtypeName(tensor.getElementType());
      for (DimExpr dim : shapes.dims(value))
        port.dims.push_back(dim.str());
    } else {
      llvm::raw_string_ostream(type) << value.getType();
    }
    port.type = type;
    ports.push_back(std::move(port));
  }

  /// Slots, dims and symbols of the arguments of @main or of a nested block.
  void bindArguments(Block &block, int32_t index) {
    for (BlockArgument argument : block.getArguments()) {
      int32_t slot = b.addSlot(argument, model::Storage::Input, index);
      b.plan.blocks[index].args.push_back(slot);
      b.bindDims(argument, slot, index);
    }
  }

  /// The slot of a block's result, in memory that outlives the block and that nobody else owns.
  int32_t ownedResult(Value value, int32_t block, ArrayRef<int32_t> used) {
    int32_t slot = b.slot(value);
    int32_t root = b.rootOf(slot);
    model::Slot &owner = b.plan.slots[root];
    bool own = (owner.storage == model::Storage::Arena || owner.storage == model::Storage::Heap) && owner.block == block;
    if (own && !llvm::is_contained(used, slot)) {
      b.toHeap(root);
      return slot;
    }
    int32_t copy = b.addSlot(value, model::Storage::Heap, block);
    if (isa<RankedTensorType>(value.getType()))
      b.append(block, model::Alloc{copy}, {});
    b.append(block, model::Copy{slot, copy}, {});
    return copy;
  }

  LogicalResult lowerBlock(Block &block, int32_t index) {
    for (Operation &op : block.without_terminator()) {
      if (!demand.isDemanded(&op))
        continue;
      int32_t target = demand.isConstant(&op) ? b.initBlock : index;
      if (failed(lowerOp(op, target)))
        return failure();
    }
    return success();
  }

  LogicalResult lowerOp(Operation &op, int32_t block) {
    StringRef name = op.getName().getStringRef();
    if (name == "flame.constant")
      return b.addConstant(&op);
    if (name == "flame.weight")
      return b.addWeight(&op);
    if (auto region = dyn_cast<RegionOp>(op))
      return lowerRegion(region, block);
    if (op.hasTrait<trait::ViewLike>())
      return lowerView(op, block);
    if (op.hasTrait<trait::HostOnly>())
      return lowerHostCall(op, block);
    if (name == "flame.if")
      return lowerIf(op, block);
    if (name == "flame.loop")
      return lowerLoop(op, block);
    return op.emitOpError("has no lowering to a plan: it is neither kernel code nor a function of the runtime");
  }

  LogicalResult lowerRegion(RegionOp region, int32_t block) {
    for (Value result : region.getResults())
      shapes.info(result);
    // What no kernel of a run writes may be read before the kernels before this one have ended.
    SmallVector<int64_t> constants;
    for (OpOperand &input : region->getOpOperands())
      if (demand.isConstant(input.get()))
        constants.push_back(input.getOperandNumber());
    region->setAttr("flame.constant_inputs", DenseI64ArrayAttr::get(region.getContext(), constants));
    FailureOr<KernelLaunch> launch = emit(region, shapes);
    if (failed(launch))
      return failure();
    model::Launch command;
    command.kernel = b.kernel(*launch, region);
    SmallVector<int32_t> nodes = b.nodes(region);
    b.checks(region, block, nodes);
    for (Value result : region.getResults()) {
      int32_t slot = b.addResultSlot(result, block);
      if (b.plan.slots[slot].storage == model::Storage::Heap)
        b.append(block, model::Alloc{slot}, nodes);
    }
    unsigned inputs = region.getInputs().size();
    for (unsigned i : launch->buffers)
      command.buffers.push_back(b.slot(i < inputs ? region.getInputs()[i] : region->getResult(i - inputs)));
    for (DimExpr arg : launch->args)
      command.args.push_back(b.expr(arg));
    command.extent = b.expr(launch->extent);
    for (const LaunchTensor &tensor : launch->tensors) {
      auto exprs = [&](ArrayRef<DimExpr> list) {
        std::vector<int32_t> ids;
        for (DimExpr e : list)
          ids.push_back(b.expr(e));
        return ids;
      };
      auto numbers = [](ArrayRef<int> list) { return std::vector<int32_t>(list.begin(), list.end()); };
      command.tensors.push_back({int32_t(tensor.buffer), uint8_t(dtypeCode(tensor.elementType)), b.expr(tensor.offset),
                                 exprs(tensor.dims), exprs(tensor.strides), numbers(tensor.box), tensor.tf32,
                                 numbers(tensor.lower), numbers(tensor.upper), numbers(tensor.steps)});
    }
    if (launch->wgmmaExtent)
      command.extentWgmma = b.expr(launch->wgmmaExtent);
    command.grain = launch->grain ? b.expr(launch->grain) : -1;
    if (launch->scratch)
      command.scratch = b.expr(launch->scratch);
    if (DimExpr flops = costOf(region, shapes).flops; !flops.isConstant(0) && b.knowsSymbols(flops))
      command.flops = b.expr(flops);
    inPlace(region, *launch, command);
    b.append(block, std::move(command), nodes, region->getResults());
    return success();
  }

  /// Inputs of @main that a kernel reads in step with a result: the caller may give one memory to both. All ops are
  /// pointwise, so that no element is computed twice, and nothing that depends on the input has another shape; or a scatter
  /// updates the input, which nothing else reads: the loops of a thread go over elements of their own.
  void inPlace(RegionOp region, const KernelLaunch &launch, model::Launch &command) {
    Block &body = *region.getBlock();
    Operation *only = region.getYielded().size() == 1 ? region.getYielded()[0].getDefiningOp() : nullptr;
    if (isa_and_nonnull<ScatterElementsOp, ScatterNDOp>(only)) {
      auto updated = dyn_cast<BlockArgument>(only->getOperand(0));
      if (!updated || updated.getOwner() != &body || !updated.hasOneUse() ||
          !llvm::is_contained(function.getArguments(), region.getInputs()[updated.getArgNumber()]))
        return;
      auto read = llvm::find(launch.buffers, updated.getArgNumber()),
           written = llvm::find(launch.buffers, region.getInputs().size());
      if (read != launch.buffers.end() && written != launch.buffers.end())
        command.inPlace.assign({int32_t(read - launch.buffers.begin()), int32_t(written - launch.buffers.begin())});
      return;
    }
    auto isPlain = [](Operation &op) {
      return isa<PointwiseInterface>(op) || op.getName().getStringRef() == "flame.constant";
    };
    if (region.getAnchor() != "loop" || !llvm::all_of(body.without_terminator(), isPlain))
      return;
    unsigned inputs = region.getInputs().size();
    for (auto [read, buffer] : llvm::enumerate(launch.buffers)) {
      if (buffer >= inputs || !llvm::is_contained(function.getArguments(), region.getInputs()[buffer]))
        continue;
      BlockArgument input = body.getArgument(buffer);
      SmallVector<DimExpr> dims(shapes.dims(input));
      llvm::SetVector<Value> depends;
      depends.insert(input);
      bool inStep = true;
      for (size_t i = 0; i < depends.size() && inStep; ++i)
        for (Operation *user : depends[i].getUsers())
          if (user != body.getTerminator())
            for (Value result : user->getResults()) {
              inStep &= ArrayRef<DimExpr>(dims) == shapes.dims(result);
              depends.insert(result);
            }
      for (auto [written, other] : llvm::enumerate(launch.buffers))
        if (inStep && other >= inputs && depends.contains(region.getYielded()[other - inputs]) &&
            getElementTypeOrSelf(region.getInputs()[buffer]) == getElementTypeOrSelf(region->getResult(other - inputs)))
          command.inPlace.insert(command.inPlace.end(), {int32_t(read), int32_t(written)});
    }
  }

  LogicalResult lowerView(Operation &op, int32_t block) {
    SmallVector<int32_t> nodes = b.nodes(&op);
    b.checks(&op, block, nodes);
    int32_t src = b.slot(op.getOperand(0));
    // A view of what the init block leaves behind must stay as well.
    auto storage = block == b.initBlock ? model::Storage::Persistent : model::Storage::Alias;
    int32_t dst = b.addSlot(op.getResult(0), storage, block);
    if (storage == model::Storage::Alias)
      b.plan.slots[dst].source = src;
    b.append(block, model::Alias{src, dst}, nodes, op.getResults());
    return success();
  }

  LogicalResult lowerHostCall(Operation &op, int32_t block) {
    SmallVector<int32_t> nodes = b.nodes(&op);
    b.checks(&op, block, nodes);
    model::HostCall call;
    call.function = op.getName().stripDialect().str();
    for (Value operand : op.getOperands())
      call.inputs.push_back(b.slot(operand));
    for (Value result : op.getResults()) {
      auto storage = block == b.initBlock ? model::Storage::Persistent : model::Storage::Heap;
      call.outputs.push_back(demand.isDemanded(result) ? b.addSlot(result, storage, block) : -1);
    }
    if (failed(b.attributes(&op, call.attributes)))
      return failure();
    b.append(block, std::move(call), nodes, op.getResults());
    for (Value result : op.getResults())
      if (demand.isDemanded(result))
        b.bindDims(result, b.slot(result), block);
    return success();
  }

  int32_t lowerNested(Region &region, StringRef name, int32_t parent, LogicalResult &status) {
    int32_t index = b.addBlock(name, parent);
    Block &block = region.front();
    bindArguments(block, index);
    status = lowerBlock(block, index);
    if (failed(status))
      return index;
    SmallVector<int32_t> used;
    for (OpOperand &operand : block.getTerminator()->getOpOperands()) {
      Value value = operand.get();
      // A loop's condition is looked at and not kept: one that the loop itself has brought need not be copied, which on a GPU
      // would mean to copy it there and wait for it to come back.
      bool passedOn = isa<LoopOp>(block.getParentOp()) && operand.getOperandNumber() == 0 && value == block.getArgument(1);
      int32_t slot = passedOn ? b.slot(value) : ownedResult(value, index, used);
      used.push_back(slot);
      b.plan.blocks[index].results.push_back(slot);
    }
    return index;
  }

  SmallVector<int32_t> controlResults(Operation &op, int32_t block) {
    SmallVector<int32_t> slots;
    for (Value result : op.getResults())
      slots.push_back(b.addSlot(result, model::Storage::Heap, block));
    return slots;
  }

  LogicalResult lowerIf(Operation &op, int32_t block) {
    model::If command;
    SmallVector<int32_t> nodes = b.nodes(&op);
    command.condition = b.slot(op.getOperand(0));
    LogicalResult status = success();
    command.thenBlock = lowerNested(op.getRegion(0), "then", block, status);
    if (succeeded(status))
      command.elseBlock = lowerNested(op.getRegion(1), "else", block, status);
    if (failed(status))
      return failure();
    for (int32_t slot : controlResults(op, block))
      command.results.push_back(slot);
    b.append(block, std::move(command), nodes, op.getResults());
    for (Value result : op.getResults())
      b.bindDims(result, b.slot(result), block);
    return success();
  }

  LogicalResult lowerLoop(Operation &op, int32_t block) {
    model::Loop command;
    SmallVector<int32_t> nodes = b.nodes(&op);
    auto flag = [&](StringRef name) {
      auto attr = op.getAttrOfType<BoolAttr>(name);
      return attr && attr.getValue();
    };
    unsigned operand = 0;
    if (flag("has_trip")) {
      // A number that follows from shapes is not read back from a tensor.
      if (auto values = shapes.values(op.getOperand(operand)))
        command.count = b.expr(values->front());
      else
        command.trip = b.slot(op.getOperand(operand));
      ++operand;
    }
    if (flag("has_condition"))
      command.condition = b.slot(op.getOperand(operand++));
    for (; operand < op.getNumOperands(); ++operand)
      command.carried.push_back(b.slot(op.getOperand(operand)));
    LogicalResult status = success();
    command.body = lowerNested(op.getRegion(0), "body", block, status);
    if (failed(status))
      return failure();
    for (auto [i, slot] : llvm::enumerate(controlResults(op, block)))
      (i < command.carried.size() ? command.results : command.scans).push_back(slot);
    b.append(block, std::move(command), nodes, op.getResults());
    for (Value result : op.getResults())
      b.bindDims(result, b.slot(result), block);
    return success();
  }

  func::FuncOp function;
  EmitKernel emit;
  const ToPlanOptions &options;
  DimContext exprs;
  ShapeContext shapes;
  Demand demand;
  PlanBuilder b;
};

} // namespace

LogicalResult flame::lowerToPlan(func::FuncOp function, EmitKernel emit, const ToPlanOptions &options,
                                 model::Plan &plan) {
  return Lowering(function, emit, options, plan).run();
}
