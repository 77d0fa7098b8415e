//===- String.cpp - inference of string functions ---------------------------------------------------------------------===//
#include "flame/Ops/String.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/String.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerStringOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/String.cpp.inc"
      >();
}

static LogicalResult requireStrings(Operation *op, unsigned i, StringRef name) {
  if (failed(requireRanked(op, i, name)))
    return failure();
  Type element = cast<TensorType>(op->getOperand(i).getType()).getElementType();
  if (!isa<StringType>(element))
    return op->emitOpError() << name << " must be strings, has element type " << dtypeName(element);
  return success();
}

/// The broadcast of all operands with an element type.
static LogicalResult inferBroadcast(Operation *op, ShapeContext &context, Type elementType,
                                    SmallVectorImpl<ResultInfo> &results) {
  SmallVector<DimExpr> dims;
  for (Value operand : op->getOperands()) {
    SmallVector<DimExpr> other(context.dims(operand));
    SmallVector<DimExpr> merged(std::max(dims.size(), other.size()));
    for (size_t i = 1; i <= merged.size(); ++i) {
      DimExpr a = i <= dims.size() ? dims[dims.size() - i] : context.constant(1);
      DimExpr b = i <= other.size() ? other[other.size() - i] : context.constant(1);
      if (!(merged[merged.size() - i] = context.broadcast(a, b)))
        return op->emitOpError("can't broadcast shapes ") << dimsString(dims) << " and " << dimsString(other);
    }
    dims = std::move(merged);
  }
  results.push_back(ResultInfo::tensor(elementType, dims));
  return success();
}

LogicalResult StringConcatOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")) || failed(requireStrings(*this, 1, "y")))
    return failure();
  return inferBroadcast(*this, context, StringType::get(getContext()), results);
}

LogicalResult EqualStringOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")) || failed(requireStrings(*this, 1, "y")))
    return failure();
  return inferBroadcast(*this, context, IntegerType::get(getContext(), 1), results);
}

LogicalResult WhereStringOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 1, "x")) || failed(requireStrings(*this, 2, "y")))
    return failure();
  if (failed(requireRanked(*this, 0, "condition")))
    return failure();
  if (Type type = cast<TensorType>(getCondition().getType()).getElementType(); !type.isInteger(1))
    return emitOpError("condition must be bool, has element type ") << dtypeName(type);
  return inferBroadcast(*this, context, StringType::get(getContext()), results);
}

LogicalResult StringSplitOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  ResultInfo count = ResultInfo::tensor(IntegerType::get(getContext(), 64), dims);
  dims.push_back(context.resultDim(*this, 0, dims.size()));
  results.push_back(ResultInfo::tensor(StringType::get(getContext()), dims));
  results.push_back(std::move(count));
  return success();
}

LogicalResult StringNormalizerOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  if (dims.empty() || dims.size() > 2 || (dims.size() == 2 && dims[0].constant() && !dims[0].isConstant(1)))
    return emitOpError("x must have shape [c] or [1, c], has ") << dimsString(dims);
  StringRef action = getCaseChangeAction();
  if (action != "NONE" && action != "LOWER" && action != "UPPER")
    return emitOpError("case_change_action is \"") << action << "\"; it must be NONE, LOWER or UPPER";
  if (getStopwords() && !getStopwords()->empty()) {
    // If nothing is left, one empty string stands for it.
    dims.back() = context.resultDim(*this, 0, dims.size() - 1);
  }
  results.push_back(ResultInfo::tensor(StringType::get(getContext()), dims));
  return success();
}

LogicalResult RegexFullMatchOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")))
    return failure();
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 1), context.dims(getX())));
  return success();
}

LogicalResult CastFromStringOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireStrings(*this, 0, "x")))
    return failure();
  if (!isNumeric(getTo()))
    return emitOpError("can't make ") << dtypeName(getTo()) << " of strings";
  results.push_back(ResultInfo::tensor(getTo(), context.dims(getX())));
  return success();
}

LogicalResult CastToStringOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  if (Type element = cast<TensorType>(getX().getType()).getElementType(); !isNumeric(element))
    return emitOpError("can't spell ") << dtypeName(element);
  results.push_back(ResultInfo::tensor(StringType::get(getContext()), context.dims(getX())));
  return success();
}

LogicalResult TfIdfVectorizerOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  if (dims.empty() || dims.size() > 2)
    return emitOpError("x must have shape [c] or [n, c], has ") << dimsString(dims);
  Type element = cast<TensorType>(getX().getType()).getElementType();
  bool strings = isa<StringType>(element);
  if (!strings && !element.isInteger(32) && !element.isInteger(64))
    return emitOpError("x must be strings, int32 or int64, has element type ") << dtypeName(element);
  if (strings ? !getPoolStrings() : !getPoolInt64s())
    return emitOpError(strings ? "x holds strings, the pool must be in pool_strings"
                               : "x holds integers, the pool must be in pool_int64s");
  StringRef mode = getMode();
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    return emitOpError("mode is \"") << mode << "\"; it must be TF, IDF or TFIDF";
  int64_t width = 0;
  for (int64_t index : getNgramIndexes()) {
    if (index < 0 || index >= (int64_t(1) << 31))
      return emitOpError("ngram_indexes holds ") << index << ", which is no column";
    width = std::max(width, index + 1);
  }
  dims.back() = context.constant(width);
  results.push_back(ResultInfo::tensor(Float32Type::get(getContext()), dims));
  return success();
}

LogicalResult LabelEncoderOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  Type from = cast<TensorType>(getX().getType()).getElementType();
  auto sizeOf = [](Type element, auto ints, auto floats, auto strings) -> std::optional<size_t> {
    if (isa<StringType>(element))
      return strings ? std::optional<size_t>(strings->size()) : std::nullopt;
    if (isa<FloatType>(element))
      return floats ? std::optional<size_t>(floats->size()) : std::nullopt;
    return ints ? std::optional<size_t>(ints->size()) : std::nullopt;
  };
  auto keys = sizeOf(from, getKeysInt64s(), getKeysFloats(), getKeysStrings());
  auto values = sizeOf(getDtype(), getValuesInt64s(), getValuesFloats(), getValuesStrings());
  if (!keys)
    return emitOpError("has no keys of the operand's element type ") << dtypeName(from);
  if (!values)
    return emitOpError("has no values of the result's element type ") << dtypeName(getDtype());
  if (*keys != *values)
    return emitOpError("has ") << *keys << " keys and " << *values << " values; each key needs one value";
  results.push_back(ResultInfo::tensor(getDtype(), context.dims(getX())));
  return success();
}
