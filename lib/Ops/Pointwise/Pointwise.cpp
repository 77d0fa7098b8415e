//===- Pointwise.cpp - inference of elementwise ops -------------------------------------------------------------------===//
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/InferenceRules.h"

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

/// x < y as 0 or 1: a plain number where it is the same for all values of the symbols.
static DimExpr isLess(ShapeContext &context, DimExpr x, DimExpr y) {
  if ((y - x - 1).isNonNegative())
    return context.constant(1);
  if ((x - y).isNonNegative())
    return context.constant(0);
  return min(max(y - x, context.constant(0)), context.constant(1));
}

static DimExpr isEqual(ShapeContext &context, DimExpr x, DimExpr y) {
  if (x == y)
    return context.constant(1);
  if ((x - y - 1).isNonNegative() || (y - x - 1).isNonNegative())
    return context.constant(0);
  return context.constant(1) - min(max(x - y, y - x), context.constant(1));
}

static DimExpr logicalNot(ShapeContext &context, DimExpr x) { return context.constant(1) - x; }

/// One element of a small integer result from those of the operands; null if it can't be told. Bools are 0 and 1.
static DimExpr inferElement(Operation *op, ShapeContext &context, ArrayRef<DimExpr> x) {
  auto isNonNegative = [](DimExpr e) { return e.isNonNegative(); };
  if (isa<AddOp>(op))
    return x[0] + x[1];
  if (isa<SubOp>(op))
    return x[0] - x[1];
  if (isa<MulOp>(op))
    return x[0] * x[1];
  if (isa<NegOp>(op))
    return context.constant(0) - x[0];
  if (isa<DivOp>(op)) {
    // Truncation is floor only where both are known not to be negative.
    auto divisor = x[1].constant();
    if (divisor == 0)
      return {};
    if (x[0].constant() && divisor && *divisor != -1)
      return context.constant(*x[0].constant() / *divisor);
    return llvm::all_of(x, isNonNegative) ? floorDiv(x[0], x[1]) : DimExpr();
  }
  if (isa<ModOp, FModOp>(op)) {
    auto divisor = x[1].constant();
    if (!divisor || *divisor <= 0 || (isa<FModOp>(op) && !x[0].isNonNegative()))
      return {};
    return mod(x[0], x[1]);
  }
  if (isa<MaxOp>(op))
    return max(x[0], x[1]);
  if (isa<MinOp>(op))
    return min(x[0], x[1]);
  if (isa<AbsOp>(op)) {
    return x[0].isNonNegative() ? x[0] : max(x[0], context.constant(0) - x[0]);
  }
  if (isa<ReluOp>(op))
    return max(x[0], context.constant(0));
  if (isa<SignOp>(op)) {
    return max(min(x[0], context.constant(1)), context.constant(-1));
  }
  if (isa<EqualOp>(op))
    return isEqual(context, x[0], x[1]);
  if (isa<LessOp>(op))
    return isLess(context, x[0], x[1]);
  if (isa<GreaterOp>(op))
    return isLess(context, x[1], x[0]);
  if (isa<LessEqualOp>(op))
    return logicalNot(context, isLess(context, x[1], x[0]));
  if (isa<GreaterEqualOp>(op))
    return logicalNot(context, isLess(context, x[0], x[1]));
  if (isa<NotOp>(op))
    return logicalNot(context, x[0]);
  if (isa<AndOp>(op))
    return x[0] * x[1];
  if (isa<OrOp>(op))
    return x[0] + x[1] - x[0] * x[1];
  if (isa<WhereOp>(op)) {
    if (x[0].constant())
      return *x[0].constant() ? x[1] : x[2];
    return x[1] == x[2] ? x[1] : x[2] + x[0] * (x[1] - x[2]);
  }
  if (isa<CastOp>(op)) {
    // Shapes don't reach the ends of 32 bits, so that they survive i64 → i32.
    if (cast<CastOp>(op).getTo().isInteger(1) && !getElementTypeOrSelf(op->getOperand(0).getType()).isInteger(1))
      return logicalNot(context, isEqual(context, x[0], context.constant(0)));
    return x[0];
  }
  return {};
}

