//===- ContractionCost.cpp - a multiply-add for each element of the result and of the inner dim -----------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Contraction.h"

using namespace mlir;
using namespace flame;

static DimExpr matmul(MatMulOp op, ShapeContext &shapes) {
  int64_t rank = shapes.rank(op.getX());
  DimExpr inner = shapes.dim(op.getX(), op.getTransposeX() ? rank - 2 : rank - 1);
  return shapes.numElements(op.getResult()) * inner * 2;
}

/// As if every row had a group.
static DimExpr groupedMatmul(GroupedMatMulOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getResult()) * shapes.dim(op.getX(), 1) * 2;
}

static DimExpr scaledMatmul(ScaledMatMulOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getResult()) * shapes.dims(op.getX()).back() * 2;
}

void flame::registerContractionCosts(MLIRContext *context) {
  attachCost<MatMulOp, matmul>(context);
  attachCost<GroupedMatMulOp, groupedMatmul>(context);
  attachCost<ScaledMatMulOp, scaledMatmul>(context);
}
