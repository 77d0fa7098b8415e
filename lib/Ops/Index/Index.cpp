//===- Index.cpp - inference of indexed movement ----------------------------------------------------------------------===//
#include "flame/Ops/Index.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Index.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerIndexOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Index.cpp.inc"
      >();
}

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

static LogicalResult checkAxis(Operation *op, int64_t axis, int64_t rank) {
  if (axis < 0 || axis >= rank)
    return op->emitOpError("axis ") << axis << " is out of range for rank " << rank;
  return success();
}

static LogicalResult checkReduction(Operation *op, StringRef reduction, Type elementType) {
  if (!llvm::is_contained({"none", "add", "mul", "max", "min"}, reduction))
    return op->emitOpError("reduction '") << reduction << "' is none of none, add, mul, max, min";
  if (reduction != "none" && !elementType.isIntOrFloat())
    return op->emitOpError("can't reduce elements of type ") << dtypeName(elementType);
  return success();
}

LogicalResult GatherOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "indices")) ||
      failed(checkAxis(*this, getAxis(), context.rank(getX()))))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX())), inner(context.dims(getIndices()));
  DimExpr extent = dims[getAxis()];
  dims.erase(dims.begin() + getAxis());
  dims.insert(dims.begin() + getAxis(), inner.begin(), inner.end());
  auto indices = context.constants(getIndices());
  if (indices && extent.constant())
    for (int64_t index : *indices)
      if (index < -*extent.constant() || index >= *extent.constant())
        return emitOpError("index ") << index << " is out of range for dimension " << getAxis() << " of size "
                                     << extent.str();
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (indices && context.rank(getX()) == 1 && isFollowed(info) && isFollowed(context, getX())) {
    SmallVector<DimExpr> values = followedValues(context, getX());
    info.values.emplace();
    for (int64_t index : *indices)
      info.values->push_back(values[index < 0 ? index + values.size() : index]);
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult GatherElementsOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "indices")) ||
      failed(checkAxis(*this, getAxis(), context.rank(getX()))))
    return failure();
  SmallVector<DimExpr> operand(context.dims(getX())), dims(context.dims(getIndices()));
  if (operand.size() != dims.size())
    return emitOpError("indices have rank ") << dims.size() << ", x has rank " << operand.size();
  for (size_t d = 0; d < dims.size(); ++d)
    if (int64_t(d) != int64_t(getAxis()) &&
        failed(context.require(*this, Requirement::LessEqual, dims[d], operand[d],
                               "dimension " + Twine(d) + " of indices has size " + dims[d].str() +
                                   ", more than x's " + operand[d].str())))
      return failure();
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

/// Length of the index tuples of gather_nd and scatter_nd.
static FailureOr<int64_t> tupleLength(Operation *op, ShapeContext &context, Value indices, int64_t limit) {
  int64_t rank = context.rank(indices);
  auto length = rank ? context.dim(indices, rank - 1).constant() : std::nullopt;
  if (!length)
    return op->emitOpError("indices need a last dimension of known size: the length of the index tuples; type is ")
           << indices.getType();
  if (*length > limit)
    return op->emitOpError("index tuples have ") << *length << " elements, x has " << limit << " dimensions to index";
  return *length;
}

