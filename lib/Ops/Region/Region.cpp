//===- Region.cpp - kernel regions ------------------------------------------------------------------------------------===//
#include "flame/Ops/Region.h"

#define GET_OP_CLASSES
#include "flame/Ops/Region.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerRegionOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Region.cpp.inc"
      >();
}

OperandRange RegionOp::getYielded() { return getBlock()->getTerminator()->getOperands(); }

LogicalResult RegionOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (getBlock()->getNumArguments() != getInputs().size())
    return emitOpError("has ") << getInputs().size() << " inputs and " << getBlock()->getNumArguments()
                               << " block arguments";
  for (auto [argument, input] : llvm::zip(getBlock()->getArguments(), getInputs())) {
    if (argument.getType() != input.getType())
      return emitOpError("block argument #") << argument.getArgNumber() << " has type " << argument.getType()
                                             << ", its input " << input.getType();
    context.set(argument, context.info(input));
  }
  for (Value value : getYielded())
    results.push_back(context.info(value));
  return success();
}
