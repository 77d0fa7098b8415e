//===- PoolCost.cpp - an operation for each element of the window, padding included -----------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Pool.h"

using namespace mlir;
using namespace flame;

/// `PerTap` operations for each element of a window and `PerWindow` at its end.
template <typename Op, int PerTap, int PerWindow> static DimExpr pool(Op op, ShapeContext &shapes) {
  int64_t taps = 1;
  for (int64_t size : op.getKernel())
    taps *= size;
  return shapes.numElements(op->getResult(0)) * (taps * PerTap + PerWindow);
}

void flame::registerPoolCosts(MLIRContext *context) {
  attachCost<MaxPoolOp, pool<MaxPoolOp, 1, 0>>(context);
  attachCost<AveragePoolOp, pool<AveragePoolOp, 1, 1>>(context);
  attachCost<LpPoolOp, pool<LpPoolOp, 2, 1>>(context);
}
