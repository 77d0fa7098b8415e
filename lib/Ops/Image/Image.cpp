//===- Image.cpp - inference of sampling ops --------------------------------------------------------------------------===//
#include "flame/Ops/Image.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Image.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerImageOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Image.cpp.inc"
      >();
}

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

static LogicalResult oneOf(Operation *op, StringRef name, StringRef value, ArrayRef<StringRef> choices) {
  if (llvm::is_contained(choices, value))
    return success();
  return op->emitOpError(name) << " '" << value << "' is none of " << llvm::join(choices, ", ");
}

static LogicalResult requireRank(Operation *op, ShapeContext &context, unsigned i, StringRef name, int64_t rank) {
  if (failed(requireRanked(op, i, name)))
    return failure();
  if (context.rank(op->getOperand(i)) != rank)
    return op->emitOpError(name) << " must have rank " << rank << ", has type " << op->getOperand(i).getType();
  return success();
}

static LogicalResult requireFloats(Operation *op, unsigned i, StringRef name) {
  if (!isa<FloatType>(elementTypeOf(op->getOperand(i))))
    return op->emitOpError(name) << " must be a float tensor, has type " << op->getOperand(i).getType();
  return success();
}

LogicalResult ResizeOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")) || failed(requireVector(*this, context, 1, "size", 1)) ||
      failed(oneOf(*this, "mode", getMode(), {"nearest", "linear", "cubic"})) ||
      failed(oneOf(*this, "coordinates", getCoordinates(),
                   {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                    "tf_crop_and_resize"})) ||
      failed(oneOf(*this, "rounding", getRounding(), {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  int64_t axis = getAxis();
  if (axis < 0 || axis >= int64_t(dims.size()))
    return emitOpError("axis ") << axis << " is out of range for rank " << dims.size();
  if (!elementTypeOf(getX()).isIntOrFloat())
    return emitOpError("can't interpolate elements of type ") << dtypeName(elementTypeOf(getX()));
  bool crops = getCoordinates() == "tf_crop_and_resize";
  if (getTransform()) {
    if (failed(requireRank(*this, context, 2, "transform", 1)) || failed(requireFloats(*this, 2, "transform")))
      return failure();
    DimExpr length = context.dim(getTransform(), 0);
    if (!length.isConstant(crops ? 3 : 1))
      return emitOpError("transform must have ") << (crops ? 3 : 1) << " elements for " << getCoordinates() << ", has "
                                                 << length.str();
  } else if (crops)
    return emitOpError("needs a transform for tf_crop_and_resize");
  DimExpr size = context.element(getSize(), 0, /*nonNegative=*/true);
  if (size.constant() && *size.constant() < 0)
    return emitOpError("size is negative: ") << *size.constant();
  // From nothing only nothing can be sampled.
  if (failed(context.require(*this, Requirement::LessEqual, min(size, context.constant(1)), dims[axis],
                             "can't sample from dimension " + Twine(axis) + ", which is empty")))
    return failure();
  dims[axis] = size;
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult GridSampleOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  int64_t rank = context.rank(getX()), spatial = rank - 2;
  if (spatial < 1)
    return emitOpError("x must be [batch, channels, spatial…], has type ") << getX().getType();
  if (failed(requireRank(*this, context, 1, "grid", rank)) || failed(requireFloats(*this, 1, "grid")) ||
      failed(oneOf(*this, "mode", getMode(), {"nearest", "linear", "cubic"})) ||
      failed(oneOf(*this, "padding", getPadding(), {"zeros", "border", "reflection"})))
    return failure();
  if (!elementTypeOf(getX()).isIntOrFloat())
    return emitOpError("can't interpolate elements of type ") << dtypeName(elementTypeOf(getX()));
  DimExpr batch = context.dim(getX(), 0);
  if (failed(context.require(*this, Requirement::Equal, context.dim(getGrid(), 0), batch,
                             "x has batch " + batch.str() + ", grid " + context.dim(getGrid(), 0).str())) ||
      failed(context.require(*this, Requirement::Equal, context.dim(getGrid(), rank - 1), context.constant(spatial),
                             "the last dimension of grid must be " + Twine(spatial))))
    return failure();
  SmallVector<DimExpr> dims{batch, context.dim(getX(), 1)};
  for (int64_t d = 0; d < spatial; ++d)
    dims.push_back(context.dim(getGrid(), d + 1));
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult RoiAlignOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRank(*this, context, 0, "x", 4)) || failed(requireFloats(*this, 0, "x")) ||
      failed(requireRank(*this, context, 1, "rois", 2)) || failed(requireFloats(*this, 1, "rois")) ||
      failed(requireRank(*this, context, 2, "batch_indices", 1)) || failed(requireIntegers(*this, 2, "batch_indices")) ||
      failed(oneOf(*this, "mode", getMode(), {"avg", "max"})))
    return failure();
  if (getOutputHeight() < 1 || getOutputWidth() < 1 || getSamplingRatio() < 0)
    return emitOpError("output_height and output_width must be positive and sampling_ratio not negative");
  DimExpr count = context.dim(getRois(), 0);
  if (failed(context.require(*this, Requirement::Equal, context.dim(getRois(), 1), context.constant(4),
                             "the last dimension of rois must be 4")) ||
      failed(context.require(*this, Requirement::Equal, context.dim(getBatchIndices(), 0), count,
                             "there are " + count.str() + " rois and " + context.dim(getBatchIndices(), 0).str() +
                                 " batch indices")))
    return failure();
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()),
                                       {count, context.dim(getX(), 1), context.constant(getOutputHeight()),
                                        context.constant(getOutputWidth())}));
  return success();
}

