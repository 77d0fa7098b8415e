//===- PointwiseCost.cpp - one operation an element -------------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Pointwise.h"

using namespace mlir;
using namespace flame;

void flame::registerPointwiseCosts(MLIRContext *context) {
  attachCosts<1,
#define GET_OP_LIST
#include "flame/Ops/Pointwise.cpp.inc"
              >(context);
}
