//===- NormChannelsLast.cpp - group norms of images stored with channels last -----------------------------------------===//
//
// See Passes.td. Runs behind everything that moves or shares transposes: those that it makes belong into the kernels on
// their two sides.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Analysis/Constants.h"
#include "flame/Analysis/ImageOrder.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_NORMCHANNELSLAST
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

/// Channels of 16 bits that one access has.
constexpr int64_t chunk = 8;
/// With fewer positions a group is a short row, which one kernel reads once in any order.
constexpr int64_t fewPositions = 4096;

/// y = rest((x - mean) / sqrt(variance + epsilon) * scale + bias) of groups of channels.
struct GroupNorm {
  ReshapeOp grouped; // x as [N, G, C/G, D…]
  AddOp shifted;     // the last op before the rest
  Value epsilon, scale, bias;
  SmallVector<Operation *> rest; // pointwise, in order
  ReshapeOp result;              // back to [N, C, D…]
};

class Rewriter : FunctionRewriter {
public:
  explicit Rewriter(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    SmallVector<ReshapeOp> candidates;
    function.walk([&](ReshapeOp op) { candidates.push_back(op); });
    for (ReshapeOp op : candidates)
      if (std::optional<GroupNorm> norm = match(op))
        rewrite(*norm);
    sweep();
  }

private:
  ConstantValues constants;


  static bool isHalf(Value value) {
    Type type = getElementTypeOrSelf(value.getType());
    return type.isF16() || type.isBF16();
  }
  /// The one op that reads a value, however often; null if there are several.
  static Operation *onlyUser(Value value) {
    Operation *only = nullptr;
    for (Operation *user : value.getUsers()) {
      if (only && user != only)
        return nullptr;
      only = user;
    }
    return only;
  }
  /// The value's only reader, of this kind.
  template <typename Op> static Op readBy(Value value) { return dyn_cast_or_null<Op>(onlyUser(value)); }

  /// True if convolutions, or a transpose to the same order, read it.
  bool isWantedLast(Value value) {
    return llvm::any_of(value.getUsers(), [&](Operation *user) {
      if (auto conv = dyn_cast<ConvOp>(user))
        return conv.getX() == value && conv.getGroups() == 1;
      auto transpose = dyn_cast<TransposeOp>(user);
      return transpose && llvm::equal(transpose.getPerm(), channelsLast(shapes.rank(value)));
    });
  }

  /// `other` of x op other.
  static Value otherOperand(Operation *op, Value x) {
    if (op->getNumOperands() != 2 || (op->getOperand(0) == x) == (op->getOperand(1) == x))
      return {};
    return op->getOperand(op->getOperand(0) == x ? 1 : 0);
  }

  /// The mean over all but [N, G], kept as ones.
  bool isMean(ReduceOp op, size_t rank) {
    if (!op || op.getKind() != "mean" || !op.getKeepdims())
      return false;
    SmallVector<int64_t> axes(op.getAxes());
    llvm::sort(axes);
    return llvm::equal(axes, llvm::seq<int64_t>(2, rank));
  }

  /// One number for each channel: [G, C/G, 1…] with as many dims behind the groups, or splat; not of each image.
  bool isOfChannels(Value value, const Dims &grouped) {
    Dims dims = dimsOf(value);
    if (dims.size() > grouped.size())
      return false;
    size_t shift = grouped.size() - dims.size();
    for (size_t d = 0; d < dims.size(); ++d)
      if (!dims[d].isConstant(1) && !((d + shift == 1 || d + shift == 2) && dims[d] == grouped[d + shift]))
        return false;
    return true;
  }

