//===- AttentionCost.cpp - updates and reads of a state matrix --------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Ops/Attention.h"

using namespace mlir;
using namespace flame;

/// For each token a rank-1 update of [K, V] for the key heads and a product with it for the query heads, two operations an
/// element each; decay and delta rule touch the state once more.
static DimExpr linearAttention(LinearAttentionOp op, ShapeContext &shapes) {
  DimExpr state = shapes.numElements(op.getState()), tokens = shapes.dim(op.getKey(), 2);
  DimExpr updates = state * tokens * (2 + (op.getGated() ? 1 : 0) + (op.getDelta() ? 2 : 0));
  return updates + shapes.numElements(op.getQuery()) * shapes.dim(op.getValue(), 3) * 2;
}

void flame::registerAttentionCosts(MLIRContext *context) { attachCost<LinearAttentionOp, linearAttention>(context); }
