//===- Constant.cpp - inference and folding of constants --------------------------------------------------------------===//
#include "flame/Ops/Constant.h"
#include "flame/Ops/InferenceRules.h"
#include "mlir/IR/DialectResourceBlobManager.h"

#define GET_OP_CLASSES
#include "flame/Ops/Constant.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerConstantOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Constant.cpp.inc"
      >();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

LogicalResult ConstantOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  ShapedType type = getValue().getShapedType();
  SmallVector<DimExpr> dims;
  for (int64_t size : type.getShape())
    dims.push_back(context.constant(size));
  ResultInfo info = ResultInfo::tensor(type.getElementType(), dims);
  if (dims.size() <= 1)
    // Longer than what other ops follow: a table of indices may still be looked up.
    if (auto integers = integersOf(getValue(), 1024)) {
      info.values.emplace();
      for (int64_t integer : *integers)
        info.values->push_back(context.constant(integer));
    }
  results.push_back(std::move(info));
  return success();
}

LogicalResult WeightOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape())
    return emitOpError("'") << getName() << "' needs a tensor type of known sizes, has " << getType();
  uint64_t bytes = dtypeBytes(type.getElementType());
  for (int64_t size : type.getShape())
    if (llvm::MulOverflow<int64_t>(bytes, size, reinterpret_cast<int64_t &>(bytes)))
      return emitOpError("'") << getName() << "' has more than 2^63 bytes";
  SmallVector<DimExpr> dims;
  for (int64_t size : type.getShape())
    dims.push_back(context.constant(size));
  results.push_back(ResultInfo::tensor(type.getElementType(), dims));
  return success();
}

LogicalResult IotaOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "n")))
    return failure();
  auto operand = cast<RankedTensorType>(getN().getType());
  DimExpr count = context.numElements(getN());
  if (!operand.getElementType().isInteger(64) || operand.getRank() > 1 || (count.constant() && !count.isConstant(1)))
    return emitOpError("n must be an i64 tensor of one element, has type ") << operand;
  if (!getType().isIntOrFloat())
    return emitOpError("can't count in ") << dtypeName(getType());
  DimExpr n = context.element(getN(), 0, /*nonNegative=*/true);
  if (n.constant() && *n.constant() < 0)
    return emitOpError("has a negative length ") << *n.constant();
  ResultInfo info = ResultInfo::tensor(getType(), {n});
  if (isFollowed(info)) {
    info.values.emplace();
    for (int64_t i = 0; i < *n.constant(); ++i)
      info.values->push_back(context.constant(i));
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult FillOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<int64_t> rank = requireVector(*this, context, 0, "shape");
  if (failed(rank) || failed(requireMovable(*this, 1, "value")))
    return failure();
  auto value = cast<RankedTensorType>(getValue().getType());
  if (value.getRank() != 0)
    return emitOpError("value must have rank 0, has type ") << value;
  SmallVector<DimExpr> dims;
  for (int64_t d = 0; d < *rank; ++d) {
    dims.push_back(context.element(getShape(), d, /*nonNegative=*/true));
    if (dims.back().constant() && *dims.back().constant() < 0)
      return emitOpError("size ") << d << " is negative: " << *dims.back().constant();
  }
  ResultInfo info = ResultInfo::tensor(value.getElementType(), dims);
  if (isFollowed(info))
    info.values.emplace(dims.empty() ? 1 : *dims[0].constant(), context.element(getValue(), 0));
  results.push_back(std::move(info));
  return success();
}