  std::optional<GroupNorm> match(ReshapeOp op) {
    Value x = op.getX();
    Dims image = dimsOf(x), grouped = dimsOf(op);
    size_t rank = grouped.size();
    if (!isHalf(x) || image.size() < 3 || image.size() > 5 || rank != image.size() + 1 || !x.getDefiningOp() ||
        constants.contains(x) || image[0] != grouped[0] ||
        !llvm::equal(ArrayRef(image).drop_front(2), ArrayRef(grouped).drop_front(3)))
      return {};
    auto channels = image[1].constant(), groups = grouped[1].constant(), inGroup = grouped[2].constant();
    if (!channels || !groups || !inGroup || *groups * *inGroup != *channels || *channels % chunk != 0)
      return {};
    DimExpr positions = exprs.constant(1);
    for (DimExpr dim : ArrayRef(image).drop_front(2))
      positions = positions * dim;
    if (positions.constant().value_or(fewPositions) < fewPositions)
      return {};

    // x - mean
    auto wide = readBy<CastOp>(op);
    if (!wide || !getElementTypeOrSelf(wide.getResult().getType()).isF32())
      return {};
    SubOp difference;
    ReduceOp mean;
    for (Operation *user : wide.getResult().getUsers())
      if (auto sub = dyn_cast<SubOp>(user); sub && !difference)
        difference = sub;
      else if (auto reduce = dyn_cast<ReduceOp>(user); reduce && !mean)
        mean = reduce;
      else
        return {};
    if (!difference || !isMean(mean, rank) || difference.getX() != wide.getResult() ||
        difference.getY() != mean.getResult() || onlyUser(mean.getResult()) != difference)
      return {};
    // 1 / sqrt(variance + epsilon)
    MulOp squares, normalized;
    for (Operation *user : difference.getResult().getUsers()) {
      auto mul = dyn_cast<MulOp>(user);
      if (!mul || (mul.getX() != mul.getY() && normalized && normalized != mul))
        return {};
      (mul.getX() == mul.getY() ? squares : normalized) = mul;
    }
    if (!squares || !normalized)
      return {};
    auto variance = readBy<ReduceOp>(squares.getResult());
    auto sum = isMean(variance, rank) ? readBy<AddOp>(variance.getResult()) : AddOp();
    auto root = sum ? readBy<SqrtOp>(sum.getResult()) : SqrtOp();
    auto inverse = root ? readBy<ReciprocalOp>(root.getResult()) : ReciprocalOp();
    GroupNorm norm;
    norm.grouped = op;
    if (!inverse || onlyUser(inverse.getResult()) != normalized ||
        otherOperand(normalized, difference.getResult()) != inverse.getResult() ||
        !(norm.epsilon = otherOperand(sum, variance.getResult())) || !shapes.numElements(norm.epsilon).isConstant(1))
      return {};
    // ∙ scale + bias, perhaps in another type
    Value value = normalized.getResult();
    if (auto cast = readBy<CastOp>(value))
      value = cast.getResult();
    auto scaled = readBy<MulOp>(value);
    if (!scaled || !(norm.scale = otherOperand(scaled, value)) || !isOfChannels(norm.scale, grouped))
      return {};
    norm.shifted = readBy<AddOp>(scaled.getResult());
    if (!norm.shifted || !(norm.bias = otherOperand(norm.shifted, scaled.getResult())) ||
        !isOfChannels(norm.bias, grouped))
      return {};
    // What follows, up to the shape of the image.
    value = norm.shifted.getResult();
    for (;;) {
      Operation *user = onlyUser(value);
      if (!user || user->getBlock() != op->getBlock())
        return {};
      if ((norm.result = dyn_cast<ReshapeOp>(user)))
        break;
      if (!isa<PointwiseInterface>(user) || user->getNumResults() != 1 || dimsOf(user->getResult(0)) != grouped ||
          !llvm::all_of(user->getOperands(), [&](Value v) { return v == value || isOfChannels(v, grouped); }))
        return {};
      norm.rest.push_back(user);
      value = user->getResult(0);
    }
    if (dimsOf(norm.result) != image || !isHalf(norm.result) || !isWantedLast(norm.result))
      return {};
    return norm;
  }

