//===- KernelBuilder.cpp - see KernelBuilder.h --------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

KernelBuilder::KernelBuilder(RegionOp region, ShapeContext &shapes)
    : region(region), shapes(shapes), loc(UnknownLoc::get(region.getContext())), module(ModuleOp::create(loc)),
      b(region.getContext()), entry(region.getContext()) {
  b.setInsertionPointToEnd(module->getBody());
  function = func::FuncOp::create(b, loc, "kernel", b.getFunctionType({}, {}));
  function->setAttr("flame.narrow_conversions", b.getUnitAttr());
  b.setInsertionPointToStart(function.addEntryBlock());
  block = gpu::BlockIdOp::create(b, loc, gpu::Dimension::x);
  thread = gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x);
  entry.setInsertionPoint(block.getDefiningOp());
}

Value KernelBuilder::buffer(unsigned position, Type elementType) {
  Value &pointer = buffers[position];
  if (!pointer) {
    Block &body = function.getBody().front();
    Type type = MemRefType::get({ShapedType::kDynamic}, storageType(elementType));
    pointer = body.insertArgument(kernel.buffers.size(), type, loc);
    kernel.buffers.push_back(position);
  }
  return pointer;
}

Value KernelBuilder::bufferOf(Value value) {
  Type elementType = getElementTypeOrSelf(value.getType());
  if (auto argument = dyn_cast<BlockArgument>(value); argument && argument.getOwner() == region.getBlock())
    return buffer(argument.getArgNumber(), elementType);
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == value)
      return buffer(region.getInputs().size() + i, elementType);
  llvm_unreachable("a value without a buffer");
}

Value KernelBuilder::resultBuffer(unsigned result) {
  return buffer(region.getInputs().size() + result, getElementTypeOrSelf(region.getResult(result).getType()));
}

Value KernelBuilder::load(OpBuilder &b, Location loc, Value value, ValueRange index) {
  if (Value held = heldElement ? heldElement(value, index) : Value())
    return held;
  SmallVector<DimExpr> dims(shapes.dims(value));
  return memref::LoadOp::create(b, loc, bufferOf(value), linearize(b, loc, index, dims));
}

void KernelBuilder::store(OpBuilder &b, Location loc, Value value, ValueRange index, Value scalar) {
  SmallVector<DimExpr> dims(shapes.dims(value));
  Value position = linearize(b, loc, index, dims);
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == value)
      memref::StoreOp::create(b, loc, scalar,
                              buffer(region.getInputs().size() + i, getElementTypeOrSelf(value.getType())), position);
}

void KernelBuilder::storeResult(ElementBuilder &e, unsigned result, ValueRange index, Value scalar) {
  Type elementType = getElementTypeOrSelf(region.getResult(result).getType());
  Value stored = e.scalars(elementType).toStorage(scalar, elementType);
  SmallVector<DimExpr> dims(shapes.dims(region.getYielded()[result]));
  Value position = linearize(e.b, loc, index, dims);
  memref::StoreOp::create(e.b, loc, stored, buffer(region.getInputs().size() + result, elementType), position);
}

Value KernelBuilder::expr(DimExpr e) {
  Value &size = sizes[e];
  if (size)
    return size;
  if (auto constant = e.constant())
    return size = arith::ConstantIndexOp::create(entry, loc, *constant);
  kernel.args.push_back(e);
  return size = function.getBody().front().addArgument(entry.getIndexType(), loc);
}

bool KernelBuilder::isMaterialized(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  return (argument && argument.getOwner() == region.getBlock()) || heldValues.contains(value);
}

Value KernelBuilder::isInPlace(OpBuilder &b, Location loc, Value value, Value result) {
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == result)
      // As numbers: the pointers' __restrict__ says that they differ.
      return ValueOp::create(b, loc, b.getI1Type(), "((unsigned long long)$0 == (unsigned long long)$1)",
                             {bufferOf(value), resultBuffer(i)});
  llvm_unreachable("a value that is no result");
}

