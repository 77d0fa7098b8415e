//===- Conv.cpp - inference of convolutions ---------------------------------------------------------------------------===//
#include "flame/Ops/Conv.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Conv.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerConvOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Conv.cpp.inc"
      >();
}

namespace {
/// What the convolutions have in common, checked.
struct Window {
  int64_t rank = 0; // spatial
  SmallVector<DimExpr> x, w;
  SmallVector<DimExpr> pads; // begin + end of each spatial dim
};
} // namespace

/// Equality that is required at run time where it isn't known.
static LogicalResult requireEqual(Operation *op, ShapeContext &context, DimExpr a, DimExpr b, const Twine &what) {
  if (a == b)
    return success();
  if (a.constant() && b.constant())
    return op->emitOpError(what) << ", are " << a.str() << " and " << b.str();
  return context.require(op, Requirement::Equal, a, b, what);
}

static SmallVector<DimExpr> weightDims(ConvOp op, ShapeContext &context) { return op.weightDims(context); }
template <typename Op> static SmallVector<DimExpr> weightDims(Op op, ShapeContext &context) {
  return SmallVector<DimExpr>(context.dims(op.getW()));
}
static bool isPacked(ConvOp op) { return bool(op.getPackedShape()); }
template <typename Op> static bool isPacked(Op) { return false; }

template <typename Op> static FailureOr<Window> checkWindow(Op op, ShapeContext &context) {
  if (failed(requireRanked(op, 0, "x")) || failed(requireRanked(op, 1, "w")))
    return failure();
  Window window;
  window.x.assign(context.dims(op.getX()));
  window.w = weightDims(op, context);
  window.rank = int64_t(window.x.size()) - 2;
  auto fail = [&](const Twine &message) -> FailureOr<Window> { return op.emitOpError(message), failure(); };
  if (window.rank < 1)
    return fail("x must have rank 3 or more (batch, channels, spatial dims), has shape " + dimsString(window.x));
  if (window.w.size() != window.x.size())
    return fail("x and w must have the same rank, have shapes " + dimsString(window.x) + " and " + dimsString(window.w));
  Type type = getElementTypeOrSelf(op.getX().getType());
  if (type != getElementTypeOrSelf(op.getW().getType()) && !isPacked(op))
    return fail("x has element type " + dtypeName(type) + ", w " + dtypeName(getElementTypeOrSelf(op.getW().getType())) +
                "; cast one of them");
  if (!isNumeric(type) || type.isInteger(1))
    return fail("can't convolve elements of type " + dtypeName(type));
  for (auto [name, values] : {std::pair{"strides", op.getStrides()}, std::pair{"dilations", op.getDilations()}}) {
    if (int64_t(values.size()) != window.rank)
      return fail(Twine(name) + " must have " + Twine(window.rank) + " elements, has " + Twine(values.size()));
    for (int64_t value : values)
      if (value < 1)
        return fail(Twine(name) + " must be 1 or more, has " + Twine(value));
  }
  if (op.getGroups() < 1)
    return fail("groups must be 1 or more, is " + Twine(op.getGroups()));
  if (failed(requireVector(op, context, 2, "pads", 2 * window.rank)))
    return failure();
  for (int64_t d = 0; d < window.rank; ++d)
    window.pads.push_back(context.element(op.getPads(), d) + context.element(op.getPads(), d + window.rank));
  return window;
}

/// The spatial dims of a forward convolution's result.
template <typename Op> static void appendOutputDims(Op op, ShapeContext &context, const Window &window,
                                                    SmallVectorImpl<DimExpr> &dims) {
  for (int64_t d = 0; d < window.rank; ++d) {
    DimExpr reach = (window.w[d + 2] - 1) * op.getDilations()[d] + 1;
    DimExpr room = window.x[d + 2] + window.pads[d] - reach;
    DimExpr size = floorDiv(room, context.constant(op.getStrides()[d])) + 1;
    // A window larger than what it slides over gives nothing.
    dims.push_back(size.constant() ? context.constant(std::max<int64_t>(0, *size.constant()))
                                   : size.isNonNegative() ? size : max(size, context.constant(0)));
  }
}

SmallVector<DimExpr> ConvOp::weightDims(ShapeContext &context) {
  std::optional<ArrayRef<int64_t>> shape = getPackedShape();
  if (!shape)
    return SmallVector<DimExpr>(context.dims(getW()));
  SmallVector<DimExpr> dims;
  for (int64_t size : *shape)
    dims.push_back(context.constant(size));
  return dims;
}

