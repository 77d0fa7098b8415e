//===- RandomCost.cpp - ten rounds of Philox --------------------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Random.h"

using namespace mlir;
using namespace flame;

/// A round is two products and four exclusive ors for four numbers; a normal number takes two uniform ones and a logarithm,
/// a root, a cosine.
static DimExpr philox(RandomOp op, ShapeContext &shapes) {
  return shapes.numElements(op.getResult()) * (op.getDistribution() == "normal" ? 35 : 15);
}

void flame::registerRandomCosts(MLIRContext *context) { attachCost<RandomOp, philox>(context); }
