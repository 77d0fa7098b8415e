//===- KernelOps.cpp - see KernelOps.h ----------------------------------------------------------------------------===//
#include "KernelOps.h"

using namespace mlir;
using namespace flame::cuda;

KernelDialect::KernelDialect(MLIRContext *context)
    : Dialect(getDialectNamespace(), context, TypeID::get<KernelDialect>()) {
  addOperations<FunctionOp, YieldOp, CallOp, ValueOp>();
}

Value FunctionOp::create(OpBuilder &b, Location loc, StringRef name, TypeRange types, ArrayRef<StringRef> names,
                         function_ref<Value(ValueRange)> build) {
  OperationState state(loc, getOperationName());
  state.addTypes(b.getNoneType());
  state.addAttribute("name", b.getStringAttr(name));
  state.addAttribute("names", b.getStrArrayAttr(names));
  Block *body = new Block();
  state.addRegion()->push_back(body);
  for (mlir::Type type : types)
    body->addArgument(type, loc);
  Operation *op = b.create(state);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(body);
  Value result = build(body->getArguments());
  OperationState yield(loc, YieldOp::getOperationName());
  if (result)
    yield.addOperands(result);
  b.create(yield);
  return op->getResult(0);
}

void CallOp::create(OpBuilder &b, Location loc, StringRef text, ValueRange operands, StringRef wgmma) {
  OperationState state(loc, getOperationName());
  state.addOperands(operands);
  state.addAttribute("text", b.getStringAttr(text));
  if (!wgmma.empty())
    state.addAttribute("wgmma", b.getStringAttr(wgmma));
  b.create(state);
}

Value ValueOp::create(OpBuilder &b, Location loc, Type type, StringRef text, ValueRange operands) {
  OperationState state(loc, getOperationName());
  state.addOperands(operands);
  state.addTypes(type);
  state.addAttribute("text", b.getStringAttr(text));
  return b.create(state)->getResult(0);
}