/// Small integer values through arithmetic, comparisons and selections, so that shape computations stay symbolic.
static void inferValues(Operation *op, ShapeContext &context, ResultInfo &info) {
  // Narrow integers wrap, which expressions don't.
  auto isWide = [](Type type) {
    return type.isInteger(1) || (type.isSignlessInteger() && type.getIntOrFloatBitWidth() >= 32);
  };
  if (op->getNumOperands() == 0 || !isWide(info.elementType) || !isFollowed(info))
    return;
  int64_t count = info.dims.empty() ? 1 : *info.dims[0].constant();
  SmallVector<SmallVector<DimExpr>> operands;
  for (Value operand : op->getOperands()) {
    if (!isWide(getElementTypeOrSelf(operand.getType())) || !isFollowed(context, operand))
      return;
    SmallVector<DimExpr> values = followedValues(context, operand);
    if (int64_t(values.size()) != count && values.size() != 1)
      return;
    operands.push_back(std::move(values));
  }
  SmallVector<DimExpr> values;
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<DimExpr, 3> x;
    for (ArrayRef<DimExpr> operand : operands)
      x.push_back(operand[operand.size() == 1 ? 0 : i]);
    DimExpr value = inferElement(op, context, x);
    // What has become this long is better computed as data.
    if (!value || value.node->terms.size() > 32)
      return;
    values.push_back(value);
  }
  info.values = std::move(values);
}

/// Bits that BitCast compares: a bool occupies a byte.
static unsigned storageBits(Type type) { return type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth(); }

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
        return op->emitOpError("can't broadcast shapes ") << dimsString(dims) << " and " << dimsString(other);
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
  for (unsigned i = 0; i < op->getNumOperands(); ++i)
    if (!isNumeric(element(i)))
      return op->emitOpError("operand #") << i << " has element type " << dtypeName(element(i))
                                          << "; a numeric type or bool is needed";
  // The types that an op computes with: floats, integers, bools.
  auto need = [&](bool (*isRight)(Type), StringRef what) -> LogicalResult {
    for (unsigned i = 0; i < op->getNumOperands(); ++i)
      if (!isRight(element(i)))
        return op->emitOpError("operand #") << i << " has element type " << dtypeName(element(i)) << "; " << what
                                            << " is needed: insert a cast";
    return success();
  };
  auto isFloat = [](Type type) { return isa<FloatType>(type); };
  auto isInt = [](Type type) { return isa<IntegerType>(type) && !type.isInteger(1); };
  auto isNumber = [](Type type) { return !type.isInteger(1); };
  auto isBool = [](Type type) { return type.isInteger(1); };
  Type boolean = IntegerType::get(op->getContext(), 1);
  Type elementType;
  LogicalResult checked = success();
  switch (rule) {
  case PointwiseRule::Same:
    checked = agree(0);
    elementType = element(0);
    break;
  case PointwiseRule::Number:
    checked = success(succeeded(need(isNumber, "a number")) && succeeded(agree(0)));
    elementType = element(0);
    break;
  case PointwiseRule::Float:
    checked = success(succeeded(need(isFloat, "a floating-point type")) && succeeded(agree(0)));
    elementType = element(0);
    break;
  case PointwiseRule::Integer:
    checked = success(succeeded(need(isInt, "an integer type")) && succeeded(agree(0)));
    elementType = element(0);
    break;
  case PointwiseRule::First:
    checked = need(isNumber, "a number");
    elementType = element(0);
    break;
  case PointwiseRule::Compare:
    checked = agree(0);
    elementType = boolean;
    break;
  case PointwiseRule::Classify:
    checked = need(isFloat, "a floating-point type");
    elementType = boolean;
    break;
  case PointwiseRule::Logic:
    checked = need(isBool, "bool");
    elementType = boolean;
    break;
  case PointwiseRule::Select:
    if (!element(0).isInteger(1))
      return op->emitOpError("condition must be bool, has ") << dtypeName(element(0));
    checked = agree(1);
    elementType = element(1);
    break;
  case PointwiseRule::Convert:
  case PointwiseRule::Reinterpret:
    elementType = op->getAttrOfType<TypeAttr>("to").getValue();
    if (!isNumeric(elementType))
      return op->emitOpError("can't convert to ") << dtypeName(elementType);
    if (rule == PointwiseRule::Reinterpret && storageBits(element(0)) != storageBits(elementType))
      return op->emitOpError("can't reinterpret ") << dtypeName(element(0)) << " as " << dtypeName(elementType)
                                                   << ": their widths differ";
    break;
  }
  if (failed(checked))
    return failure();
  ResultInfo info = ResultInfo::tensor(elementType, dims);
  inferValues(op, context, info);
  results.push_back(std::move(info));
  return success();
}
