//===- ScaleAfterProducts.cpp - products of quantised operands multiply what is stored -------------------------------------===//
//
// See Passes.td. An operand is taken apart into elements of 8 bits and a scale that is one number along the inner dim, or one for each block of
// it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "ScalePattern.h"
#include "flame/Analysis/Attention.h"
#include "flame/Analysis/Constants.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_SCALEAFTERPRODUCTS
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

/// Sums of products of two signed bytes stay in 32 bits for inner dims up to this.
constexpr int64_t longestIntegerSum = (int64_t(1) << 31) / (128 * 128) - 1;

/// Positions of the inner dim, and columns of y, whose blocks have scales of their own; columns may have one each.
constexpr int64_t scaleDepth = 128, scaleColumns = 128;

/// One operand of a product.
struct Quantised {
  Value elements; // of 8 bits
  Value scale;    // f32; null: none
  /// What the product reads them through, the last first: movement, with a scale of one number; and multiplications by single numbers.
  SmallVector<Operation *> moves = {}, factors = {};
};

/// The same where the scale may change along the inner dim.
struct Blocked {
  Value elements; // 8-bit floats
  ScalePattern scale;
};

class Scaler : FunctionRewriter {
public:
  explicit Scaler(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    SmallVector<MatMulOp> products;
    function.walk([&](MatMulOp op) { products.push_back(op); });
    for (MatMulOp op : products)
      rewrite(op);
    sweep();
  }

private:
  ConstantValues constants;

  static Type typeOf(Value value) { return getElementTypeOrSelf(value.getType()); }