bool KernelBuilder::isConstant(Value value) {
  auto constants = region->getAttrOfType<DenseI64ArrayAttr>("flame.constant_inputs");
  return constants && isMaterialized(value) &&
         llvm::is_contained(constants.asArrayRef(), int64_t(cast<BlockArgument>(value).getArgNumber()));
}

Value KernelBuilder::sharedMemory(Type type, int64_t count) {
  auto memory = memref::AllocaOp::create(entry, loc, MemRefType::get({count}, type));
  memory->setAttr("flame.shared", entry.getUnitAttr());
  return memory;
}

Value KernelBuilder::dynamicSharedMemory(Type type, int64_t count) {
  auto memory = memref::AllocaOp::create(entry, loc, MemRefType::get({count}, type));
  memory->setAttr("flame.dynamic_shared", entry.getI64IntegerAttr(kernel.shared));
  kernel.shared += (count * (type.getIntOrFloatBitWidth() / 8) + 15) / 16 * 16;
  if (!llvm::is_contained(templates, StringRef("ptx/Device.h")))
    templates.push_back("ptx/Device.h");
  return memory;
}

Value KernelBuilder::extraPointer(StringRef name, Type elementType) {
  Value &pointer = extras[name];
  if (!pointer) // stands in for the argument, which comes behind all sizes
    pointer = memref::AllocaOp::create(entry, loc, MemRefType::get({1}, elementType));
  return pointer;
}

Value KernelBuilder::scratchMemory(Type type) { return extraPointer("scratch", type); }
Value KernelBuilder::stateMemory() { return extraPointer("state", entry.getI32Type()); }

Value KernelBuilder::gridSize() {
  if (!grid)
    grid = gpu::GridDimOp::create(entry, loc, gpu::Dimension::x);
  return grid;
}

/// value * width + lane, the constants in one.
static Value laneOf(ElementBuilder &e, Value value, int width, int lane) {
  auto sum = value.getDefiningOp<arith::AddIOp>();
  auto literal = sum ? sum.getRhs().getDefiningOp<arith::ConstantIndexOp>() : nullptr;
  if (literal)
    return e.addi(e.muli(sum.getLhs(), e.index(width)), e.index(literal.value() * width + lane));
  return e.addi(e.muli(value, e.index(width)), e.index(lane));
}

void KernelBuilder::enterLane(ElementBuilder &e, SmallVectorImpl<Value> &at, Value group, ArrayRef<DimExpr> dims, int width,
                              int lane) {
  Value whole = laneOf(e, group, width, lane);
  ArrayRef<DimExpr> leading = dims.drop_back();
  if (llvm::all_of(leading, [](DimExpr dim) { return dim.isConstant(1); })) {
    at.back() = whole;
    return;
  }
  at.back() = laneOf(e, at.back(), width, lane);
  noteSplit(linearize(e.b, loc, ValueRange(at).drop_back(), leading), at.back(), dims.back(), whole);
}

int flame::cuda::vectorWidth(KernelBuilder &kernel, DimExpr last, DimExpr elements) {
  constexpr int64_t accessBytes = 16, manyThreads = 1 << 16;
  constexpr unsigned maxCode = 384; // ops times elements
  if (!last.constant())
    return 1;
  unsigned widest = 8, ops = 0;
  // What is read again and again, such as factors of channels, may take two accesses: it comes from a cache.
  bool isLoop = kernel.region.getAnchor() == "loop";
  auto add = [&](Value value) {
    ArrayRef<DimExpr> dims = kernel.shapes.dims(value);
    if (isLoop && isa<BlockArgument>(value) && kernel.shapes.numElements(value) != elements)
      return;
    if (!dims.empty() && dims.back() == last)
      widest = std::max(widest, storageType(getElementTypeOrSelf(value.getType())).getIntOrFloatBitWidth());
  };
  llvm::for_each(kernel.region.getBlock()->getArguments(), add);
  llvm::for_each(kernel.region.getYielded(), add);
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    ++ops;
    auto pull = dyn_cast<ElementInterface>(&op);
    if (!isa<PointwiseInterface>(op) && pull && (!pull.isCheap() || op.getName().stripDialect() == "reduce") &&
        kernel.region.getAnchor() != "row")
      return 1; // it has a loop in it
  }
  int64_t width = accessBytes * 8 / widest;
  while (width > 1 && (*last.constant() % width != 0 || width * ops > maxCode ||
                       (elements.constant() && *elements.constant() / width < manyThreads)))
    width /= 2;
  return width;
}

