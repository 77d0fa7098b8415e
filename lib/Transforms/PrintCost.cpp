//===- PrintCost.cpp - what ops cost, as text -------------------------------------------------------------------------===//
//
// See Passes.td. For tests of the cost facet and for people.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Transforms/Passes.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_PRINTCOST
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {
struct PrintCostPass : flame::impl::PrintCostBase<PrintCostPass> {
  void runOnOperation() override {
    DimContext exprs;
    ShapeContext shapes(exprs);
    Cost total{shapes.constant(0), shapes.constant(0)};
    auto print = [](StringRef name, const Cost &cost) {
      llvm::outs() << name << ": " << cost.flops.str() << " operations, " << cost.bytes.str() << " bytes\n";
    };
    getOperation()->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (!isa<InferInterface>(op))
        return WalkResult::advance();
      Cost cost = costOf(op, shapes);
      if (!cost.flops.isConstant(0) || !cost.bytes.isConstant(0))
        print(op->getName().stripDialect(), cost);
      total.flops = total.flops + cost.flops;
      total.bytes = total.bytes + cost.bytes;
      // The body of a kernel region is in its own cost.
      return op->getName().stripDialect() == "region" ? WalkResult::skip() : WalkResult::advance();
    });
    print("total", total);
    llvm::outs().flush();
    markAllAnalysesPreserved();
  }
};
} // namespace
