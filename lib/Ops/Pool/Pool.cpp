//===- Pool.cpp - inference of pooling --------------------------------------------------------------------------------===//
#include "flame/Ops/Pool.h"
#include "PoolGeometry.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Pool.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerPoolOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Pool.cpp.inc"
      >();
}

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

FailureOr<SmallVector<PoolWindow>> flame::poolWindows(Operation *op, ShapeContext &context) {
  if (failed(requireRanked(op, 0, "x")))
    return failure();
  auto numbers = [&](StringRef name) { return op->getAttrOfType<DenseI64ArrayAttr>(name).asArrayRef(); };
  ArrayRef<int64_t> kernel = numbers("kernel"), strides = numbers("strides"), dilations = numbers("dilations"),
                    pads = numbers("pads");
  auto autoPad = op->getAttrOfType<StringAttr>("auto_pad");
  auto ceil = op->getAttrOfType<BoolAttr>("ceil_mode");
  StringRef mode = autoPad ? autoPad.getValue() : "NOTSET";
  bool roundUp = ceil && ceil.getValue();
  int64_t rank = context.rank(op->getOperand(0)), spatial = rank - 2;
  if (spatial < 1)
    return op->emitOpError("x must be [batch, channels, spatial…], has type ") << op->getOperand(0).getType();
  if (int64_t(kernel.size()) != spatial || int64_t(strides.size()) != spatial ||
      int64_t(dilations.size()) != spatial || int64_t(pads.size()) != 2 * spatial)
    return op->emitOpError("x has ") << spatial << " spatial dimensions, but kernel, strides, dilations and pads have "
                                     << kernel.size() << ", " << strides.size() << ", " << dilations.size() << " and "
                                     << pads.size() << " elements (pads need two a dimension)";
  if (!llvm::is_contained({"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}, mode))
    return op->emitOpError("auto_pad '") << mode << "' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER";
  SmallVector<PoolWindow> windows;
  DimExpr zero = context.constant(0);
  for (int64_t d = 0; d < spatial; ++d) {
    constexpr int64_t limit = int64_t(1) << 31;
    for (int64_t number : {kernel[d], strides[d], dilations[d]})
      if (number < 1 || number >= limit)
        return op->emitOpError("kernel, strides and dilations must be positive; spatial dimension ")
               << d << " has " << number;
    PoolWindow window{kernel[d], strides[d], dilations[d], context.dim(op->getOperand(0), d + 2), {}, zero, {}};
    DimExpr stride = context.constant(window.stride);
    if (mode.starts_with("SAME")) {
      window.count = ceilDiv(window.size, stride);
      DimExpr total = max((window.count - 1) * window.stride + window.reach() - window.size, zero);
      DimExpr two = context.constant(2);
      window.low = mode == "SAME_UPPER" ? floorDiv(total, two) : ceilDiv(total, two);
      window.padded = window.size + total;
    } else {
      int64_t low = mode == "VALID" ? 0 : pads[d], high = mode == "VALID" ? 0 : pads[spatial + d];
      if (low < 0 || high < 0 || low >= limit || high >= limit)
        return op->emitOpError("pads must not be negative; spatial dimension ") << d << " has " << low << " and " << high;
      window.low = context.constant(low);
      window.padded = window.size + low + high;
      DimExpr span = window.padded - window.reach();
      bool up = roundUp && mode == "NOTSET";
      window.count = (up ? ceilDiv(span, stride) : floorDiv(span, stride)) + 1;
      if (up) // No window starts in the padding behind the data.
        window.count = min(window.count, ceilDiv(window.size + low, stride));
      std::string message = "the kernel reaches over " + std::to_string(window.reach()) + " elements of spatial dimension " +
                            std::to_string(d) + ", which has only " + window.padded.str() + " with padding";
      if (!up && failed(context.require(op, Requirement::LessEqual, zero, span, message)))
        return failure();
    }
    windows.push_back(window);
  }
  return windows;
}

static FailureOr<ResultInfo> poolResult(Operation *op, ShapeContext &context, Type elementType) {
  FailureOr<SmallVector<PoolWindow>> windows = poolWindows(op, context);
  if (failed(windows))
    return failure();
  SmallVector<DimExpr> dims{context.dim(op->getOperand(0), 0), context.dim(op->getOperand(0), 1)};
  for (const PoolWindow &window : *windows)
    dims.push_back(window.count);
  return ResultInfo::tensor(elementType, dims);
}

static LogicalResult requireFloats(Operation *op) {
  Type type = elementTypeOf(op->getOperand(0));
  if (!isa<FloatType>(type))
    return op->emitOpError("x must be a float tensor, has element type ") << dtypeName(type);
  return success();
}

LogicalResult MaxPoolOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  Type type = elementTypeOf(getX());
  if (!type.isIntOrFloat())
    return emitOpError("can't compare elements of type ") << dtypeName(type);
  FailureOr<ResultInfo> info = poolResult(*this, context, type);
  if (failed(info))
    return failure();
  results.push_back(*info);
  info->elementType = IntegerType::get(getContext(), 64);
  results.push_back(*info);
  return success();
}

LogicalResult AveragePoolOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<ResultInfo> info = failed(requireFloats(*this)) ? FailureOr<ResultInfo>()
                                                            : poolResult(*this, context, elementTypeOf(getX()));
  if (failed(info))
    return failure();
  results.push_back(*info);
  return success();
}

LogicalResult LpPoolOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (!(getP().convertToDouble() > 0))
    return emitOpError("p must be positive, is ") << getP().convertToDouble();
  FailureOr<ResultInfo> info = failed(requireFloats(*this)) ? FailureOr<ResultInfo>()
                                                            : poolResult(*this, context, elementTypeOf(getX()));
  if (failed(info))
    return failure();
  results.push_back(*info);
  return success();
}
