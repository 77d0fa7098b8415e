//===- NormBody.cpp - elements of normalisation ops -------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Norm.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;

static Value windowSum(WindowSumOp op, ElementBuilder &b, ValueRange index) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  int64_t axis = op.getAxis();
  Value low = b.maxi(b.subi(index[axis], b.index(op.getBefore())), b.index(0));
  Value high = b.mini(b.addi(index[axis], b.index(op.getAfter() + 1)), b.dim(op.getX(), axis));
  return b.loop(low, high, s.number(elementType, 0), [&](Value i, ValueRange carried) {
    Values at(index);
    at[axis] = i;
    return Values{s.add(carried[0], b.element(op.getX(), at))};
  })[0];
}

void flame::registerNormBodies(MLIRContext *context) {
  attachElement<WindowSumOp, windowSum, /*Cheap=*/false>(context);
}
