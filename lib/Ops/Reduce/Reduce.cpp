//===- Reduce.cpp - inference of reductions and scans -----------------------------------------------------------------===//
#include "flame/Ops/Reduce.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Reduce.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerReduceOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Reduce.cpp.inc"
      >();
}

static LogicalResult requireNumbers(Operation *op, bool allowBool) {
  if (failed(requireRanked(op, 0, "operand")))
    return failure();
  Type type = getElementTypeOrSelf(op->getOperand(0).getType());
  if (!isNumeric(type) || (!allowBool && type.isInteger(1)))
    return op->emitOpError("operand has element type ") << dtypeName(type) << "; a number is needed: insert a cast";
  return success();
}

static LogicalResult requireKind(Operation *op, StringRef kind, ArrayRef<StringRef> kinds) {
  if (llvm::is_contained(kinds, kind))
    return success();
  return op->emitOpError("kind is \"") << kind << "\"; it must be one of " << llvm::join(kinds, ", ");
}

static LogicalResult requireAxis(Operation *op, int64_t axis, int64_t rank) {
  if (axis >= 0 && axis < rank)
    return success();
  return op->emitOpError("axis ") << axis << " is out of range for rank " << rank;
}

/// The reduction of followed elements; null if it can't be expressed.
static DimExpr reduceValues(ShapeContext &context, StringRef kind, ArrayRef<DimExpr> values) {
  if (values.empty())
    return kind == "sum" ? context.constant(0) : kind == "prod" ? context.constant(1) : DimExpr();
  DimExpr result = values[0];
  for (DimExpr value : values.drop_front())
    result = kind == "sum"    ? result + value
             : kind == "prod" ? result * value
             : kind == "max"  ? max(result, value)
             : kind == "min"  ? min(result, value)
                              : DimExpr();
  return result;
}

OpFoldResult ReduceOp::fold(FoldAdaptor) {
  return getAxes().empty() && getX().getType() == getType() ? OpFoldResult(getX()) : OpFoldResult();
}

LogicalResult ReduceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  StringRef kind = getKind();
  bool compares = kind == "max" || kind == "min";
  if (failed(requireNumbers(*this, compares)) || failed(requireKind(*this, kind, {"sum", "prod", "max", "min", "mean"})))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX())), reduced;
  SmallVector<bool> isReduced(dims.size());
  for (int64_t axis : getAxes()) {
    if (failed(requireAxis(*this, axis, dims.size())))
      return failure();
    if (isReduced[axis])
      return emitOpError("axis ") << axis << " is named twice";
    isReduced[axis] = true;
  }
  for (size_t d = 0; d < dims.size(); ++d)
    if (!isReduced[d])
      reduced.push_back(dims[d]);
    else if (getKeepdims())
      reduced.push_back(context.constant(1));
  Type elementType = getElementTypeOrSelf(getX().getType());
  ResultInfo info = ResultInfo::tensor(elementType, reduced);
  if (elementType.isSignlessInteger() && elementType.getIntOrFloatBitWidth() >= 32 && isFollowed(context, getX())) {
    SmallVector<DimExpr> values = followedValues(context, getX());
    if (getAxes().empty())
      info.values = std::move(values);
    else if (DimExpr value = reduceValues(context, kind, values); value && value.node->terms.size() <= 32)
      info.values = {value};
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult ArgReduceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireNumbers(*this, /*allowBool=*/true)) || failed(requireKind(*this, getKind(), {"max", "min"})))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  if (failed(requireAxis(*this, getAxis(), dims.size())))
    return failure();
  if (getKeepdims())
    dims[getAxis()] = context.constant(1);
  else
    dims.erase(dims.begin() + getAxis());
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 64), dims));
  return success();
}

LogicalResult ScanOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireNumbers(*this, /*allowBool=*/false)) || failed(requireKind(*this, getKind(), {"sum", "prod"})))
    return failure();
  ArrayRef<DimExpr> dims = context.dims(getX());
  if (failed(requireAxis(*this, getAxis(), dims.size())))
    return failure();
  results.push_back(ResultInfo::tensor(getElementTypeOrSelf(getX().getType()), dims));
  return success();
}
