//===- Sequence.cpp - types of sequences and optionals ----------------------------------------------------------------===//
#include "flame/Ops/Sequence.h"
#include "flame/IR/JoinTypes.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Sequence.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerSequenceOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Sequence.cpp.inc"
      >();
}

static FailureOr<SequenceType> requireSequence(Operation *op, Value value) {
  if (auto sequence = dyn_cast<SequenceType>(value.getType()))
    return sequence;
  return op->emitOpError("needs a sequence, has ") << value.getType();
}

static LogicalResult requirePosition(Operation *op, Value position, ShapeContext &context) {
  if (!position)
    return success();
  auto tensor = dyn_cast<RankedTensorType>(position.getType());
  std::optional<int64_t> count;
  if (tensor)
    count = context.numElements(position).constant();
  if (!tensor || !(tensor.getElementType().isInteger(32) || tensor.getElementType().isInteger(64)) || (count && *count != 1))
    return op->emitOpError("position must be an int32 or int64 of one element, has type ") << position.getType();
  return success();
}

/// What is known of a result of type `type`: unknown sizes are for the run to tell.
static ResultInfo resultOf(Operation *op, Type type, ShapeContext &context) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return ResultInfo::other(type);
  ResultInfo info = ResultInfo::tensor(tensor.getElementType(), {});
  for (auto [d, size] : llvm::enumerate(tensor.getShape()))
    info.dims.push_back(ShapedType::isDynamic(size) ? context.resultDim(op, 0, d) : context.constant(size));
  return info;
}

/// `type` made more precise by the type attribute of the op. Null, after an error, if the two contradict each other or
/// leave a tensor's rank unknown.
static Type refine(Operation *op, Type type, std::optional<Type> stated, StringRef what) {
  auto isKnown = [](Type t) { return t && !isa<NoneType, UnrankedTensorType>(t); };
  if (!stated || !*stated) {
    if (isKnown(type))
      return type;
    op->emitOpError("can't tell the rank of ") << what << " from the type " << type << "; state the output's shape in the model";
    return {};
  }
  Type joined = joinTypes(type, *stated);
  if (!joined) {
    op->emitOpError("gives ") << what << " of type " << type << ", the output is said to be " << *stated;
    return {};
  }
  return isKnown(type) ? type : *stated;
}

LogicalResult SequenceEmptyOp::inferResults(ShapeContext &, SmallVectorImpl<ResultInfo> &results) {
  results.push_back(ResultInfo::other(SequenceType::get(getContext(), NoneType::get(getContext()))));
  return success();
}

LogicalResult SequenceConstructOp::inferResults(ShapeContext &, SmallVectorImpl<ResultInfo> &results) {
  if (getElements().empty())
    return emitOpError("needs an element; an empty sequence is sequence_empty");
  Type element = getElements()[0].getType();
  for (Value other : getElements().drop_front()) {
    Type joined = joinTypes(element, other.getType());
    if (!joined)
      return emitOpError("has elements of types ") << element << " and " << other.getType() << "; element types must agree";
    element = joined;
  }
  results.push_back(ResultInfo::other(SequenceType::get(getContext(), element)));
  return success();
}

LogicalResult SequenceAtOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto sequence = requireSequence(*this, getSequence());
  if (failed(sequence) || failed(requirePosition(*this, getPosition(), context)))
    return failure();
  Type type = refine(*this, sequence->getElementType(), getType(), "an element");
  if (!type)
    return failure();
  results.push_back(resultOf(*this, type, context));
  return success();
}

LogicalResult SequenceEraseOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto sequence = requireSequence(*this, getSequence());
  if (failed(sequence) || failed(requirePosition(*this, getPosition(), context)))
    return failure();
  results.push_back(ResultInfo::other(*sequence));
  return success();
}

LogicalResult SequenceInsertOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto sequence = requireSequence(*this, getSequence());
  if (failed(sequence) || failed(requirePosition(*this, getPosition(), context)))
    return failure();
  Type joined = joinTypes(sequence->getElementType(), getElement().getType());
  if (!joined)
    return emitOpError("can't insert ") << getElement().getType() << " into " << *sequence << "; element types must agree";
  results.push_back(ResultInfo::other(SequenceType::get(getContext(), joined)));
  return success();
}