  /// What a matrix instruction multiplies: there is none for the other 8-bit floats.
  static bool isMultiplied(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type) || type.isSignlessInteger(8); }

  /// True for a zero point of 0.
  static bool isZero(Value value) {
    while (Operation *op = value.getDefiningOp()) {
      if (isa<CastOp, ReshapeOp, ExpandOp>(op)) {
        value = op->getOperand(0);
        continue;
      }
      DenseElementsAttr elements;
      if (!matchPattern(op, m_Constant(&elements)) || !elements.isSplat())
        return false;
      if (isa<FloatType>(elements.getElementType()))
        return elements.getSplatValue<APFloat>().isZero();
      return elements.getElementType().isIntOrIndex() && elements.getSplatValue<APInt>().isZero();
    }
    return false;
  }

  /// The elements that `value` is an f32 copy of; null if it is none.
  static Value stored(Value value) {
    if (auto difference = value.getDefiningOp<SubOp>(); difference && isZero(difference->getOperand(1)))
      value = difference->getOperand(0);
    auto wide = value.getDefiningOp<CastOp>();
    return wide && isMultiplied(typeOf(wide.getX())) && wide.getX().getType() != value.getType() &&
                   cast<ShapedType>(wide.getX().getType()).getShape() == cast<ShapedType>(value.getType()).getShape()
               ? wide.getX()
               : Value();
  }

  /// `inner`: the dim of `value` that the product sums over.
  std::optional<Quantised> match(Value value, int64_t inner) {
    SmallVector<Operation *> moves, factors;
    while (Operation *op = value.getDefiningOp()) {
      auto scaling = matchScaling(op, shapes);
      if (isa<ReshapeOp, TransposeOp, SliceOp, ExpandOp>(op))
        moves.push_back(op);
      else if (scaling && isa<FloatType>(typeOf(value)) && !stored(scaling->x))
        factors.push_back(op);
      else
        break;
      value = scaling ? scaling->x : op->getOperand(0);
    }
    std::optional<Quantised> found = matchScaled(value, moves.empty() ? inner : shapes.rank(value) - 1);
    if (!found || (!moves.empty() && found->scale && !shapes.numElements(found->scale).isConstant(1)))
      return {};
    found->moves = std::move(moves);
    found->factors = std::move(factors);
    return found;
  }
  std::optional<Quantised> matchScaled(Value value, int64_t inner) {
    if (auto rounded = value.getDefiningOp<CastOp>(); rounded && rounded.getExcess() && typeOf(rounded.getX()).isF32())
      value = rounded.getX();
    if (!typeOf(value).isF32())
      return {};
    if (Value elements = stored(value))
      return Quantised{elements, {}};
    auto scaled = value.getDefiningOp<MulOp>();
    if (!scaled)
      return {};
    for (unsigned i : {0u, 1u}) {
      Value elements = stored(scaled->getOperand(i)), scale = scaled->getOperand(1 - i);
      if (!elements || shapes.dims(elements) != shapes.dims(value))
        continue;
      // Right-aligned: a scale of fewer dims may lack the inner one.
      int64_t rank = shapes.rank(scale), at = inner - (shapes.rank(value) - rank);
      if (at < 0 || shapes.dim(scale, at).isConstant(1))
        return Quantised{elements, scale};
    }
    return {};
  }

  /// The elements as the product reads them.
  Value moved(OpBuilder &b, const Quantised &operand) {
    Value value = operand.elements;
    for (Operation *op : llvm::reverse(operand.moves)) {
      Operation *move = b.clone(*op);
      move->setOperand(0, value);
      value = move->getResult(0);
      value.setType(cast<RankedTensorType>(value.getType()).clone(typeOf(operand.elements)));
    }
    return value;
  }
  /// The result times the numbers that an operand was multiplied by.
  Value multiplied(GraphBuilder &g, Value result, const Quantised &operand) {
    for (Operation *op : operand.factors) {
      Scaling scaling = *matchScaling(op, shapes);
      auto known = splatNumber(scaling.factor);
      Value number = known ? g.scalar(g.b.getF32Type(), *known) : g.reshape(g.cast(scaling.factor, g.b.getF32Type()), GraphBuilder::Axes());
      result = scaling.divides ? g.div(result, number) : g.mul(result, number);
    }
    return result;
  }

  /// A scale of an operand's lines, which are its last dim or the one before, where the product's result has them.
  Value placed(GraphBuilder &g, Value scale, bool isLast, bool mustBeLast) {
    int64_t rank = g.rank(scale);
    // One number that is known stays so: its conversion would be a kernel, and hide it from attention.
    if (auto conversion = scale.getDefiningOp<CastOp>(); conversion && shapes.numElements(scale).isConstant(1) && isa<FloatType>(typeOf(conversion.getX())))
      if (auto number = splatNumber(conversion.getX()))
        return g.scalar(typeOf(scale), *number);
    if (isLast == mustBeLast || rank == 0)
      return scale;
    // A conversion stays the last step, where the product's kernel can take it in.
    if (auto conversion = scale.getDefiningOp<CastOp>())
      return g.cast(placed(g, conversion.getX(), isLast, mustBeLast), typeOf(scale));
    if (rank == 1)
      return g.unsqueeze(scale, {1});
    auto order = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    std::swap(order[rank - 1], order[rank - 2]);
    return g.transpose(scale, order);
  }

  // ---- scales of blocks

  std::optional<Blocked> matchBlocks(Value value) {
    SmallVector<DimExpr> dims(shapes.dims(value));
    auto behindViews = [](Value v) {
      while (auto reshape = v.getDefiningOp<ReshapeOp>())
        v = reshape.getX();
      return v;
    };
    auto isRounding = [](CastOp cast) { return cast && cast.getExcess() && typeOf(cast.getX()).isF32(); };
    Value number = behindViews(value);
    if (auto rounded = number.getDefiningOp<CastOp>(); isRounding(rounded))
      number = behindViews(rounded.getX());
    auto scaled = number.getDefiningOp<MulOp>();
    if (!scaled || !typeOf(number).isF32())
      return {};
    SmallVector<DimExpr> product(shapes.dims(number));
    for (unsigned i : {0u, 1u}) {
      if (shapes.dims(scaled->getOperand(i)) != ArrayRef<DimExpr>(product))
        continue;
      Value elements = stored(behindViews(scaled->getOperand(i)));
      if (!elements || !isa<FloatType>(typeOf(elements)) || shapes.dims(elements = behindViews(elements)) != ArrayRef<DimExpr>(dims))
        continue;
      if (auto pattern = scalePattern(scaled->getOperand(1 - i), product, dims, shapes))
        return Blocked{elements, *pattern};
    }
    return {};
  }

  /// True if blocks along the dim are of `size`, or all of it is one.
  bool hasBlocks(const ScaleDim &dim, int64_t size) { return !dim.source || dim.repeats.isConstant(size); }

  /// The scales with these dims, in which each has a size of its own or one that is the same all along.
  Value scalesOf(GraphBuilder &g, const ScalePattern &pattern, ArrayRef<DimExpr> dims) {
    // Dims of the source in the order of the tensor's, then those of one element.
    SmallVector<int64_t> order;
    SmallVector<DimExpr> sizes;
    for (const ScaleDim &dim : pattern.dims) {
      if (dim.source)
        order.push_back(*dim.source);
      sizes.push_back(dim.size);
    }
    for (int64_t d = 0; d < shapes.rank(pattern.source); ++d)
      if (!llvm::is_contained(order, d))
        order.push_back(d);
    Value scale = g.cast(pattern.source, g.b.getF32Type());
    if (!llvm::is_sorted(order))
      scale = g.transpose(scale, order);
    if (shapes.dims(scale) != ArrayRef<DimExpr>(sizes))
      scale = g.reshape(scale, sizes);
    return ArrayRef<DimExpr>(sizes) == dims ? scale : g.expand(scale, dims);
  }

  /// A product whose operands have scales for blocks of the inner dim. False where the pattern is another.
  bool scaleBlocks(MatMulOp op) {
    auto x = matchBlocks(op.getX()), y = matchBlocks(op.getY());
    if (!x || !y || typeOf(x->elements) != typeOf(y->elements) || op.getTransposeX() || y->scale.dims.size() != 2 ||
        constants.contains(x->elements) || (!op.getTransposeY() && !constants.contains(y->elements)))
      return false;
    OpBuilder b(op);
    GraphBuilder g(b, op.getLoc(), shapes);
    if (!op.getTransposeY())
      std::swap(y->scale.dims[0], y->scale.dims[1]);
    const ScaleDim &xInner = x->scale.dims.back(), &yInner = y->scale.dims[1], &columns = y->scale.dims[0];
    auto isWhole = [](const ScaleDim &dim) { return !dim.source || dim.repeats.isConstant(1); };
    const bool eachColumn = columns.source && columns.repeats.isConstant(1);
    if (!(xInner.source || yInner.source) || !hasBlocks(xInner, scaleDepth) || !hasBlocks(yInner, scaleDepth) ||
        !(eachColumn || hasBlocks(columns, scaleColumns)) || !llvm::all_of(ArrayRef(x->scale.dims).drop_back(), isWhole))
      return false;
    const int64_t blockColumns = eachColumn ? 1 : scaleColumns;
    SmallVector<DimExpr> xDims(shapes.dims(op.getX()));
    xDims.back() = ceilDiv(xDims.back(), shapes.constant(scaleDepth));
    DimExpr yColumns = shapes.dim(op.getY(), op.getTransposeY() ? 0 : 1);
    SmallVector<DimExpr> yDims{ceilDiv(yColumns, shapes.constant(blockColumns)), xDims.back()};
    auto hasSizes = [](ArrayRef<ScaleDim> dims, ArrayRef<DimExpr> sizes) {
      return llvm::all_of(llvm::zip(dims, sizes), [](auto pair) { return !std::get<0>(pair).source || std::get<0>(pair).size == std::get<1>(pair); });
    };
    if (!hasSizes(x->scale.dims, xDims) || !hasSizes(y->scale.dims, yDims))
      return false;
    if (!op.getTransposeY())
      y->elements = g.transpose(y->elements, {1, 0});
    Value xScale = scalesOf(g, x->scale, xDims), yScale = scalesOf(g, y->scale, yDims);
    Value product = g.op<ScaledMatMulOp>({x->elements, y->elements, xScale, yScale},
                                         {g.attr("depth", b.getI64IntegerAttr(scaleDepth)), g.attr("columns", b.getI64IntegerAttr(blockColumns)),
                                          g.attr("type", TypeAttr::get(typeOf(op.getResult())))});
    op.getResult().replaceAllUsesWith(product);
    return true;
  }

  void rewrite(MatMulOp op) {
    auto xType = dyn_cast<RankedTensorType>(op.getX().getType()), yType = dyn_cast<RankedTensorType>(op.getY().getType());
    Type type = typeOf(op.getResult());
    if (!xType || !yType || xType.getRank() < 2 || yType.getRank() < 2 || op.getPackedColumns() ||
        !(type.isF32() || type.isF16() || type.isBF16()))
      return;
    int64_t xInner = xType.getRank() - (op.getTransposeX() ? 2 : 1), yInner = yType.getRank() - (op.getTransposeY() ? 1 : 2);
    auto x = match(op.getX(), xInner), y = match(op.getY(), yInner);
    if ((!x || !y) && scaleBlocks(op))
      return;
    if (!x || !y || typeOf(x->elements) != typeOf(y->elements) || constants.contains(x->elements))
      return;
    const bool isInteger = typeOf(x->elements).isInteger(), isConstant = constants.contains(y->elements);
    if (isInteger && shapes.dim(op.getX(), xInner).constant().value_or(INT64_MAX) > longestIntegerSum)
      return;
    OpBuilder b(op);
    GraphBuilder g(b, op.getLoc(), shapes);
    bool transposeY = op.getTransposeY();
    x->elements = moved(b, *x);
    y->elements = moved(b, *y);
    // Matrix instructions read 8-bit elements along the inner dim alone.
    if (!transposeY && isConstant) {
      auto order = llvm::to_vector(llvm::seq<int64_t>(0, yType.getRank()));
      std::swap(order[order.size() - 1], order[order.size() - 2]);
      y->elements = g.transpose(y->elements, order);
      transposeY = true;
    }
    Type sumType = isInteger ? Type(b.getI32Type()) : Type(b.getF32Type());
    Value product = g.op<MatMulOp>({x->elements, y->elements}, {g.attr("type", TypeAttr::get(sumType)),
                                                                g.attr("transpose_x", b.getBoolAttr(op.getTransposeX())),
                                                                g.attr("transpose_y", b.getBoolAttr(transposeY))});
    Value result = g.cast(product, b.getF32Type());
    if (x->scale)
      result = g.mul(result, placed(g, x->scale, /*isLast=*/op.getTransposeX(), /*mustBeLast=*/false));
    if (y->scale)
      result = g.mul(result, placed(g, y->scale, /*isLast=*/!op.getTransposeY(), /*mustBeLast=*/true));
    result = multiplied(g, multiplied(g, result, *x), *y);
    result = g.narrow(result, type);
    op.getResult().replaceAllUsesWith(result);
  }
};

struct ScaleAfterProductsPass : flame::impl::ScaleAfterProductsBase<ScaleAfterProductsPass> {
  void runOnOperation() override { Scaler(getOperation()).run(); }
};

} // namespace
