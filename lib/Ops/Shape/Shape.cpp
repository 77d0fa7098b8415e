//===- Shape.cpp - inference of data movement -------------------------------------------------------------------------===//
#include "flame/Ops/Shape.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Shape.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerShapeOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Shape.cpp.inc"
      >();
}

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

/// Sizes from a shape operand; fails on a negative one.
static LogicalResult readSizes(Operation *op, ShapeContext &context, Value operand, int64_t rank, StringRef name,
                               SmallVectorImpl<DimExpr> &sizes) {
  for (int64_t d = 0; d < rank; ++d) {
    DimExpr size = context.element(operand, d, /*nonNegative=*/true);
    if (size.constant() && *size.constant() < 0)
      return op->emitOpError(name) << "[" << d << "] is negative: " << *size.constant();
    sizes.push_back(size);
  }
  return success();
}

LogicalResult ReshapeOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<int64_t> rank = requireVector(*this, context, 1, "shape");
  SmallVector<DimExpr> dims;
  if (failed(rank) || failed(requireRanked(*this, 0, "x")) ||
      failed(readSizes(*this, context, getShape(), *rank, "shape", dims)))
    return failure();
  DimExpr before = context.numElements(getX()), after = context.constant(1);
  for (DimExpr dim : dims)
    after = after * dim;
  std::string message = "can't reshape " + dimsString(context.dims(getX())) + " (" + before.str() + " elements) to " +
                        dimsString(dims) + " (" + after.str() + ")";
  auto difference = (before - after).constant();
  if (difference && *difference != 0)
    return emitOpError(message);
  if (failed(context.require(*this, Requirement::Equal, before, after, message)))
    return failure();
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (isFollowed(info)) {
    if (auto values = context.values(getX()))
      info.values = SmallVector<DimExpr>(*values);
    else if (after.isConstant(1) && isFollowed(context, getX()))
      info.values = followedValues(context, getX());
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult TransposeOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> operand(context.dims(getX())), dims;
  SmallVector<bool> seen(operand.size());
  bool valid = getPerm().size() == operand.size();
  for (int64_t d : getPerm()) {
    valid = valid && d >= 0 && d < int64_t(operand.size()) && !seen[d];
    if (!valid)
      break;
    seen[d] = true;
    dims.push_back(operand[d]);
  }
  if (!valid)
    return emitOpError("perm [") << getPerm() << "] is not a permutation of the " << operand.size()
                                 << " dimensions of x";
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (dims.size() <= 1)
    if (auto values = context.values(getX()))
      info.values = SmallVector<DimExpr>(*values);
  results.push_back(std::move(info));
  return success();
}

