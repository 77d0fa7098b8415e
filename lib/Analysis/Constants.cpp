//===- Constants.cpp - see Constants.h --------------------------------------------------------------------------------===//
#include "flame/Analysis/Constants.h"
#include "flame/Ops/Control.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace flame;

SmallVector<Block *> flame::loadTimeBlocks(Operation *function) {
  SmallVector<Block *> blocks{&function->getRegion(0).front()};
  for (size_t i = 0; i < blocks.size(); ++i)
    for (LoopOp loop : blocks[i]->getOps<LoopOp>())
      blocks.push_back(&loop.getBody().front());
  return blocks;
}

bool ConstantValues::contains(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  // Depth first with a stack of its own: a chain of constants may be as long as the model.
  SmallVector<Value> stack{value};
  while (!stack.empty()) {
    Value top = stack.back();
    if (known.count(top)) {
      stack.pop_back();
      continue;
    }
    Operation *op = top.getDefiningOp();
    auto type = dyn_cast<RankedTensorType>(top.getType());
    bool result =
        op && type && type.hasStaticShape() && op->getNumRegions() == 0 && op->getNumResults() == 1 && isPure(op);
    bool pending = false;
    if (result)
      for (Value operand : op->getOperands()) {
        auto it = known.find(operand);
        if (it == known.end()) {
          stack.push_back(operand);
          pending = true;
        } else {
          result &= it->second;
        }
      }
    if (pending && result)
      continue;
    known[top] = result;
  }
  return known[value];
}
