//===- FoldBatchNorm.cpp - factors and offsets of channels into weights -----------------------------------------------===//
//
// See Passes.td. A chain is a run of additions, subtractions, multiplications and divisions by constants, each the only
// user of the one before. It is rewritten where that leaves fewer ops on the data. Works where ops on constants run once:
// in the function's own block and in its loops.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Constants.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Transforms/Passes.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_FOLDBATCHNORM
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

/// One op of a chain: its data operand and its constant.
struct Step {
  Operation *op;
  Value data, constant;
};

class Folder {
public:
  explicit Folder(func::FuncOp function) : function(function), shapes(dims) {}

  void run() {
    SmallVector<Operation *> ops;
    for (Block *block : loadTimeBlocks(function))
      for (Operation &op : *block)
        ops.push_back(&op);
    for (Operation *op : ops) {
      SmallVector<Step> chain = chainEndingAt(op);
      if (!chain.empty())
        fold(chain);
    }
    IRRewriter rewriter(function.getContext());
    (void)runRegionDCE(rewriter, function.getBody());
  }

private:
  func::FuncOp function;
  DimContext dims;
  ShapeContext shapes;
  ConstantValues constants;

  std::optional<Step> stepOf(Operation *op) {
    if (!op || !isa<AddOp, SubOp, MulOp, DivOp>(op))
      return {};
    Type type = getElementTypeOrSelf(op->getResult(0).getType());
    if (!type.isF32() && !type.isF64())
      return {};
    bool first = constants.contains(op->getOperand(0)), second = constants.contains(op->getOperand(1));
    if (first == second || (first && isa<SubOp, DivOp>(op)))
      return {};
    Step step{op, op->getOperand(first), op->getOperand(!first)};
    // A constant that broadcasts the data makes other elements of it.
    if (shapes.dims(step.data) != shapes.dims(op->getResult(0)))
      return {};
    return step;
  }

  /// First op first; empty if the chain goes on behind `op`.
  SmallVector<Step> chainEndingAt(Operation *op) {
    std::optional<Step> step = stepOf(op);
    if (!step || (op->hasOneUse() && stepOf(*op->user_begin())))
      return {};
    SmallVector<Step> chain;
    for (; step; step = step->data.hasOneUse() ? stepOf(step->data.getDefiningOp()) : std::nullopt)
      chain.push_back(*step);
    std::reverse(chain.begin(), chain.end());
    return chain;
  }

  /// True if `constant`, broadcast against a value of this rank, varies along `axis` at most.
  static bool variesAlong(Value constant, int64_t rank, int64_t axis) {
    auto type = cast<RankedTensorType>(constant.getType());
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (type.getDimSize(d) != 1 && d + rank - type.getRank() != axis)
        return false;
    return true;
  }

  /// True if the product or sum of the constants is no larger than the largest of them.
  static bool combineInPlace(ArrayRef<Step> chain) {
    SmallVector<int64_t> joint;
    int64_t largest = 1;
    for (const Step &step : chain) {
      ArrayRef<int64_t> shape = cast<RankedTensorType>(step.constant.getType()).getShape();
      largest = std::max(largest, ShapedType::getNumElements(shape));
      while (joint.size() < shape.size())
        joint.insert(joint.begin(), 1);
      for (size_t d = 0; d < shape.size(); ++d)
        if (shape[d] != 1)
          joint[joint.size() - shape.size() + d] = shape[d];
    }
    return ShapedType::getNumElements(joint) <= largest;
  }

  /// The channel dim of the results of an op whose weight can take a factor; -1 for others.
  int64_t channelAxis(Operation *op) {
    if (!op || !op->hasOneUse())
      return -1;
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    auto takes = [&](Value weight) {
      auto weightType = cast<RankedTensorType>(weight.getType());
      return constants.contains(weight) && weightType.getElementType() == type.getElementType();
    };
    if (auto conv = dyn_cast<ConvOp>(op))
      return takes(conv.getW()) && !conv.getPackedShape() ? 1 : -1;
    if (auto conv = dyn_cast<ConvTransposeOp>(op))
      return takes(conv.getW()) ? 1 : -1;
    if (auto product = dyn_cast<MatMulOp>(op)) {
      bool matrix = cast<RankedTensorType>(product.getY().getType()).getRank() >= 2;
      return takes(product.getY()) && matrix && !product.getPackedColumns() ? type.getRank() - 1 : -1;
    }
    return -1;
  }

