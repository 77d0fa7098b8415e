//===- WidenWeights.cpp - the second product of attention in 16 bits -------------------------------------------------------===//
//
// See Passes.td.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Attention.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_WIDENWEIGHTS
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

struct WidenWeightsPass : flame::impl::WidenWeightsBase<WidenWeightsPass> {
  void runOnOperation() override {
    SmallVector<MatMulOp> products;
    getOperation().walk([&](MatMulOp op) { products.push_back(op); });
    DimContext exprs;
    ShapeContext shapes(exprs);
    for (MatMulOp context : products) {
      if (!isa<Float8E4M3FNType, Float8E5M2Type>(getElementTypeOrSelf(context.getY().getType())))
        continue;
      // Which heads make one kernel is for the target to say: here all are alike.
      auto attention = matchAttention(context, shapes, [](Operation *) { return false; }, INT64_MAX);
      if (!attention)
        continue;
      OpBuilder b(context);
      GraphBuilder g(b, context.getLoc(), shapes);
      Type asked = getElementTypeOrSelf(attention->scores.getX().getType());
      Type half = asked.isBF16() ? asked : Type(b.getF16Type());
      context.getXMutable().assign(g.cast(context.getX().getDefiningOp<CastOp>().getX(), half));
      // Before they are moved and repeated, where a kernel that makes them can do it, and heads that share them share the result.
      SmallVector<Operation *> moves;
      Value values = context.getY();
      while (Operation *op = values.getDefiningOp()) {
        if (!isa<TransposeOp, ReshapeOp, ExpandOp>(op))
          break;
        moves.push_back(op);
        values = op->getOperand(0);
      }
      values = g.cast(values, half);
      for (Operation *op : llvm::reverse(moves)) {
        Operation *move = b.clone(*op);
        move->setOperand(0, values);
        values = move->getResult(0);
        values.setType(cast<RankedTensorType>(values.getType()).clone(half));
      }
      context.getYMutable().assign(values);
    }
  }
};

} // namespace