LogicalResult GatherNDOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "indices")))
    return failure();
  SmallVector<DimExpr> operand(context.dims(getX())), indices(context.dims(getIndices()));
  int64_t batch = getBatchDims();
  if (batch < 0 || batch >= int64_t(indices.size()) || batch > int64_t(operand.size()))
    return emitOpError("batch_dims ") << batch << " is out of range for indices of rank " << indices.size()
                                      << " and x of rank " << operand.size();
  for (int64_t d = 0; d < batch; ++d)
    if (failed(context.require(*this, Requirement::Equal, operand[d], indices[d],
                               "batch dimension " + Twine(d) + " is " + operand[d].str() + " in x and " +
                                   indices[d].str() + " in indices")))
      return failure();
  FailureOr<int64_t> length = tupleLength(*this, context, getIndices(), operand.size() - batch);
  if (failed(length))
    return failure();
  SmallVector<DimExpr> dims(indices.begin(), std::prev(indices.end()));
  llvm::append_range(dims, ArrayRef(operand).drop_front(batch + *length));
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult ScatterElementsOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "indices")) ||
      failed(requireRanked(*this, 2, "updates")) || failed(checkAxis(*this, getAxis(), context.rank(getX()))) ||
      failed(checkReduction(*this, getReduction(), elementTypeOf(getX()))))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX())), indices(context.dims(getIndices())),
      updates(context.dims(getUpdates()));
  if (elementTypeOf(getUpdates()) != elementTypeOf(getX()))
    return emitOpError("updates have element type ")
           << dtypeName(elementTypeOf(getUpdates())) << ", x " << dtypeName(elementTypeOf(getX()));
  if (indices.size() != dims.size() || updates.size() != dims.size())
    return emitOpError("x, indices and updates must have the same rank, have ")
           << dims.size() << ", " << indices.size() << " and " << updates.size();
  for (size_t d = 0; d < dims.size(); ++d) {
    if (failed(context.require(*this, Requirement::Equal, indices[d], updates[d],
                               "indices have shape " + dimsString(indices) + ", updates " + dimsString(updates))))
      return failure();
    if (int64_t(d) != int64_t(getAxis()) &&
        failed(context.require(*this, Requirement::LessEqual, indices[d], dims[d],
                               "dimension " + Twine(d) + " of indices has size " + indices[d].str() +
                                   ", more than x's " + dims[d].str())))
      return failure();
  }
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult ScatterNDOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "indices")) ||
      failed(requireRanked(*this, 2, "updates")) ||
      failed(checkReduction(*this, getReduction(), elementTypeOf(getX()))))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX())), indices(context.dims(getIndices())),
      updates(context.dims(getUpdates()));
  if (elementTypeOf(getUpdates()) != elementTypeOf(getX()))
    return emitOpError("updates have element type ")
           << dtypeName(elementTypeOf(getUpdates())) << ", x " << dtypeName(elementTypeOf(getX()));
  FailureOr<int64_t> length = tupleLength(*this, context, getIndices(), dims.size());
  if (failed(length))
    return failure();
  SmallVector<DimExpr> expected(indices.begin(), std::prev(indices.end()));
  llvm::append_range(expected, ArrayRef(dims).drop_front(*length));
  std::string message = "updates must have shape " + dimsString(expected) + ", have " + dimsString(updates);
  if (expected.size() != updates.size())
    return emitOpError(message);
  for (auto [want, have] : llvm::zip(expected, updates))
    if (failed(context.require(*this, Requirement::Equal, want, have, message)))
      return failure();
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult ReverseSequenceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")) || failed(requireIntegers(*this, 1, "lengths")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  int64_t batch = getBatchAxis(), time = getTimeAxis(), rank = dims.size();
  if (batch < 0 || batch >= rank || time < 0 || time >= rank || batch == time)
    return emitOpError("batch_axis ") << batch << " and time_axis " << time
                                      << " must be different dimensions of x, which has rank " << rank;
  if (context.rank(getLengths()) != 1)
    return emitOpError("lengths must have rank 1, has type ") << getLengths().getType();
  if (failed(context.require(*this, Requirement::Equal, context.dim(getLengths(), 0), dims[batch],
                             "there are " + context.dim(getLengths(), 0).str() + " lengths for a batch of " +
                                 dims[batch].str())))
    return failure();
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

//===------------------------------------------------------------------------------------------------------------------===//
// Ops whose result sizes depend on data
//===------------------------------------------------------------------------------------------------------------------===//

LogicalResult CheckIndicesOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireIntegers(*this, 0, "indices")) || failed(requireIntegers(*this, 1, "extents")))
    return failure();
  if (context.rank(getExtents()) != 1)
    return emitOpError("extents must be a vector, has type ") << getExtents().getType();
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getIndices()), SmallVector<DimExpr>(context.dims(getIndices())));
  if (isFollowed(info) && isFollowed(context, getIndices()))
    info.values = followedValues(context, getIndices());
  results.push_back(std::move(info));
  return success();
}

LogicalResult CheckEndsOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireIntegers(*this, 0, "ends")) || failed(requireVector(*this, context, 1, "rows", 1)))
    return failure();
  Type type = elementTypeOf(getEnds());
  if (context.rank(getEnds()) != 1 || !(type.isSignlessInteger(32) || type.isSignlessInteger(64)))
    return emitOpError("ends must be an int32 or int64 vector, have type ") << getEnds().getType();
  ResultInfo info = ResultInfo::tensor(type, SmallVector<DimExpr>(context.dims(getEnds())));
  if (isFollowed(info) && isFollowed(context, getEnds()))
    info.values = followedValues(context, getEnds());
  results.push_back(std::move(info));
  return success();
}

