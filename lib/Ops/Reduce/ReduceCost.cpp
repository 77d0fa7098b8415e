//===- ReduceCost.cpp - one operation for each element that goes in ---------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Reduce.h"

using namespace mlir;
using namespace flame;

template <typename Op> static DimExpr perInput(Op op, ShapeContext &shapes) { return shapes.numElements(op.getX()); }

/// A mean divides at the end.
static DimExpr reduce(ReduceOp op, ShapeContext &shapes) {
  DimExpr flops = perInput(op, shapes);
  return op.getKind() == "mean" ? flops + shapes.numElements(op.getResult()) : flops;
}

void flame::registerReduceCosts(MLIRContext *context) {
  attachCost<ReduceOp, reduce>(context);
  attachCost<ArgReduceOp, perInput<ArgReduceOp>>(context);
  attachCost<ScanOp, perInput<ScanOp>>(context);
}
