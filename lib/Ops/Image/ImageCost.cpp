//===- ImageCost.cpp - multiply-adds with the neighbours of a position ------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Image.h"

using namespace mlir;
using namespace flame;

/// Elements along one axis that a filter takes in.
static int64_t width(StringRef mode) { return mode == "cubic" ? 4 : mode == "linear" ? 2 : 1; }

static DimExpr resize(ResizeOp op, ShapeContext &shapes) {
  return op.getMode() == "nearest" ? shapes.constant(0) : shapes.numElements(op.getResult()) * (2 * width(op.getMode()));
}

static DimExpr gridSample(GridSampleOp op, ShapeContext &shapes) {
  int64_t points = 1;
  for (int64_t d = 2; d < shapes.rank(op.getX()); ++d)
    points *= width(op.getMode());
  return points == 1 ? shapes.constant(0) : shapes.numElements(op.getResult()) * (2 * points);
}

/// Bins are as wide as the data say unless the number of samples is given: then one sample a bin is counted.
static DimExpr roiAlign(RoiAlignOp op, ShapeContext &shapes) {
  int64_t samples = std::max<int64_t>(1, op.getSamplingRatio());
  return shapes.numElements(op.getResult()) * (8 * samples * samples);
}

static DimExpr col2im(Col2ImOp op, ShapeContext &shapes) { return shapes.numElements(op.getX()); }

/// Elimination: two thirds of n³.
static DimExpr det(DetOp op, ShapeContext &shapes) {
  DimExpr n = shapes.dim(op.getX(), shapes.rank(op.getX()) - 1);
  return floorDiv(shapes.numElements(op.getX()) * n * 2, shapes.constant(3));
}

void flame::registerImageCosts(MLIRContext *context) {
  attachCost<ResizeOp, resize>(context);
  attachCost<GridSampleOp, gridSample>(context);
  attachCost<RoiAlignOp, roiAlign>(context);
  attachCost<MaxRoiPoolOp, 1>(context);
  attachCost<Col2ImOp, col2im>(context);
  attachCost<DetOp, det>(context);
}
