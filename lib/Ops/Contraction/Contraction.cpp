//===- Contraction.cpp - inference of matrix products -----------------------------------------------------------------===//
#include "flame/Ops/Contraction.h"
#include "flame/Ops/InferenceRules.h"
#include "flame/Ops/Shape.h"
#include "mlir/IR/PatternMatch.h"

#define GET_OP_CLASSES
#include "flame/Ops/Contraction.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerContractionOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Contraction.cpp.inc"
      >();
}

LogicalResult MatMulOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")) || failed(requireRanked(*this, 1, "y")))
    return failure();
  Type left = getElementTypeOrSelf(getX().getType()), right = getElementTypeOrSelf(getY().getType());
  Type type = getType().value_or(left);
  if (!isNumeric(left) || !isNumeric(right) || left.isInteger(1) || right.isInteger(1))
    return emitOpError("operands have element types ")
           << dtypeName(left) << " and " << dtypeName(right) << "; a product needs numbers";
  if (left != right && !getType())
    return emitOpError("operands have element types ")
           << dtypeName(left) << " and " << dtypeName(right) << "; cast one of them";
  if (!type.isIntOrFloat() || isa<FloatType>(type) != isa<FloatType>(left) || isa<FloatType>(left) != isa<FloatType>(right))
    return emitOpError("can't multiply ") << dtypeName(left) << " by " << dtypeName(right) << " giving "
                                          << dtypeName(type) << "; cast the operands first";

  SmallVector<DimExpr> x(context.dims(getX())), y(context.dims(getY()));
  if (x.empty() || y.empty())
    return emitOpError("operands need rank 1 or more, have shapes ") << dimsString(x) << " and " << dimsString(y);
  if ((getTransposeX() && x.size() < 2) || (getTransposeY() && y.size() < 2))
    return emitOpError("can't transpose an operand of rank 1, has shapes ") << dimsString(x) << " and " << dimsString(y);
  if (auto columns = getPackedColumns()) {
    // Seen as the matrix that it was.
    if (y.size() < 3 || getTransposeY())
      return emitOpError("packed y must have rank 3 or more and no transpose_y, has shape ") << dimsString(y);
    auto panels = y[y.size() - 3].constant(), width = y.back().constant();
    if (!panels || !width || *columns < 0 || *panels * *width < int64_t(*columns))
      return emitOpError("packed y of shape ") << dimsString(y) << " doesn't hold " << *columns << " columns";
    y.back() = context.constant(*columns);
    y.erase(y.end() - 3);
  }
  if (getTransposeX())
    std::swap(x[x.size() - 1], x[x.size() - 2]);
  if (getTransposeY())
    std::swap(y[y.size() - 1], y[y.size() - 2]);
  bool row = x.size() == 1, column = y.size() == 1;
  DimExpr inner = x.back(), other = column ? y.back() : y[y.size() - 2];
  if (inner != other) {
    if (inner.constant() && other.constant())
      return emitOpError("inner dims differ: x has ")
             << inner.str() << ", y has " << other.str() << " (shapes " << dimsString(x) << " and " << dimsString(y)
             << ")";
    if (failed(context.require(*this, Requirement::Equal, inner, other,
                               "the inner dims of a matrix product must be equal")))
      return failure();
  }
  // Batch dims: what is before the matrices.
  ArrayRef<DimExpr> xBatch = ArrayRef<DimExpr>(x).drop_back(row ? 1 : 2);
  ArrayRef<DimExpr> yBatch = ArrayRef<DimExpr>(y).drop_back(column ? 1 : 2);
  SmallVector<DimExpr> dims(std::max(xBatch.size(), yBatch.size()));
  for (size_t i = 1; i <= dims.size(); ++i) {
    DimExpr a = i <= xBatch.size() ? xBatch[xBatch.size() - i] : context.constant(1);
    DimExpr b = i <= yBatch.size() ? yBatch[yBatch.size() - i] : context.constant(1);
    DimExpr dim = context.broadcast(a, b);
    if (!dim)
      return emitOpError("can't broadcast batch dims ") << dimsString(xBatch) << " and " << dimsString(yBatch);
    dims[dims.size() - i] = dim;
  }
  if (!row)
    dims.push_back(x[x.size() - 2]);
  if (!column)
    dims.push_back(y.back());
  results.push_back(ResultInfo::tensor(type, dims));
  return success();
}

