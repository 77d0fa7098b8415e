//===- NormCost.cpp - an addition for each neighbour ------------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Norm.h"

using namespace mlir;
using namespace flame;

static DimExpr windowSum(WindowSumOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getResult()) * int64_t(op.getBefore() + op.getAfter() + 1);
}

void flame::registerNormCosts(MLIRContext *context) { attachCost<WindowSumOp, windowSum>(context); }
