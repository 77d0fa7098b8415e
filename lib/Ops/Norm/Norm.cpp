//===- Norm.cpp - inference of normalisation ops ----------------------------------------------------------------------===//
#include "flame/Ops/Norm.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Norm.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerNormOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Norm.cpp.inc"
      >();
}

LogicalResult WindowSumOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "operand")))
    return failure();
  Type type = getElementTypeOrSelf(getX().getType());
  if (!isNumeric(type) || type.isInteger(1))
    return emitOpError("operand has element type ") << dtypeName(type) << "; a number is needed: insert a cast";
  ArrayRef<DimExpr> dims = context.dims(getX());
  int64_t axis = getAxis();
  if (axis < 0 || axis >= int64_t(dims.size()))
    return emitOpError("axis ") << axis << " is out of range for rank " << dims.size();
  if (int64_t(getBefore()) < 0 || int64_t(getAfter()) < 0)
    return emitOpError("window reaches ") << int64_t(getBefore()) << " before and " << int64_t(getAfter())
                                          << " after an element; neither may be negative";
  results.push_back(ResultInfo::tensor(type, dims));
  return success();
}
