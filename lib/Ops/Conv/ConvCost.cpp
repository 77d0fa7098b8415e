//===- ConvCost.cpp - a multiply-add for each tap of the window, padding included -------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Conv.h"

using namespace mlir;
using namespace flame;

/// Elements of the weight that one channel of its first dim has.
static DimExpr taps(ArrayRef<DimExpr> weight) {
  DimExpr product = weight[1];
  for (DimExpr dim : weight.drop_front(2))
    product = product * dim;
  return product;
}

static DimExpr conv(ConvOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getResult()) * taps(op.weightDims(shapes)) * 2;
}

/// Every element of x is spread over a window.
static DimExpr convTranspose(ConvTransposeOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getX()) * taps(shapes.dims(op.getW())) * 2;
}

/// Between 2^n neighbours, a multiply-add each, and one with the weight.
static DimExpr deformConv(DeformConvOp op, ShapeContext &shapes) {
  int64_t corners = int64_t(1) << (shapes.rank(op.getX()) - 2);
  return shapes.numElements(op.getResult()) * taps(shapes.dims(op.getW())) * (2 * corners + 2);
}

void flame::registerConvCosts(MLIRContext *context) {
  attachCost<ConvOp, conv>(context);
  attachCost<ConvTransposeOp, convTranspose>(context);
  attachCost<DeformConvOp, deformConv>(context);
}
