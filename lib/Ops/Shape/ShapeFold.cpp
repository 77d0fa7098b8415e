//===- ShapeFold.cpp - data movement that moves nothing ---------------------------------------------------------------===//
//
// Folds look at types and constants alone. Dynamic sizes count as equal only where the op can't change them.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Ops/Constant.h"
#include "flame/Ops/InferenceRules.h"
#include "flame/Ops/Shape.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace flame;

/// True if both are the same type without dynamic sizes.
static bool sameStaticType(Value x, Value y) {
  auto type = dyn_cast<RankedTensorType>(x.getType());
  return type && type.hasStaticShape() && type == y.getType();
}
static bool allEqual(Value vector, int64_t number) {
  auto integers = constantIntegers(vector);
  return integers && llvm::all_of(*integers, [&](int64_t i) { return i == number; });
}
/// True if `shape` is `shape_of(x)`.
static bool isShapeOf(Value shape, Value x) {
  auto op = shape.getDefiningOp<ShapeOfOp>();
  return op && op.getX() == x;
}
static int64_t dynamicDims(Value x) { return cast<RankedTensorType>(x.getType()).getNumDynamicDims(); }

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  if (getX().getType() != getType())
    return {};
  // With one dynamic size the others decide it.
  if (dynamicDims(getX()) == 0 || isShapeOf(getShape(), getX()))
    return getX();
  auto type = cast<RankedTensorType>(getType());
  if (dynamicDims(getX()) == 1 && !llvm::is_contained(type.getShape(), 0))
    return getX();
  return {};
}

OpFoldResult TransposeOp::fold(FoldAdaptor) {
  for (auto [d, source] : llvm::enumerate(getPerm()))
    if (source != int64_t(d))
      return {};
  return getX().getType() == getType() ? getX() : Value();
}

OpFoldResult ExpandOp::fold(FoldAdaptor) {
  if (sameStaticType(getX(), getResult()) ||
      (getX().getType() == getType() && isShapeOf(getShape(), getX())))
    return getX();
  return {};
}

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  return getXs().size() == 1 && getXs()[0].getType() == getType() ? getXs()[0] : Value();
}

OpFoldResult SliceOp::fold(FoldAdaptor) {
  if (getX().getType() != getType() || !allEqual(getStarts(), 0) || !allEqual(getSteps(), 1))
    return {};
  return sameStaticType(getX(), getResult()) || isShapeOf(getSizes(), getX()) ? getX() : Value();
}

OpFoldResult PadOp::fold(FoldAdaptor) {
  return getX().getType() == getType() && allEqual(getLow(), 0) && allEqual(getHigh(), 0) ? getX() : Value();
}

OpFoldResult TileOp::fold(FoldAdaptor) {
  return getX().getType() == getType() && allEqual(getRepeats(), 1) ? getX() : Value();
}

OpFoldResult ShapeOfOp::fold(FoldAdaptor) {
  auto type = dyn_cast<RankedTensorType>(getX().getType());
  if (!type || !type.hasStaticShape())
    return {};
  return DenseIntElementsAttr::get(RankedTensorType::get({type.getRank()}, IntegerType::get(getContext(), 64)),
                                   type.getShape());
}

namespace {
/// reshape(reshape(x, a), b) is reshape(x, b).
struct MergeReshapes : OpRewritePattern<ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ReshapeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getX().getDefiningOp<ReshapeOp>();
    if (!inner)
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.getXMutable().assign(inner.getX()); });
    return success();
  }
};

/// transpose(transpose(x, p), q) is transpose(x, p∘q).
struct MergeTransposes : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getX().getDefiningOp<TransposeOp>();
    if (!inner)
      return failure();
    SmallVector<int64_t> perm;
    for (int64_t d : op.getPerm())
      perm.push_back(inner.getPerm()[d]);
    rewriter.modifyOpInPlace(op, [&] {
      op.getXMutable().assign(inner.getX());
      op.setPerm(perm);
    });
    return success();
  }
};

/// A transpose that moves only dimensions of size 1 is a reshape. Sizes must be known.
struct TransposeToReshape : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    auto type = cast<RankedTensorType>(op.getX().getType());
    auto result = cast<RankedTensorType>(op.getType());
    if (!result.hasStaticShape())
      return failure();
    int64_t last = -1;
    for (int64_t d : op.getPerm()) {
      if (type.getDimSize(d) == 1)
        continue;
      if (d < last)
        return failure();
      last = d;
    }
    auto sizes = RankedTensorType::get({result.getRank()}, rewriter.getI64Type());
    Value shape = ConstantOp::create(rewriter, op.getLoc(), sizes,
                                     DenseIntElementsAttr::get(sizes, result.getShape()));
    rewriter.replaceOpWithNewOp<ReshapeOp>(op, result, op.getX(), shape);
    return success();
  }
};
} // namespace

void ReshapeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<MergeReshapes>(context);
}

void TransposeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<MergeTransposes, TransposeToReshape>(context);
}