void KernelBuilder::barrier() { gpu::BarrierOp::create(b, loc); }

/// True if 32 bits hold every index: divisions of 64 bits are some twenty times as dear. Sizes are known and leave room
/// for tiles that overhang; no index comes from data, where any number may stand, but for those that the kernel itself has
/// put into memory (`flame.is_index`).
bool KernelBuilder::fitsInt() {
  auto isSmall = [](Value value) {
    auto tensor = dyn_cast<RankedTensorType>(value.getType());
    return tensor && tensor.hasStaticShape() && tensor.getNumElements() < (int64_t(1) << 30);
  };
  if (!kernel.args.empty() || !llvm::all_of(region.getInputs(), isSmall) || !llvm::all_of(region.getResults(), isSmall))
    return false;
  for (Operation &op : region.getBlock()->without_terminator())
    if (!llvm::all_of(op.getResults(), isSmall))
      return false;
  WalkResult walked = function.walk([](Operation *op) {
    bool fromData = isa<arith::IndexCastOp, arith::IndexCastUIOp>(op) && op->getResult(0).getType().isIndex() &&
                    !op->hasAttr("flame.is_index");
    return fromData ? WalkResult::interrupt() : WalkResult::advance();
  });
  return !walked.wasInterrupted();
}

void KernelBuilder::finish() {
  func::ReturnOp::create(b, loc);
  Block &body = function.getBody().front();
  SmallVector<StringRef> pointers;
  for (StringRef name : {"scratch", "state"}) { // in the order of plan.fbs
    Value standIn = extras.lookup(name);
    if (!standIn)
      continue;
    auto type = cast<MemRefType>(standIn.getType());
    standIn.replaceAllUsesWith(
        body.addArgument(MemRefType::get({ShapedType::kDynamic}, type.getElementType()), loc));
    standIn.getDefiningOp()->erase();
    pointers.push_back(name);
  }
  function.setFunctionType(b.getFunctionType(body.getArgumentTypes(), {}));
  SmallVector<Attribute> names;
  unsigned inputs = region.getInputs().size();
  for (auto [i, position] : llvm::enumerate(kernel.buffers)) {
    bool result = position >= inputs;
    names.push_back(b.getStringAttr(result ? "out" + Twine(position - inputs) : "in" + Twine(position)));
    if (result)
      function.setArgAttr(i, "flame.written", b.getUnitAttr());
    else if (streams.contains(position))
      function.setArgAttr(i, isStream, b.getUnitAttr());
  }
  for (unsigned i = 0; i < kernel.args.size(); ++i)
    names.push_back(b.getStringAttr("size" + Twine(i)));
  for (StringRef name : pointers) {
    function.setArgAttr(names.size(), "flame.written", b.getUnitAttr());
    names.push_back(b.getStringAttr(name));
  }
  function->setAttr("flame.names", b.getArrayAttr(names));
  function->setAttr("flame.threads", b.getI64IntegerAttr(kernel.threads));
  if (kernel.minBlocks)
    function->setAttr("flame.min_blocks", b.getI64IntegerAttr(kernel.minBlocks));
  if (kernel.cluster > 1)
    function->setAttr("flame.cluster", b.getI64IntegerAttr(kernel.cluster));
  if (kernel.wgmma.threads)
    function->setAttr("flame.wgmma", b.getDenseI64ArrayAttr({kernel.wgmma.threads, kernel.wgmma.cluster,
                                                             int64_t(kernel.wgmma.tensors.size())}));
  if (waitsLater)
    function->setAttr("flame.waits_later", b.getUnitAttr());
  if (fitsInt())
    function->setAttr("flame.index32", b.getUnitAttr());
}
