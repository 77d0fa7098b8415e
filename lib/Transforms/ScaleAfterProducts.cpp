//===- ScaleAfterProducts.cpp - products of quantised operands multiply what is stored -------------------------------------===//
//
// See Passes.td. An operand is taken apart into elements of 8 bits and a scale that is one number along the inner dim.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
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

/// One operand of a product.
struct Quantised {
  Value elements; // of 8 bits
  Value scale;    // f32; null: none
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

  /// A scale of an operand's lines, which are its last dim or the one before, where the product's result has them.
  Value placed(GraphBuilder &g, Value scale, bool isLast, bool mustBeLast) {
    int64_t rank = g.rank(scale);
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

  void rewrite(MatMulOp op) {
    auto xType = dyn_cast<RankedTensorType>(op.getX().getType()), yType = dyn_cast<RankedTensorType>(op.getY().getType());
    Type type = typeOf(op.getResult());
    if (!xType || !yType || xType.getRank() < 2 || yType.getRank() < 2 || op.getPackedColumns() ||
        !(type.isF32() || type.isF16() || type.isBF16()))
      return;
    int64_t xInner = xType.getRank() - (op.getTransposeX() ? 2 : 1), yInner = yType.getRank() - (op.getTransposeY() ? 1 : 2);
    auto x = match(op.getX(), xInner), y = match(op.getY(), yInner);
    if (!x || !y || typeOf(x->elements) != typeOf(y->elements) || constants.contains(x->elements))
      return;
    bool isInteger = typeOf(x->elements).isInteger();
    if (isInteger && shapes.dim(op.getX(), xInner).constant().value_or(INT64_MAX) > longestIntegerSum)
      return;
    OpBuilder b(op);
    GraphBuilder g(b, op.getLoc(), shapes);
    bool transposeY = op.getTransposeY();
    // Matrix instructions read 8-bit elements along the inner dim alone.
    if (!transposeY && constants.contains(y->elements)) {
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
    result = g.narrow(result, type);
    op.getResult().replaceAllUsesWith(result);
  }
};

struct ScaleAfterProductsPass : flame::impl::ScaleAfterProductsBase<ScaleAfterProductsPass> {
  void runOnOperation() override { Scaler(getOperation()).run(); }
};

} // namespace
