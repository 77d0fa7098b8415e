//===- Pointwise.cpp - inference of elementwise ops -------------------------------------------------------------------===//
#include "flame/Ops/Pointwise.h"

#define GET_OP_CLASSES
#include "flame/Ops/Pointwise.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerPointwiseOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Pointwise.cpp.inc"
      >();
}

static std::string shapeString(ArrayRef<DimExpr> dims) {
  std::string text = "[";
  for (auto [i, dim] : llvm::enumerate(dims))
    text += (i ? ", " : "") + dim.str();
  return text + "]";
}

/// Small integer values through +, -, *, /, and comparisons, so that shape computations stay symbolic.
static void inferValues(Operation *op, ShapeContext &context, ResultInfo &info) {
  if (info.dims.size() > 1 || op->getNumOperands() == 0 || !info.elementType.isIntOrIndex())
    return;
  std::optional<int64_t> count = info.dims.empty() ? 1 : info.dims[0].constant();
  if (!count || *count > 64)
    return;
  SmallVector<ArrayRef<DimExpr>> operands;
  for (Value operand : op->getOperands()) {
    auto values = context.values(operand);
    if (!values || (int64_t(values->size()) != *count && values->size() != 1))
      return;
    operands.push_back(*values);
  }
  auto at = [&](unsigned operand, int64_t i) { return operands[operand][operands[operand].size() == 1 ? 0 : i]; };
  SmallVector<DimExpr> values;
  for (int64_t i = 0; i < *count; ++i) {
    DimExpr value;
    if (isa<AddOp>(op))
      value = at(0, i) + at(1, i);
    else if (isa<SubOp>(op))
      value = at(0, i) - at(1, i);
    else if (isa<MulOp>(op))
      value = at(0, i) * at(1, i);
    else if (isa<DivOp>(op) && at(1, i).constant() && *at(1, i).constant() != 0) {
      // Truncation is floor only where both are known not to be negative.
      if (at(0, i).constant())
        value = context.constant(*at(0, i).constant() / *at(1, i).constant());
      else if (at(0, i).isNonNegative() && at(1, i).isNonNegative())
        value = floorDiv(at(0, i), at(1, i));
    } else if (isa<CastOp>(op) && getElementTypeOrSelf(op->getOperand(0).getType()).isIntOrIndex() &&
               info.elementType.getIntOrFloatBitWidth() >= 32)
      value = at(0, i);
    else if (isa<EqualOp>(op)) {
      if (at(0, i) == at(1, i))
        value = context.constant(1);
      else if (at(0, i).constant() && at(1, i).constant())
        value = context.constant(0);
    } else if (isa<WhereOp>(op) && at(0, i).constant())
      value = *at(0, i).constant() ? at(1, i) : at(2, i);
    if (!value)
      return;
    values.push_back(value);
  }
  info.values = std::move(values);
}

LogicalResult flame::inferPointwise(Operation *op, PointwiseRule rule, ShapeContext &context,
                                    SmallVectorImpl<ResultInfo> &results) {
  SmallVector<DimExpr> dims;
  for (Value operand : op->getOperands()) {
    if (!isa<RankedTensorType>(operand.getType()))
      return op->emitOpError("needs tensors of known rank, has ") << operand.getType();
    ArrayRef<DimExpr> other = context.dims(operand);
    SmallVector<DimExpr> merged(std::max(dims.size(), other.size()));
    for (int64_t i = 1; i <= int64_t(merged.size()); ++i) {
      DimExpr a = i <= int64_t(dims.size()) ? dims[dims.size() - i] : context.constant(1);
      DimExpr b = i <= int64_t(other.size()) ? other[other.size() - i] : context.constant(1);
      DimExpr dim = context.broadcast(a, b);
      if (!dim)
        return op->emitOpError("can't broadcast shapes ") << shapeString(dims) << " and " << shapeString(other);
      if (failed(context.require(op, Requirement::EqualOrOne, a, b,
                                 "can't broadcast dimensions " + a.str() + " and " + b.str())))
        return failure();
      merged[merged.size() - i] = dim;
    }
    dims = std::move(merged);
  }
  auto element = [&](unsigned i) { return cast<TensorType>(op->getOperand(i).getType()).getElementType(); };
  auto agree = [&](unsigned first) -> LogicalResult {
    for (unsigned i = first + 1; i < op->getNumOperands(); ++i)
      if (element(i) != element(first))
        return op->emitOpError("operands have element types ")
               << dtypeName(element(first)) << " and " << dtypeName(element(i)) << "; cast one of them";
    return success();
  };
  Type elementType;
  switch (rule) {
  case PointwiseRule::Same:
    if (failed(agree(0)))
      return failure();
    elementType = element(0);
    break;
  case PointwiseRule::First:
    elementType = element(0);
    break;
  case PointwiseRule::Bool:
    if (failed(agree(0)))
      return failure();
    elementType = IntegerType::get(op->getContext(), 1);
    break;
  case PointwiseRule::Select:
    if (!element(0).isInteger(1))
      return op->emitOpError("condition must be bool, has ") << dtypeName(element(0));
    if (failed(agree(1)))
      return failure();
    elementType = element(1);
    break;
  case PointwiseRule::Attribute:
    elementType = op->getAttrOfType<TypeAttr>("to").getValue();
    break;
  }
  ResultInfo info = ResultInfo::tensor(elementType, dims);
  inferValues(op, context, info);
  results.push_back(std::move(info));
  return success();
}