LogicalResult ScaledMatMulOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  const char *names[] = {"x", "y", "x_scale", "y_scale"};
  SmallVector<DimExpr> dims[4];
  for (unsigned i = 0; i < 4; ++i) {
    if (failed(requireRanked(*this, i, names[i])))
      return failure();
    dims[i].assign(context.dims(getOperand(i)));
    Type type = getElementTypeOrSelf(getOperand(i).getType());
    if (i < 2 ? !isa<FloatType>(type) : !type.isF32())
      return emitOpError() << names[i] << " has element type " << dtypeName(type) << "; elements are floats and scales f32";
  }
  if (!isa<FloatType>(getType()))
    return emitOpError("can't give ") << dtypeName(getType()) << "; sums are f32";
  if (int64_t(getDepth()) < 1 || int64_t(getColumns()) < 1)
    return emitOpError("has blocks of ") << getColumns() << " columns by " << getDepth() << "; they need one element at least";
  if (dims[0].size() < 2 || dims[1].size() != 2)
    return emitOpError("needs x of rank 2 or more and y of rank 2, has shapes ") << dimsString(dims[0]) << " and " << dimsString(dims[1]);
  DimExpr inner = dims[0].back();
  if (failed(context.require(*this, Requirement::Equal, inner, dims[1].back(), "the inner dims of a matrix product must be equal")))
    return failure();
  DimExpr blocks = ceilDiv(inner, context.constant(getDepth()));
  SmallVector<DimExpr> xScale(dims[0]), yScale{ceilDiv(dims[1][0], context.constant(getColumns())), blocks};
  xScale.back() = blocks;
  for (auto [i, wanted] : {std::pair(2u, ArrayRef<DimExpr>(xScale)), std::pair(3u, ArrayRef<DimExpr>(yScale))})
    if (ArrayRef<DimExpr>(dims[i]) != wanted)
      return emitOpError() << names[i] << " has shape " << dimsString(dims[i]) << "; blocks of " << getColumns() << " columns by " << getDepth()
                           << " of the inner dim need " << dimsString(wanted);
  SmallVector<DimExpr> result(dims[0]);
  result.back() = dims[1][0];
  results.push_back(ResultInfo::tensor(getType(), result));
  return success();
}

LogicalResult PackPanelsOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (failed(requireRanked(*this, 0, "x")))
    return failure();
  SmallVector<DimExpr> dims(context.dims(getX()));
  if (dims.size() < 2 || int64_t(getWidth()) < 1)
    return emitOpError("needs matrices and a positive width, has shape ") << dimsString(dims) << " and width " << getWidth();
  if (getTranspose())
    std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  DimExpr width = context.constant(getWidth());
  dims.insert(dims.end() - 2, ceilDiv(dims.back(), width));
  dims.back() = width;
  results.push_back(ResultInfo::tensor(getElementTypeOrSelf(getX().getType()), dims));
  return success();
}

/// For a transpose that takes its contiguous dim away from the end to the dim before it: the same without that last swap,
/// which a product does for nothing. Null for anything else.
static Value swappedMatrix(Value value, PatternRewriter &rewriter) {
  auto transpose = value.getDefiningOp<TransposeOp>();
  if (!transpose)
    return {};
  SmallVector<int64_t> perm(transpose.getPerm());
  int64_t rank = perm.size();
  if (rank < 2 || perm[rank - 2] != rank - 1)
    return {};
  std::swap(perm[rank - 1], perm[rank - 2]);
  if (llvm::is_sorted(perm))
    return transpose.getX();
  auto type = cast<RankedTensorType>(transpose.getType());
  SmallVector<int64_t> shape(type.getShape());
  std::swap(shape[rank - 1], shape[rank - 2]);
  rewriter.setInsertionPoint(transpose);
  return TransposeOp::create(rewriter, transpose.getLoc(), RankedTensorType::get(shape, type.getElementType()),
                             transpose.getX(), rewriter.getDenseI64ArrayAttr(perm));
}

namespace {
/// matmul(transpose(x), y) → matmul(x, y) {transpose_x}: the product reads either order equally well.
struct FoldTranspose : OpRewritePattern<MatMulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MatMulOp op, PatternRewriter &rewriter) const override {
    Value x = swappedMatrix(op.getX(), rewriter);
    Value y = op.getPackedColumns() ? Value() : swappedMatrix(op.getY(), rewriter);
    if (!x && !y)
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      if (x) {
        op.getXMutable().assign(x);
        op.setTransposeX(!op.getTransposeX());
      }
      if (y) {
        op.getYMutable().assign(y);
        op.setTransposeY(!op.getTransposeY());
      }
    });
    return success();
  }
};
} // namespace

void MatMulOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<FoldTranspose>(context);
}
