//===- Cost.cpp - see Cost.h ------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Analysis/Demand.h"
#include "flame/Ops/Region.h"

using namespace mlir;
using namespace flame;

void flame::registerAllCosts(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, FlameDialect *) {
#define FLAME_FAMILY(Name) register##Name##Costs(context);
#include "flame/Ops/CostFamilies.inc"
#undef FLAME_FAMILY
  });
}

/// Bytes of `count` elements of a value; 0 for what has no buffer of known size (sequences, strings).
static DimExpr bytesOf(Value value, DimExpr count, ShapeContext &shapes) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isNumeric(type.getElementType()) ? count * int64_t(dtypeBytes(type.getElementType()))
                                                  : shapes.constant(0);
}

Cost flame::costOf(Operation *op, ShapeContext &shapes) {
  Cost cost{shapes.constant(0), shapes.constant(0)};
  bool isSource = op->getNumOperands() == 0 && !isa<RegionOp>(op);
  bool isControl = op->getNumRegions() != 0 && !isa<RegionOp>(op);
  if (isSource || isControl || op->hasTrait<trait::ViewLike>() || op->hasTrait<OpTrait::IsTerminator>())
    return cost;
  auto arithmetic = dyn_cast<CostInterface>(op);
  if (arithmetic)
    cost.flops = arithmetic.flops(shapes);
  if (auto region = dyn_cast<RegionOp>(op)) {
    shapes.info(region->getResult(0)); // tells the body's shapes
    for (Operation &inner : region.getBlock()->without_terminator())
      cost.flops = cost.flops + costOf(&inner, shapes).flops;
  }
  DimExpr written = shapes.constant(0);
  for (Value result : op->getResults())
    if (isa<RankedTensorType>(result.getType())) {
      written = written + shapes.numElements(result);
      cost.bytes = cost.bytes + bytesOf(result, shapes.numElements(result), shapes);
    }
  for (OpOperand &operand : op->getOpOperands()) {
    if (isShapeOperand(operand) || !isa<RankedTensorType>(operand.get().getType()))
      continue;
    DimExpr count = shapes.numElements(operand.get());
    // What only moves elements reads no more of them than it writes: rows of a table, a part of a tensor.
    if (!arithmetic && !isa<RegionOp>(op))
      count = min(count, written);
    cost.bytes = cost.bytes + bytesOf(operand.get(), count, shapes);
  }
  return cost;
}
