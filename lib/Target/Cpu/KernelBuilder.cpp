//===- KernelBuilder.cpp - see KernelBuilder.h ------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

namespace {
enum FixedArgument { Args, Scratch, Begin, End, NumFixed };
}

KernelBuilder::KernelBuilder(RegionOp region, ShapeContext &shapes, const Target &target)
    : region(region), shapes(shapes), target(target), loc(UnknownLoc::get(region.getContext())),
      module(ModuleOp::create(loc)), b(region.getContext()), entry(region.getContext()) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext()), index = b.getIndexType();
  b.setInsertionPointToEnd(module->getBody());
  inner = func::FuncOp::create(b, loc, "body", b.getFunctionType({pointer, pointer, index, index}, {}));
  inner.setPrivate();
  inner->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  Block *block = inner.addEntryBlock();
  scratch = block->getArgument(Scratch);
  begin = block->getArgument(Begin);
  end = block->getArgument(End);
  b.setInsertionPointToStart(block);
  // Sizes go before this op, everything else after it; it has no use and disappears.
  Operation *boundary = arith::ConstantIndexOp::create(b, loc, 0);
  entry.setInsertionPoint(boundary);
}

Value KernelBuilder::buffer(unsigned position) {
  Value &pointer = buffers[position];
  if (!pointer) {
    pointer = inner.getBody().front().addArgument(LLVM::LLVMPointerType::get(b.getContext()), loc);
    kernel.buffers.push_back(position);
  }
  return pointer;
}

Value KernelBuilder::pointerOf(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value); argument && argument.getOwner() == region.getBlock())
    return inputBuffer(argument);
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == value)
      return resultBuffer(i);
  llvm_unreachable("a value without a buffer");
}

Value KernelBuilder::address(OpBuilder &b, Location loc, Value pointer, Type type, Value position) {
  Value offset = arith::IndexCastOp::create(b, loc, b.getI64Type(), position);
  return LLVM::GEPOp::create(b, loc, pointer.getType(), type, pointer, ArrayRef<LLVM::GEPArg>{offset},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::load(OpBuilder &b, Location loc, Value value, ValueRange index) {
  Type type = storageType(getElementTypeOrSelf(value.getType()));
  SmallVector<DimExpr> dims(shapes.dims(value));
  return LLVM::LoadOp::create(b, loc, type, address(b, loc, pointerOf(value), type, linearize(b, loc, index, dims)));
}

void KernelBuilder::store(OpBuilder &b, Location loc, Value value, ValueRange index, Value scalar) {
  SmallVector<DimExpr> dims(shapes.dims(value));
  Value position = linearize(b, loc, index, dims);
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == value)
      LLVM::StoreOp::create(b, loc, scalar, address(b, loc, resultBuffer(i), scalar.getType(), position));
}

void KernelBuilder::storeResult(ElementBuilder &e, unsigned result, ValueRange index, Value scalar) {
  Type elementType = getElementTypeOrSelf(region.getResult(result).getType());
  Value stored = e.scalars(elementType).toStorage(scalar, elementType);
  SmallVector<DimExpr> dims(shapes.dims(region.getYielded()[result]));
  Value position = linearize(e.b, loc, index, dims);
  LLVM::StoreOp::create(e.b, loc, stored, address(e.b, loc, resultBuffer(result), stored.getType(), position));
}

Value KernelBuilder::expr(DimExpr e) {
  Value &size = sizes[e];
  if (size)
    return size;
  if (auto constant = e.constant())
    return size = arith::ConstantIndexOp::create(entry, loc, *constant);
  Value args = inner.getArgument(Args);
  Value pointer = LLVM::GEPOp::create(entry, loc, args.getType(), entry.getI64Type(), args,
                                      ArrayRef<LLVM::GEPArg>{int32_t(kernel.args.size())}, LLVM::GEPNoWrapFlags::inbounds);
  kernel.args.push_back(e);
  Value loaded = LLVM::LoadOp::create(entry, loc, entry.getI64Type(), pointer);
  return size = arith::IndexCastOp::create(entry, loc, entry.getIndexType(), loaded);
}

bool KernelBuilder::isMaterialized(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  return argument && argument.getOwner() == region.getBlock();
}

Value KernelBuilder::isInPlace(OpBuilder &b, Location loc, Value value, Value result) {
  // As numbers: the pointers' noalias says that they differ.
  auto number = [&](Value pointer) -> Value { return LLVM::PtrToIntOp::create(b, loc, b.getI64Type(), pointer); };
  Value read = number(pointerOf(value));
  for (auto [i, yielded] : llvm::enumerate(region.getYielded()))
    if (yielded == result)
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, read, number(resultBuffer(i)));
  llvm_unreachable("a value that is no result");
}

void KernelBuilder::finish() {
  func::ReturnOp::create(b, loc);
  Block &block = inner.getBody().front();
  inner.setFunctionType(b.getFunctionType(block.getArgumentTypes(), {}));
  SmallVector<Attribute> attributes;
  for (BlockArgument argument : block.getArguments()) {
    NamedAttrList list;
    if (isa<LLVM::LLVMPointerType>(argument.getType()))
      list.set(LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    if (argument.getArgNumber() == Args)
      list.set(LLVM::LLVMDialect::getReadonlyAttrName(), b.getUnitAttr());
    attributes.push_back(list.getDictionary(b.getContext()));
  }
  inner.setArgAttrsAttr(b.getArrayAttr(attributes));

  Type pointer = LLVM::LLVMPointerType::get(b.getContext()), index = b.getIndexType();
  b.setInsertionPointToEnd(module->getBody());
  auto outer =
      func::FuncOp::create(b, loc, "kernel", b.getFunctionType({pointer, pointer, pointer, index, index}, {}));
  Block *body = outer.addEntryBlock();
  b.setInsertionPointToStart(body);
  SmallVector<Value> arguments(body->getArguments().drop_front());
  for (unsigned i = 0; i < kernel.buffers.size(); ++i) {
    Value slot = LLVM::GEPOp::create(b, loc, pointer, pointer, body->getArgument(0), ArrayRef<LLVM::GEPArg>{int32_t(i)},
                                     LLVM::GEPNoWrapFlags::inbounds);
    arguments.push_back(LLVM::LoadOp::create(b, loc, pointer, slot));
  }
  func::CallOp::create(b, loc, inner, arguments);
  func::ReturnOp::create(b, loc);
}

int64_t flame::cpu::elementPrice(RegionOp region) {
  int64_t price = 1;
  for (Operation &op : region.getBlock()->without_terminator()) {
    if (auto pull = dyn_cast<ElementInterface>(&op); pull && !pull.isCheap()) {
      price += 64;
      continue;
    }
    // Functions that take a polynomial or a library call; the rest are an instruction or a few.
    price += llvm::StringSwitch<int64_t>(op.getName().stripDialect())
                 .Cases({"add", "sub", "mul", "max", "min", "neg", "abs", "relu", "constant"}, 1)
                 .Cases({"exp", "log", "tanh", "erf", "sigmoid", "gelu", "silu", "sin", "cos"}, 12)
                 .Cases({"pow", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"}, 30)
                 .Default(3);
  }
  return price;
}

DimExpr flame::cpu::grainFor(ShapeContext &shapes, DimExpr price) {
  constexpr int64_t chunk = 16384;
  if (auto number = price.constant())
    return shapes.constant(std::max<int64_t>(1, chunk / std::max<int64_t>(1, *number)));
  return max(floorDiv(shapes.constant(chunk), max(price, shapes.constant(1))), shapes.constant(1));
}
