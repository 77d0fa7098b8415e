//===- InferenceRules.cpp - checks and symbolic values that inference methods share -----------------------------------===//
#include "flame/Ops/InferenceRules.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace flame;

std::string flame::dimsString(ArrayRef<DimExpr> dims) {
  std::string text = "[";
  for (auto [i, dim] : llvm::enumerate(dims))
    text += (i ? ", " : "") + dim.str();
  return text + "]";
}

LogicalResult flame::requireRanked(Operation *op, unsigned i, StringRef name) {
  Type type = op->getOperand(i).getType();
  if (!isa<RankedTensorType>(type))
    return op->emitOpError(name) << " must be a tensor of known rank, has type " << type;
  return success();
}

LogicalResult flame::requireMovable(Operation *op, unsigned i, StringRef name) {
  if (failed(requireRanked(op, i, name)))
    return failure();
  Type type = cast<RankedTensorType>(op->getOperand(i).getType()).getElementType();
  if (dtypeBytes(type) == 0)
    return op->emitOpError(name) << " has element type " << dtypeName(type)
                                 << ", which no kernel can move; use flame.take_elements";
  return success();
}

FailureOr<int64_t> flame::requireVector(Operation *op, ShapeContext &context, unsigned i, StringRef name,
                                        int64_t count) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
  if (!type || type.getRank() != 1 || !type.getElementType().isInteger(64))
    return op->emitOpError(name) << " must be an i64 vector, has type " << op->getOperand(i).getType();
  std::optional<int64_t> length = context.dim(op->getOperand(i), 0).constant();
  if (!length) {
    if (count >= 0) {
      if (failed(context.require(op, Requirement::Equal, context.dim(op->getOperand(i), 0), context.constant(count),
                                 name + " must have " + Twine(count) + " elements")))
        return failure();
      return count;
    }
    return op->emitOpError(name) << " must have a known number of elements, has type " << type
                                 << ": its length is the rank of the result";
  }
  if (count >= 0 && *length != count)
    return op->emitOpError(name) << " must have " << count << " elements, has " << *length;
  return *length;
}

LogicalResult flame::requireIntegers(Operation *op, unsigned i, StringRef name) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(i).getType());
  if (!type || !isa<IntegerType>(type.getElementType()) || type.getElementType().isInteger(1))
    return op->emitOpError(name) << " must be an integer tensor, has type " << op->getOperand(i).getType();
  return success();
}

bool flame::isFollowed(const ResultInfo &info) {
  if (info.type || !info.elementType.isIntOrIndex() || info.dims.size() > 1)
    return false;
  if (info.dims.empty())
    return true;
  auto count = info.dims[0].constant();
  return count && *count >= 0 && *count <= maxFollowedValues;
}

bool flame::isFollowed(ShapeContext &context, Value value) {
  const ResultInfo &info = context.info(value);
  return info.values || isFollowed(info);
}

SmallVector<DimExpr> flame::followedValues(ShapeContext &context, Value value) {
  if (auto known = context.values(value))
    return SmallVector<DimExpr>(*known);
  SmallVector<DimExpr> values;
  int64_t count = context.rank(value) == 0 ? 1 : *context.dim(value, 0).constant();
  for (int64_t i = 0; i < count; ++i)
    values.push_back(context.element(value, i));
  return values;
}

std::optional<SmallVector<int64_t>> flame::integersOf(Attribute value, int64_t limit) {
  auto elements = dyn_cast_or_null<ElementsAttr>(value);
  if (!elements || !elements.getElementType().isIntOrIndex() || elements.getNumElements() > limit)
    return std::nullopt;
  SmallVector<int64_t> integers;
  bool isUnsigned = elements.getElementType().isUnsignedInteger() || elements.getElementType().isInteger(1);
  if (auto dense = dyn_cast<DenseIntElementsAttr>(value)) {
    for (const APInt &integer : dense.getValues<APInt>())
      integers.push_back(isUnsigned ? int64_t(integer.getZExtValue()) : integer.getSExtValue());
    return integers;
  }
  if (auto resource = dyn_cast<DenseI64ResourceElementsAttr>(value)) {
    if (auto array = resource.tryGetAsArrayRef())
      return SmallVector<int64_t>(*array);
  } else if (auto resource = dyn_cast<DenseI32ResourceElementsAttr>(value)) {
    if (auto array = resource.tryGetAsArrayRef()) {
      integers.append(array->begin(), array->end());
      return integers;
    }
  }
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> flame::constantIntegers(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getName().getStringRef() != "flame.constant")
    return std::nullopt;
  return integersOf(op->getAttr("value"));
}
