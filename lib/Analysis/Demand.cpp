//===- Demand.cpp - demanded and constant values ----------------------------------------------------------------------===//
#include "flame/Analysis/Demand.h"
#include "flame/Analysis/Constants.h"
#include "flame/Ops/Region.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace flame;

bool flame::isShapeOperand(OpOperand &operand) {
  auto infer = dyn_cast<InferInterface>(operand.getOwner());
  return infer && infer.isShapeOperand(operand.getOperandNumber());
}

void flame::forEachSymbol(DimExpr expr, function_ref<void(unsigned)> use) {
  for (const detail::DimTerm &term : expr.node->terms)
    for (const detail::DimAtom *atom : term.factors) {
      if (atom->kind == detail::AtomKind::Symbol) {
        use(atom->symbol);
        continue;
      }
      forEachSymbol(atom->a, use);
      forEachSymbol(atom->b, use);
    }
}

/// Constants and weights: values without inputs that exist before the run.
static bool isSource(Operation *op) {
  StringRef name = op->getName().getStringRef();
  return name == "flame.constant" || name == "flame.weight";
}

Demand::Demand(Operation *function, ShapeContext &shapes) : shapes(shapes) {
  Block &entry = function->getRegion(0).front();
  for (Block *block : loadTimeBlocks(function))
    findConstants(*block, /*mayFail=*/block == &entry);
  for (Value result : entry.getTerminator()->getOperands())
    demand(result);
  for (BlockArgument argument : entry.getArguments())
    demandShape(argument);
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    demandOperands(op);
  }
}

void Demand::findConstants(Block &block, bool mayFail) {
  for (Operation &op : block) {
    if (isSource(&op)) {
      constantOps.insert(&op);
      continue;
    }
    if (op.getNumResults() == 0 || (op.getNumRegions() != 0 && !isa<RegionOp>(op)))
      continue;
    bool constant = llvm::all_of(op.getOpOperands(), [&](OpOperand &operand) {
      return isConstant(operand.get());
    });
    // Sizes must be known when the module is loaded.
    for (Value result : op.getResults())
      for (DimExpr dim : shapes.dims(result))
        constant &= dim.constant().has_value();
    bool random = op.getDialect() && !isMemoryEffectFree(&op);
    if (constant && !random && op.getNumOperands() != 0 && (mayFail || !op.hasTrait<trait::HostOnly>()))
      constantOps.insert(&op);
  }
}

bool Demand::isConstant(Value value) const {
  Operation *op = value.getDefiningOp();
  return op && constantOps.contains(op);
}

bool Demand::isDemanded(Operation *op) const {
  return llvm::any_of(op->getResults(), [&](Value result) { return isDemanded(result); });
}

void Demand::demandExpr(DimExpr expr) {
  forEachSymbol(expr, [&](unsigned symbol) {
    auto origin = shapes.origins().find(symbol);
    if (origin != shapes.origins().end())
      demand(origin->second.value);
  });
}

void Demand::demandShape(Value value) {
  if (!isa<RankedTensorType>(value.getType()))
    return;
  for (DimExpr dim : SmallVector<DimExpr>(shapes.dims(value)))
    demandExpr(dim);
}

void Demand::demand(Value value) {
  if (!demanded.insert(value).second)
    return;
  demandShape(value);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    // The argument of a loop body: its loop brings it.
    Operation *parent = argument.getOwner()->getParentOp();
    if (parent && !isa<func::FuncOp, RegionOp>(parent) && visited.insert(parent).second)
      worklist.push_back(parent);
    return;
  }
  if (visited.insert(value.getDefiningOp()).second)
    worklist.push_back(value.getDefiningOp());
}

void Demand::demandOperands(Operation *op) {
  // The ops a control op or kernel holds: their yields are demanded with it.
  for (Region &region : op->getRegions())
    for (Block &block : region) {
      if (isa<RegionOp>(op))
        continue;
      for (Value yielded : block.getTerminator()->getOperands())
        demand(yielded);
    }
  if (auto region = dyn_cast<RegionOp>(op)) {
    shapes.info(region->getResult(0));
    for (Operation &inner : *region.getBlock()) {
      for (Value result : inner.getResults())
        demandShape(result);
      for (OpOperand &operand : inner.getOpOperands()) {
        if (!isShapeOperand(operand)) {
          if (auto argument = dyn_cast<BlockArgument>(operand.get()))
            demand(region.getInputs()[argument.getArgNumber()]);
          continue;
        }
        if (auto values = shapes.values(operand.get()))
          for (DimExpr value : *values)
            demandExpr(value);
        else if (auto argument = dyn_cast<BlockArgument>(operand.get()))
          demand(region.getInputs()[argument.getArgNumber()]);
      }
    }
    return;
  }
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isShapeOperand(operand)) {
      demand(operand.get());
      continue;
    }
    if (auto values = shapes.values(operand.get()))
      for (DimExpr value : SmallVector<DimExpr>(*values))
        demandExpr(value);
    else
      demand(operand.get());
  }
}