LogicalResult MaxRoiPoolOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRank(*this, context, 0, "x", 4)) || failed(requireFloats(*this, 0, "x")) ||
      failed(requireRank(*this, context, 1, "rois", 2)) || failed(requireFloats(*this, 1, "rois")))
    return failure();
  if (getOutputHeight() < 1 || getOutputWidth() < 1)
    return emitOpError("output_height and output_width must be positive");
  if (failed(context.require(*this, Requirement::Equal, context.dim(getRois(), 1), context.constant(5),
                             "the last dimension of rois must be 5")))
    return failure();
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()),
                                       {context.dim(getRois(), 0), context.dim(getX(), 1),
                                        context.constant(getOutputHeight()), context.constant(getOutputWidth())}));
  return success();
}

LogicalResult Col2ImOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<int64_t> spatial = requireVector(*this, context, 1, "image");
  if (failed(spatial) || failed(requireVector(*this, context, 2, "block", *spatial)) ||
      failed(requireRank(*this, context, 0, "x", 3)))
    return failure();
  if (int64_t(getStrides().size()) != *spatial || int64_t(getDilations().size()) != *spatial ||
      int64_t(getPads().size()) != 2 * *spatial)
    return emitOpError("image has ") << *spatial << " dimensions, but strides, dilations and pads have "
                                     << getStrides().size() << ", " << getDilations().size() << " and "
                                     << getPads().size() << " elements (pads need two a dimension)";
  for (int64_t number : llvm::concat<const int64_t>(getStrides(), getDilations()))
    if (number < 1)
      return emitOpError("strides and dilations must be positive, one is ") << number;
  DimExpr one = context.constant(1), blockSize = one, blocks = one;
  SmallVector<DimExpr> image;
  for (int64_t d = 0; d < *spatial; ++d) {
    DimExpr size = context.element(getImage(), d, /*nonNegative=*/true), block = context.element(getBlock(), d, true);
    if (block.constant() && *block.constant() < 1)
      return emitOpError("block size ") << d << " must be positive, is " << *block.constant();
    image.push_back(size);
    blockSize = blockSize * block;
    DimExpr span = size + getPads()[d] + getPads()[*spatial + d] - (block - 1) * getDilations()[d] - 1;
    blocks = blocks * (floorDiv(span, context.constant(getStrides()[d])) + 1);
  }
  DimExpr channels = floorDiv(context.dim(getX(), 1), blockSize);
  if (failed(context.require(*this, Requirement::Equal, channels * blockSize, context.dim(getX(), 1),
                             "dimension 1 of x, " + context.dim(getX(), 1).str() + ", is no multiple of the block's " +
                                 blockSize.str() + " elements")) ||
      failed(context.require(*this, Requirement::Equal, blocks, context.dim(getX(), 2),
                             "dimension 2 of x is " + context.dim(getX(), 2).str() + ", the image has " +
                                 blocks.str() + " blocks")))
    return failure();
  SmallVector<DimExpr> dims{context.dim(getX(), 0), channels};
  llvm::append_range(dims, image);
  results.push_back(ResultInfo::tensor(elementTypeOf(getX()), dims));
  return success();
}

LogicalResult DetOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")) || failed(requireFloats(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  size_t rank = dims.size();
  if (rank < 2)
    return emitOpError("x must be [batch…, n, n], has type ") << getX().getType();
  if (failed(context.require(*this, Requirement::Equal, dims[rank - 2], dims[rank - 1],
                             "matrices must be square, they are " + dims[rank - 2].str() + " by " + dims[rank - 1].str())))
    return failure();
  Type type = elementTypeOf(getX());
  ResultInfo factors = ResultInfo::tensor(type, dims);
  dims.resize(rank - 2);
  results.push_back(ResultInfo::tensor(type, dims));
  results.push_back(std::move(factors));
  return success();
}