LogicalResult ExpandOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<int64_t> rank = requireVector(*this, context, 1, "shape");
  SmallVector<DimExpr> dims;
  if (failed(rank) || failed(requireMovable(*this, 0, "x")) ||
      failed(readSizes(*this, context, getShape(), *rank, "shape", dims)))
    return failure();
  SmallVector<DimExpr> operand(context.dims(getX()));
  std::string message = "can't broadcast " + dimsString(operand) + " to " + dimsString(dims);
  if (operand.size() > dims.size())
    return emitOpError(message);
  for (size_t i = 0; i < operand.size(); ++i) {
    DimExpr from = operand[operand.size() - 1 - i], to = dims[dims.size() - 1 - i];
    if (from.isConstant(1))
      continue;
    // A size that is not 1 can only stay.
    if (to.isConstant(1) && from.constant())
      return emitOpError(message);
    if (failed(context.require(*this, from.constant() ? Requirement::Equal : Requirement::EqualOrOne, from, to, message)))
      return failure();
  }
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (isFollowed(info) && isFollowed(context, getX())) {
    SmallVector<DimExpr> values = followedValues(context, getX());
    if (!dims.empty() && values.size() == 1)
      values.resize(*dims[0].constant(), values[0]);
    info.values = std::move(values);
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult ConcatOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (getXs().empty())
    return emitOpError("needs at least one operand");
  for (unsigned i = 0; i < getXs().size(); ++i)
    if (failed(requireMovable(*this, i, "an operand")))
      return failure();
  SmallVector<DimExpr> dims(context.dims(getXs()[0]));
  Type elementType = elementTypeOf(getXs()[0]);
  int64_t axis = getAxis();
  if (axis < 0 || axis >= int64_t(dims.size()))
    return emitOpError("axis ") << axis << " is out of range for rank " << dims.size();
  for (auto [i, x] : llvm::enumerate(getXs().drop_front())) {
    ArrayRef<DimExpr> other = context.dims(x);
    if (elementTypeOf(x) != elementType)
      return emitOpError("operand #") << i + 1 << " has element type " << dtypeName(elementTypeOf(x))
                                      << ", operand #0 " << dtypeName(elementType);
    if (other.size() != dims.size())
      return emitOpError("operand #") << i + 1 << " has rank " << other.size() << ", operand #0 rank " << dims.size();
    for (size_t d = 0; d < dims.size(); ++d) {
      if (int64_t(d) == axis) {
        dims[d] = dims[d] + other[d];
        continue;
      }
      if (failed(context.require(*this, Requirement::Equal, dims[d], other[d],
                                 "operands #0 and #" + Twine(i + 1) + " have sizes " + dims[d].str() + " and " +
                                     other[d].str() + " in dimension " + Twine(d) + "; only axis " + Twine(axis) +
                                     " may differ")))
        return failure();
      // Both are the same number: keep what is known best.
      if (other[d].constant())
        dims[d] = other[d];
    }
  }
  ResultInfo info = ResultInfo::tensor(elementType, dims);
  if (isFollowed(info) && llvm::all_of(getXs(), [&](Value x) { return isFollowed(context, x); })) {
    info.values.emplace();
    for (Value x : getXs())
      llvm::append_range(*info.values, followedValues(context, x));
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult SliceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> operand(context.dims(getX())), dims;
  int64_t rank = operand.size();
  if (failed(requireVector(*this, context, 1, "starts", rank)) ||
      failed(requireVector(*this, context, 2, "sizes", rank)) ||
      failed(requireVector(*this, context, 3, "steps", rank)) ||
      failed(readSizes(*this, context, getSizes(), rank, "sizes", dims)))
    return failure();
  for (int64_t d = 0; d < rank; ++d) {
    DimExpr start = context.element(getStarts(), d), step = context.element(getSteps(), d);
    auto by = step.constant();
    if (by == 0)
      return emitOpError("step ") << d << " is zero";
    if (!by || dims[d].isConstant(0))
      continue;
    DimExpr last = start + (dims[d] - 1) * step, low = *by > 0 ? start : last, high = *by > 0 ? last : start;
    std::string message = "takes elements " + start.str() + " to " + last.str() + " of dimension " +
                          std::to_string(d) + ", which has " + operand[d].str() + " elements";
    if (failed(context.require(*this, Requirement::LessEqual, context.constant(0), low, message)) ||
        failed(context.require(*this, Requirement::LessEqual, high, operand[d] - 1, message)))
      return failure();
  }
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (rank == 1 && isFollowed(info) && isFollowed(context, getX())) {
    auto start = context.element(getStarts(), 0).constant(), step = context.element(getSteps(), 0).constant();
    if (start && step) {
      SmallVector<DimExpr> values = followedValues(context, getX()), taken;
      for (int64_t i = 0, n = *dims[0].constant(); i < n; ++i)
        if (int64_t at = *start + i * *step; at >= 0 && at < int64_t(values.size()))
          taken.push_back(values[at]);
      if (int64_t(taken.size()) == *dims[0].constant())
        info.values = std::move(taken);
    }
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult PadOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  int64_t rank = dims.size();
  if (failed(requireVector(*this, context, 1, "low", rank)) || failed(requireVector(*this, context, 2, "high", rank)))
    return failure();
  if (!llvm::is_contained({"constant", "reflect", "edge", "wrap"}, getMode()))
    return emitOpError("mode '") << getMode() << "' is none of constant, reflect, edge, wrap";
  if (getValue()) {
    auto type = dyn_cast<RankedTensorType>(getValue().getType());
    if (!type || type.getRank() != 0 || type.getElementType() != elementTypeOf(getX()))
      return emitOpError("value must be a scalar of element type ")
             << dtypeName(elementTypeOf(getX())) << ", has type " << getValue().getType();
  }
  for (int64_t d = 0; d < rank; ++d) {
    DimExpr low = context.element(getLow(), d), high = context.element(getHigh(), d);
    bool grows = !(low.constant() && *low.constant() <= 0 && high.constant() && *high.constant() <= 0);
    if (getMode() != "constant" && grows &&
        failed(context.require(*this, Requirement::LessEqual, context.constant(1), dims[d],
                               "can't pad dimension " + Twine(d) + " of size 0 by mode '" + getMode() + "'")))
      return failure();
    dims[d] = low + dims[d] + high;
    if (dims[d].constant() && *dims[d].constant() < 0)
      return emitOpError("cuts off more than dimension ") << d << " has: its size would be " << *dims[d].constant();
  }
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult TileOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireMovable(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX())), repeats;
  if (failed(requireVector(*this, context, 1, "repeats", dims.size())) ||
      failed(readSizes(*this, context, getRepeats(), dims.size(), "repeats", repeats)))
    return failure();
  for (auto [dim, count] : llvm::zip(dims, repeats))
    dim = dim * count;
  ResultInfo info = ResultInfo::tensor(elementTypeOf(getX()), dims);
  if (dims.size() == 1 && isFollowed(info) && isFollowed(context, getX()) && repeats[0].constant()) {
    SmallVector<DimExpr> values = followedValues(context, getX());
    info.values.emplace();
    for (int64_t i = 0; i < *repeats[0].constant(); ++i)
      llvm::append_range(*info.values, values);
  }
  results.push_back(std::move(info));
  return success();
}

LogicalResult ShapeOfOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  ResultInfo info =
      ResultInfo::tensor(IntegerType::get(getContext(), 64), {context.constant(int64_t(dims.size()))});
  info.values = std::move(dims);
  results.push_back(std::move(info));
  return success();
}