  /// A number for each channel, [G, C/G, 1…] or of fewer dims, as [C]; splat ones as they are.
  Value perChannel(GraphBuilder &g, Value v, GroupNorm &norm) {
    if (shapes.numElements(v).isConstant(1))
      return v;
    Dims grouped = dimsOf(norm.grouped), dims = dimsOf(v), both{grouped[1], grouped[2]};
    Dims own(grouped.size(), exprs.constant(1));
    llvm::copy(dims, own.end() - dims.size());
    if (own[1] != both[0] || own[2] != both[1])
      v = g.expand(g.reshape(v, {own[1], own[2]}), both);
    return g.reshape(v, {dimsOf(norm.grouped.getX())[1]});
  }

  void rewrite(GroupNorm &norm) {
    OpBuilder b(norm.result);
    GraphBuilder g(b, norm.shifted.getLoc(), shapes);
    Type real = b.getF32Type();
    Value x = norm.grouped.getX();
    Dims image = dimsOf(x), grouped = dimsOf(norm.grouped);
    int64_t rank = image.size();
    DimExpr one = exprs.constant(1), zero = exprs.constant(0);
    Dims groups{image[0], grouped[1], grouped[2]}, channels(rank, one);
    channels.front() = image[0], channels.back() = image[1];
    // Each kernel that reads x has a transpose of its own to read through.
    auto turned = [&] { return g.cast(g.transpose(x, channelsLast(rank)), real); };

    // Mean and variance of each channel of an image: sums of differences from one of its elements and of their squares,
    // which lose nothing where the mean is large. An image without positions has no such element, nor any to subtract
    // it from.
    Value wide = turned();
    Dims none(rank, zero), more = none, middles = none, sizes(dimsOf(wide)), steps(rank, one);
    SmallVector<int64_t> positions;
    for (int64_t d = 1; d + 1 < rank; ++d) {
      positions.push_back(d);
      middles[d] = floorDiv(sizes[d], exprs.constant(2));
      more[d] = sizes[d] = one;
    }
    Value pivot = g.slice(g.pad(wide, none, more), middles, sizes, steps);
    Value difference = g.sub(wide, g.slice(wide, middles, sizes, steps)), squares = g.mul(difference, difference);
    Value offset = g.mean(difference, positions), square = g.mean(squares, positions);
    Value mean = g.add(pivot, offset), moved = g.sub(mean, pivot);
    Value variance = g.max(g.sub(square, g.mul(moved, moved)), g.scalar(real, 0));

    // Those of each group, and y = x ∙ factor + addend.
    auto ofChannels = [&](Value v) {
      v = perChannel(g, v, norm);
      return g.cast(shapes.numElements(v).isConstant(1) ? v : g.reshape(v, {groups[1], groups[2]}), real);
    };
    Value means = g.reshape(mean, groups), middle = g.mean(means, {2}), apart = g.sub(means, middle);
    Value spread = g.mean(g.add(g.reshape(variance, groups), g.mul(apart, apart)), {2});
    Value inverse = g.reciprocal(g.sqrt(g.add(spread, norm.epsilon)));
    Value factor = g.mul(inverse, ofChannels(norm.scale));
    Value addend = g.sub(ofChannels(norm.bias), g.mul(middle, factor));

    Value value = g.add(g.mul(turned(), g.reshape(factor, channels)), g.reshape(addend, channels));
    value = g.narrow(value, getElementTypeOrSelf(norm.shifted.getResult().getType()));
    Value old = norm.shifted.getResult();
    for (Operation *op : norm.rest) {
      SmallVector<Value> operands;
      for (Value operand : op->getOperands())
        operands.push_back(operand == old ? value : perChannel(g, operand, norm));
      g.loc = op->getLoc();
      old = op->getResult(0);
      value = g.create(op->getName().getStringRef(), operands, op->getAttrs())->getResult(0);
    }
    norm.result.replaceAllUsesWith(g.transpose(value, channelsFirst(rank)));
  }
};

struct NormChannelsLastPass : flame::impl::NormChannelsLastBase<NormChannelsLastPass> {
  void runOnOperation() override { Rewriter(getOperation()).run(); }
};

} // namespace