LogicalResult ConvOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<Window> window = checkWindow(*this, context);
  if (failed(window))
    return failure();
  int64_t groups = getGroups();
  if (failed(requireEqual(*this, context, window->x[1], window->w[1] * groups,
                          "the channels of x must be groups times the second dim of w")))
    return failure();
  if (auto channels = window->w[0].constant(); channels && *channels % groups)
    return emitOpError("the first dim of w, ") << *channels << ", must be a multiple of groups, " << groups;
  if (getPackedShape()) {
    // [groups, panels, inner, width]
    ArrayRef<DimExpr> packed = context.dims(getW());
    DimExpr inner = window->w[1];
    for (DimExpr size : ArrayRef(window->w).drop_front(2))
      inner = inner * size;
    auto panels = packed.size() == 4 ? packed[1].constant() : std::nullopt;
    auto width = packed.size() == 4 ? packed[3].constant() : std::nullopt;
    if (!panels || !width || !packed[0].isConstant(groups) || packed[2] != inner ||
        *panels * *width < *window->w[0].constant() / groups)
      return emitOpError("packed w of shape ") << dimsString(packed) << " doesn't hold a weight of shape "
                                               << dimsString(window->w) << " in " << groups << " groups";
  }
  SmallVector<DimExpr> dims{window->x[0], window->w[0]};
  appendOutputDims(*this, context, *window, dims);
  results.push_back(ResultInfo::tensor(getElementTypeOrSelf(getX().getType()), dims));
  return success();
}

LogicalResult ConvTransposeOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<Window> window = checkWindow(*this, context);
  if (failed(window) || failed(requireVector(*this, context, 3, "output_padding", window->rank)))
    return failure();
  if (failed(requireEqual(*this, context, window->x[1], window->w[0],
                          "the channels of x must be the first dim of w")))
    return failure();
  if (auto channels = window->w[0].constant(); channels && *channels % int64_t(getGroups()))
    return emitOpError("the first dim of w, ") << *channels << ", must be a multiple of groups, " << getGroups();
  SmallVector<DimExpr> dims{window->x[0], window->w[1] * int64_t(getGroups())};
  for (int64_t d = 0; d < window->rank; ++d) {
    DimExpr size = (window->x[d + 2] - 1) * getStrides()[d] + context.element(getOutputPadding(), d) +
                   (window->w[d + 2] - 1) * getDilations()[d] + 1 - window->pads[d];
    if (size.constant() && *size.constant() < 0)
      return emitOpError("spatial dim ") << d << " of the result would be " << *size.constant()
                                         << ": the pads exceed what the windows cover";
    dims.push_back(size.isNonNegative() ? size : max(size, context.constant(0)));
  }
  results.push_back(ResultInfo::tensor(getElementTypeOrSelf(getX().getType()), dims));
  return success();
}

LogicalResult DeformConvOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<Window> window = checkWindow(*this, context);
  if (failed(window) || failed(requireRanked(*this, 3, "offset")))
    return failure();
  if (!isa<FloatType>(getElementTypeOrSelf(getX().getType())))
    return emitOpError("needs float elements, has ") << dtypeName(getElementTypeOrSelf(getX().getType()));
  int64_t groups = getGroups(), offsetGroups = getOffsetGroups();
  if (failed(requireEqual(*this, context, window->x[1], window->w[1] * groups,
                          "the channels of x must be groups times the second dim of w")))
    return failure();
  if (offsetGroups < 1 || (window->x[1].constant() && *window->x[1].constant() % offsetGroups))
    return emitOpError("the channels of x, ") << window->x[1].str() << ", must be a multiple of offset_groups, "
                                              << offsetGroups;
  SmallVector<DimExpr> dims{window->x[0], window->w[0]};
  appendOutputDims(*this, context, *window, dims);
  DimExpr taps = context.constant(offsetGroups);
  for (int64_t d = 0; d < window->rank; ++d)
    taps = taps * window->w[d + 2];
  for (Value operand : {getOffset(), getMask()}) {
    if (!operand)
      continue;
    StringRef name = operand == getMask() ? "mask" : "offset";
    ArrayRef<DimExpr> own = context.dims(operand);
    if (own.size() != dims.size())
      return emitOpError(name) << " must have rank " << dims.size() << ", has shape " << dimsString(own);
    DimExpr channels = operand == getMask() ? taps : taps * window->rank;
    if (failed(requireEqual(*this, context, own[1], channels,
                            name + " must have one channel per offset group and kernel element" +
                                (operand == getMask() ? "" : " and spatial dim"))))
      return failure();
    for (size_t d = 2; d < dims.size(); ++d)
      if (failed(requireEqual(*this, context, own[d], dims[d], name + " must have the spatial dims of the result")))
        return failure();
  }
  results.push_back(ResultInfo::tensor(getElementTypeOrSelf(getX().getType()), dims));
  return success();
}