LogicalResult NonZeroOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 64),
                                       {context.constant(context.rank(getX())), context.resultDim(*this, 0, 1, "nonzero")}));
  return success();
}

LogicalResult CompressOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")) || failed(requireRanked(*this, 1, "condition")))
    return failure();
  if (!elementTypeOf(getCondition()).isInteger(1) || context.rank(getCondition()) != 1)
    return emitOpError("condition must be a bool vector, has type ") << getCondition().getType();
  SmallVector<DimExpr> dims(context.dims(getX()));
  if (auto axis = getAxis()) {
    if (failed(checkAxis(*this, *axis, dims.size())))
      return failure();
    dims[*axis] = context.resultDim(*this, 0, *axis, "compressed");
  } else
    dims = {context.resultDim(*this, 0, 0, "compressed")};
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult UniqueOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  DimExpr inverse = context.numElements(getX()), distinct;
  if (auto axis = getAxis()) {
    if (failed(checkAxis(*this, *axis, dims.size())))
      return failure();
    inverse = dims[*axis];
    dims[*axis] = distinct = context.resultDim(*this, 0, *axis, "unique");
  } else
    dims = {distinct = context.resultDim(*this, 0, 0, "unique")};
  Type i64 = IntegerType::get(getContext(), 64);
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  results.push_back(ResultInfo::tensor(i64, distinct));
  results.push_back(ResultInfo::tensor(i64, inverse));
  results.push_back(ResultInfo::tensor(i64, distinct));
  return success();
}

LogicalResult TopKOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")) || failed(requireIntegers(*this, 1, "k")) ||
      failed(checkAxis(*this, getAxis(), context.rank(getX()))))
    return failure();
  if (context.rank(getK()) > 1 || (context.numElements(getK()).constant() && !context.numElements(getK()).isConstant(1)))
    return emitOpError("k must have one element, has type ") << getK().getType();
  SmallVector<DimExpr> dims(context.dims(getX()));
  DimExpr k = context.element(getK(), 0, /*nonNegative=*/true), &extent = dims[getAxis()];
  if (k.constant() && *k.constant() < 0)
    return emitOpError("k is negative: ") << *k.constant();
  if (failed(context.require(*this, Requirement::LessEqual, k, extent,
                             "k is " + k.str() + ", dimension " + Twine(int64_t(getAxis())) + " of x has only " +
                                 extent.str() + " elements")))
    return failure();
  extent = k;
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 64), dims));
  return success();
}

LogicalResult NonMaxSuppressionOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  const char *names[] = {"boxes", "scores", "max_output", "iou_threshold", "score_threshold"};
  for (unsigned i = 0; i < 5; ++i)
    if (failed(requireRanked(*this, i, names[i])))
      return failure();
  if (context.rank(getBoxes()) != 3 || context.rank(getScores()) != 3)
    return emitOpError("boxes [batches, n, 4] and scores [batches, classes, n] must have rank 3, have types ")
           << getBoxes().getType() << " and " << getScores().getType();
  if (failed(context.require(*this, Requirement::Equal, context.dim(getBoxes(), 2), context.constant(4),
                             "the last dimension of boxes must be 4")) ||
      failed(context.require(*this, Requirement::Equal, context.dim(getBoxes(), 0), context.dim(getScores(), 0),
                             "boxes and scores have different numbers of batches")) ||
      failed(context.require(*this, Requirement::Equal, context.dim(getBoxes(), 1), context.dim(getScores(), 2),
                             "boxes and scores have different numbers of boxes")))
    return failure();
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 64),
                                       {context.resultDim(*this, 0, 0, "selected"), context.constant(3)}));
  return success();
}

LogicalResult TakeElementsOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "positions")) || failed(requireIntegers(*this, 0, "positions")))
    return failure();
  if (getXs().empty())
    return emitOpError("needs a tensor to take elements from");
  for (auto [i, x] : llvm::enumerate(getXs()))
    if (failed(requireRanked(*this, i + 1, "x")))
      return failure();
    else if (elementTypeOf(x) != elementTypeOf(getXs()[0]))
      return emitOpError("takes elements of types ")
             << dtypeName(elementTypeOf(getXs()[0])) << " and " << dtypeName(elementTypeOf(x));
  results.push_back(ResultInfo::tensor(elementTypeOf(getXs()[0]), context.dims(getPositions())));
  return success();
}