LogicalResult SequenceLengthOp::inferResults(ShapeContext &, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireSequence(*this, getSequence())))
    return failure();
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 64), {}));
  return success();
}

LogicalResult SplitToSequenceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto tensor = dyn_cast<RankedTensorType>(getX().getType());
  int64_t axis = getAxis();
  if (!tensor || axis < 0 || axis >= tensor.getRank())
    return emitOpError("axis ") << axis << " is out of range for " << getX().getType();
  SmallVector<int64_t> shape(tensor.getShape());
  if (Value split = getSplit()) {
    auto type = dyn_cast<RankedTensorType>(split.getType());
    if (!type || type.getRank() > 1 || !(type.getElementType().isInteger(32) || type.getElementType().isInteger(64)))
      return emitOpError("split must be an int32 or int64 tensor of rank 0 or 1, has type ") << split.getType();
    auto sizes = context.constants(split);
    if (sizes && llvm::any_of(*sizes, [](int64_t size) { return size < 0; }))
      return emitOpError("split holds a negative size");
    if (sizes && type.getRank() == 0 && (*sizes)[0] == 0)
      return emitOpError("split is 0; pieces need a size");
    bool even = sizes && !sizes->empty() && llvm::all_equal(*sizes) &&
                (type.getRank() == 1 || (!ShapedType::isDynamic(shape[axis]) && shape[axis] % (*sizes)[0] == 0));
    shape[axis] = even ? (*sizes)[0] : ShapedType::kDynamic;
  } else if (getKeepdims()) {
    shape[axis] = 1;
  } else {
    shape.erase(shape.begin() + axis);
  }
  results.push_back(ResultInfo::other(SequenceType::get(getContext(), RankedTensorType::get(shape, tensor.getElementType()))));
  return success();
}

LogicalResult ConcatFromSequenceOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto sequence = requireSequence(*this, getSequence());
  if (failed(sequence))
    return failure();
  Type type = sequence->getElementType();
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    int64_t rank = tensor.getRank() + getNewAxis(), axis = getAxis();
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank)
      return emitOpError("axis ") << int64_t(getAxis()) << " is out of range for a result of rank " << rank;
    SmallVector<int64_t> shape(tensor.getShape());
    if (getNewAxis())
      shape.insert(shape.begin() + axis, ShapedType::kDynamic);
    else
      shape[axis] = ShapedType::kDynamic;
    type = RankedTensorType::get(shape, tensor.getElementType());
  }
  type = refine(*this, type, getType(), "the concatenation");
  if (!type)
    return failure();
  results.push_back(resultOf(*this, type, context));
  return success();
}

LogicalResult OptionalConstructOp::inferResults(ShapeContext &, SmallVectorImpl<ResultInfo> &results) {
  Type type = getValue() ? getValue().getType() : getType().value_or(Type());
  if (!type || isa<OptionalType>(type))
    return emitOpError("needs a tensor or a sequence, or the type that is absent");
  results.push_back(ResultInfo::other(OptionalType::get(getContext(), type)));
  return success();
}

LogicalResult OptionalGetElementOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  auto optional = dyn_cast<OptionalType>(getOptional().getType());
  if (!optional)
    return emitOpError("needs an optional, has ") << getOptional().getType();
  Type type = refine(*this, optional.getElementType(), getType(), "the value");
  if (!type)
    return failure();
  results.push_back(resultOf(*this, type, context));
  return success();
}

LogicalResult OptionalHasElementOp::inferResults(ShapeContext &, SmallVectorImpl<ResultInfo> &results) {
  if (!isa<OptionalType>(getOptional().getType()))
    return emitOpError("needs an optional, has ") << getOptional().getType();
  results.push_back(ResultInfo::tensor(IntegerType::get(getContext(), 1), {}));
  return success();
}