  void fold(ArrayRef<Step> chain) {
    auto scales = [](const Step &step) { return isa<MulOp, DivOp>(step.op); };
    size_t factors = llvm::count_if(chain, scales), offsets = chain.size() - factors;
    Value base = chain.front().data;
    int64_t rank = shapes.rank(base), axis = channelAxis(base.getDefiningOp());
    bool intoWeight = factors != 0 && axis >= 0 &&
                      llvm::all_of(chain, [&](const Step &step) { return variesAlong(step.constant, rank, axis); });
    if (!intoWeight && (chain.size() <= size_t(factors != 0) + size_t(offsets != 0) || !combineInPlace(chain)))
      return;

    Operation *last = chain.back().op;
    OpBuilder builder(last);
    GraphBuilder g(builder, last->getLoc(), shapes);
    Value factor, offset;
    for (const Step &step : chain) {
      Value c = step.constant;
      g.loc = step.op->getLoc();
      if (isa<MulOp>(step.op)) {
        factor = factor ? g.mul(factor, c) : c;
        offset = offset ? g.mul(offset, c) : offset;
      } else if (isa<DivOp>(step.op)) {
        factor = factor ? g.div(factor, c) : g.reciprocal(c);
        offset = offset ? g.div(offset, c) : offset;
      } else if (isa<AddOp>(step.op)) {
        offset = offset ? g.add(offset, c) : c;
      } else {
        offset = offset ? g.sub(offset, c) : g.neg(c);
      }
    }
    Value result = base;
    if (intoWeight)
      result = scaled(g, base.getDefiningOp(), factor);
    else if (factor)
      result = g.mul(result, factor);
    if (offset) {
      g.loc = last->getLoc();
      result = g.add(result, offset);
    }
    last->getResult(0).replaceAllUsesWith(result);
  }

  /// The contraction again, with its weight times a factor for each channel.
  Value scaled(GraphBuilder &g, Operation *op, Value factor) {
    g.loc = op->getLoc();
    unsigned weightOperand = 1;
    Value weight = op->getOperand(weightOperand);
    SmallVector<int64_t> shape(cast<RankedTensorType>(weight.getType()).getShape());
    int64_t channels = cast<RankedTensorType>(factor.getType()).getNumElements();
    SmallVector<int64_t> ones(shape.size(), 1);
    if (auto product = dyn_cast<MatMulOp>(op)) {
      ones[shape.size() - (product.getTransposeY() ? 2 : 1)] = channels;
      weight = g.mul(weight, g.reshape(factor, ones));
    } else if (isa<ConvOp>(op) || channels == 1) {
      ones[0] = channels;
      weight = g.mul(weight, g.reshape(factor, ones));
    } else {
      // [C, M / groups, K…]: the channels of each group in turn.
      int64_t groups = cast<ConvTransposeOp>(op).getGroups();
      SmallVector<int64_t> split(shape);
      split[0] = shape[0] / groups;
      split.insert(split.begin(), groups);
      ones.insert(ones.begin(), groups);
      ones[2] = shape[1];
      weight = g.reshape(g.mul(g.reshape(weight, split), g.reshape(factor, ones)), shape);
    }
    Operation *copy = g.b.clone(*op);
    copy->setOperand(weightOperand, weight);
    return copy->getResult(0);
  }
};

struct FoldBatchNormPass : flame::impl::FoldBatchNormBase<FoldBatchNormPass> {
  void runOnOperation() override { Folder(getOperation()).run(); }
};

} // namespace
