//===- ContractionCost.cpp - FLOPs of matrix products -----------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Contraction.h"

using namespace mlir;
using namespace flame;

static DimExpr matmulFlops(MatMulOp op, ShapeContext &context) {
  ArrayRef<DimExpr> x = context.dims(op.getX());
  DimExpr inner = op.getTransposeX() ? x[x.size() - 2] : x.back();
  return context.numElements(op.getResult()) * inner * 2;
}

void flame::registerContractionCosts(MLIRContext *context) { attachCost<MatMulOp, matmulFlops>(context); }
