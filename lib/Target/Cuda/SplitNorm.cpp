//===- SplitNorm.cpp - see SplitNorm.h ------------------------------------------------------------------------------===//
//
// Sums are taken of differences from the first element, so that one pass gives mean and variance: what they have in common does
// not drown the differences.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "SplitNorm.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Pointwise.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

SmallVector<int64_t> flame::cuda::toLast(int64_t rank) {
  SmallVector<int64_t> perm{0};
  for (int64_t d = 2; d < rank; ++d)
    perm.push_back(d);
  perm.push_back(1);
  return perm;
}
SmallVector<int64_t> flame::cuda::toFirst(int64_t rank) {
  SmallVector<int64_t> perm{0, rank - 1};
  for (int64_t d = 1; d + 1 < rank; ++d)
    perm.push_back(d);
  return perm;
}
static RankedTensorType withShape(Value value, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, getElementTypeOrSelf(value.getType()));
}
Value flame::cuda::transposed(OpBuilder &b, Location loc, Value value, ArrayRef<int64_t> perm) {
  SmallVector<int64_t> shape;
  for (int64_t d : perm)
    shape.push_back(cast<RankedTensorType>(value.getType()).getDimSize(d));
  return TransposeOp::create(b, loc, withShape(value, shape), value, b.getDenseI64ArrayAttr(perm));
}

static RankedTensorType typeOf(Value value) { return dyn_cast<RankedTensorType>(value.getType()); }

/// Sizes of a value of this rank where [G, C / G] becomes [C]; empty where they can't.
static std::optional<SmallVector<int64_t>> joined(RankedTensorType type, int64_t positions, int64_t channels) {
  ArrayRef<int64_t> shape = type.getShape();
  int64_t rank = shape.size();
  SmallVector<int64_t> all(shape);
  if (rank <= positions)
    return all;
  if (rank == positions + 1)
    return std::nullopt;
  int64_t at = rank - positions - 2;
  bool isOne = shape[at] == 1 && shape[at + 1] == 1;
  all[at] = isOne ? 1 : channels;
  all.erase(all.begin() + at + 1);
  return all;
}

std::optional<GroupNorm> flame::cuda::matchGroupNorm(RegionOp region, ShapeContext &shapes) {
  if (region.getAnchor() != "row" || region.getNumResults() != 1 || !region.getResult(0).hasOneUse())
    return std::nullopt;
  GroupNorm norm{region, {}, dyn_cast<ReshapeOp>(*region.getResult(0).user_begin()), 0, {}, {}};
  SmallVector<ReduceOp> reductions;
  for (Operation &op : region.getBlock()->without_terminator()) {
    if (auto reduce = dyn_cast<ReduceOp>(op))
      reductions.push_back(reduce);
    else if (!isa<PointwiseInterface, ConstantOp>(op) || op.getNumResults() != 1)
      return std::nullopt;
  }
  if (!norm.to || norm.to.getX() != region.getResult(0) || reductions.size() != 2)
    return std::nullopt;
  norm.mean = reductions[0], norm.variance = reductions[1];
  // mean(x) and mean((x - mean(x))²), over all but the first two dims.
  Value x = norm.mean.getX();
  auto square = norm.variance.getX().getDefiningOp<MulOp>();
  auto difference = square && square->getOperand(0) == square->getOperand(1)
                        ? square->getOperand(0).getDefiningOp<SubOp>()
                        : SubOp();
  if (!difference || difference->getOperand(0) != x || difference->getOperand(1) != norm.mean.getResult() ||
      !getElementTypeOrSelf(x.getType()).isF32() || !typeOf(x))
    return std::nullopt;
  // Of one group, moments would have the same dims as numbers for all channels.
  int64_t rank = typeOf(x).getRank(), positions = rank - 3;
  if (positions < 1 || typeOf(x).getDimSize(1) == 1)
    return std::nullopt;
  for (ReduceOp reduce : reductions)
    if (reduce.getKind() != "mean" || !reduce.getKeepdims() ||
        ArrayRef<int64_t>(reduce.getAxes()) != ArrayRef<int64_t>(llvm::to_vector(llvm::seq<int64_t>(2, rank))))
      return std::nullopt;
  auto cast = x.getDefiningOp<CastOp>();
  auto argument = dyn_cast<BlockArgument>(cast ? cast.getX() : x);
  if (!argument || llvm::any_of(argument.getUsers(), [&](Operation *user) { return cast && user != cast; }))
    return std::nullopt;
  norm.argument = argument.getArgNumber();
  norm.from = region.getInputs()[norm.argument].getDefiningOp<ReshapeOp>();
  if (!norm.from || !norm.from.getResult().hasOneUse())
    return std::nullopt;
  // x and the result are [N, C, D…].
  SmallVector<DimExpr> grouped(shapes.dims(norm.from.getResult())), dims(shapes.dims(norm.image()));
  auto image = typeOf(norm.image());
  if (!image || image.getRank() != rank - 1 || image.isDynamicDim(1) || !grouped[1].constant() ||
      !grouped[2].constant() || shapes.dims(norm.result()) != ArrayRef<DimExpr>(dims) || grouped[0] != dims[0])
    return std::nullopt;
  for (int64_t d = 2; d < rank - 1; ++d)
    if (grouped[d + 1] != dims[d])
      return std::nullopt;
  // Everything else has dims for the channels, or none at all.
  int64_t channels = image.getDimSize(1);
  for (auto [i, input] : llvm::enumerate(region.getInputs())) {
    auto type = typeOf(input);
    if (i == norm.argument)
      continue;
    if (!type || !joined(type, positions, channels))
      return std::nullopt;
    if (type.getRank() >= positions + 2 &&
        llvm::any_of(type.getShape().take_back(positions), [](int64_t size) { return size != 1; }))
      return std::nullopt;
  }
  for (Operation &op : region.getBlock()->without_terminator())
    if (auto type = typeOf(op.getResult(0));
        !type || !joined(type, positions, channels) || (isa<ConstantOp>(op) && type.getRank() > positions))
      return std::nullopt;
  return norm;
}

namespace {

class Splitter {
public:
  explicit Splitter(GroupNorm norm)
      : norm(norm), b(norm.region), loc(norm.region.getLoc()), image(typeOf(norm.image())),
        grouped(typeOf(norm.region.getResult(0))), shape(norm.from.getShape()) {}

  Value split() {
    const int64_t rank = image.getRank(), positions = rank - 2;
    const int64_t n = grouped.getDimSize(0), groups = grouped.getDimSize(1), each = grouped.getDimSize(2);
    SmallVector<int64_t> ones(positions, 1);
    auto sizes = [&](SmallVector<int64_t> first, SmallVector<int64_t> rest) {
      first.append(rest);
      return first;
    };
    SmallVector<int64_t> channel = sizes(sizes({n}, ones), {groups * each}), group = sizes({n, groups, 1}, ones),
                         member = sizes({n, groups, each}, ones), broadcast = sizes({n, groups * each}, ones);

    auto ofChannels = region(channel, norm.image(), {shapeOf(channel)}, [&](OpBuilder &b, ValueRange in) {
      auto [mean, variance] = moments(b, wide(b, in[0]), {}, llvm::to_vector(llvm::seq<int64_t>(1, rank - 1)), channel, in[1]);
      return SmallVector<Value>{mean, variance};
    });
    Value memberShape = shapeOf(member);
    auto inGroups = [&](Value value) { return ReshapeOp::create(b, loc, withShape(value, member), value, memberShape); };
    auto ofGroups = region(
        member, {inGroups(ofChannels.getResult(0)), inGroups(ofChannels.getResult(1))}, {shapeOf(group), memberShape},
        [&](OpBuilder &b, ValueRange in) {
          auto [mean, variance] = moments(b, in[0], in[1], {2}, group, in[2]);
          auto forEach = [&](Value value) -> Value {
            return ExpandOp::create(b, loc, withShape(value, member), value, in[3]);
          };
          return SmallVector<Value>{forEach(mean), forEach(variance)};
        });
    Value broadcastShape = shapeOf(broadcast);
    auto perChannel = [&](Value value) {
      return ReshapeOp::create(b, loc, withShape(value, broadcast), value, broadcastShape);
    };
    return apply(perChannel(ofGroups.getResult(0)), perChannel(ofGroups.getResult(1)));
  }

private:
  GroupNorm norm;
  OpBuilder b;
  Location loc;
  RankedTensorType image, grouped; // x as it is stored, the former rows
  Value shape;                     // of the rows

  Value integers(OpBuilder &b, ArrayRef<int64_t> values) {
    auto type = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
    return ConstantOp::create(b, loc, type, DenseElementsAttr::get(type, values));
  }
  /// A shape whose first dim alone may be unknown: the number of images then.
  Value shapeOf(ArrayRef<int64_t> sizes) {
    if (!ShapedType::isDynamic(sizes[0]))
      return integers(b, sizes);
    Value one = integers(b, {1});
    Value images = SliceOp::create(b, loc, RankedTensorType::get({1}, b.getI64Type()), shape, integers(b, {0}), one, one);
    return ConcatOp::create(b, loc, RankedTensorType::get({int64_t(sizes.size())}, b.getI64Type()),
                            ValueRange{images, integers(b, sizes.drop_front())}, b.getI64IntegerAttr(0));
  }

  /// A region of two f32 results of these sizes. What is in `further` are shapes.
  RegionOp region(ArrayRef<int64_t> sizes, ValueRange data, ValueRange further,
                  llvm::function_ref<SmallVector<Value>(OpBuilder &, ValueRange)> build) {
    auto type = RankedTensorType::get(sizes, b.getF32Type());
    SmallVector<Value> inputs(data);
    llvm::append_range(inputs, further);
    auto region = RegionOp::create(b, loc, TypeRange{type, type}, inputs, b.getStringAttr("loop"), StringAttr());
    OpBuilder inner(b.getContext());
    Block *block = inner.createBlock(&region.getBody());
    for (Value input : inputs)
      block->addArgument(input.getType(), loc);
    YieldOp::create(inner, loc, build(inner, block->getArguments()));
    return region;
  }

  /// x in f32, as the norm has it.
  Value wide(OpBuilder &b, Value x) {
    auto cast = norm.mean.getX().getDefiningOp<CastOp>();
    if (!cast)
      return x;
    Operation *copy = b.clone(*cast);
    copy->setOperand(0, x);
    copy->getResult(0).setType(RankedTensorType::get(typeOf(x).getShape(), b.getF32Type()));
    return copy->getResult(0);
  }

  /// Mean and variance over `axes` of elements that may have a variance of their own; `sizes` are the results'.
  std::pair<Value, Value> moments(OpBuilder &b, Value x, Value variance, ArrayRef<int64_t> axes, ArrayRef<int64_t> sizes, Value sizesShape) {
    auto type = RankedTensorType::get(sizes, b.getF32Type());
    Type full = x.getType();
    const int64_t rank = sizes.size();
    auto mean = [&](Value value) -> Value {
      return ReduceOp::create(b, loc, type, value, b.getStringAttr("mean"), b.getDenseI64ArrayAttr(axes), b.getBoolAttr(true));
    };
    Value first = SliceOp::create(b, loc, type, x, integers(b, SmallVector<int64_t>(rank, 0)), sizesShape,
                                  integers(b, SmallVector<int64_t>(rank, 1)));
    Value difference = SubOp::create(b, loc, full, x, first), squares = MulOp::create(b, loc, full, difference, difference);
    if (variance)
      squares = AddOp::create(b, loc, full, squares, variance);
    Value from = mean(difference), square = MulOp::create(b, loc, type, from, from);
    auto scalar = RankedTensorType::get({}, b.getF32Type());
    Value zero = ConstantOp::create(b, loc, scalar, DenseElementsAttr::get(scalar, b.getF32FloatAttr(0.0f)));
    Value spread = SubOp::create(b, loc, type, mean(squares), square);
    // What rounding has left below zero.
    return {AddOp::create(b, loc, type, from, first), MaxOp::create(b, loc, type, spread, zero)};
  }

  /// The former row program with channels in one dim and the moments given.
  Value apply(Value mean, Value variance) {
    RegionOp region = norm.region;
    Block *block = region.getBlock();
    const int64_t rank = image.getRank(), positions = rank - 2, channels = grouped.getDimSize(1) * grouped.getDimSize(2);
    auto joinedType = [&](Value value) {
      auto sizes = joined(typeOf(value), positions, channels);
      return withShape(value, *sizes);
    };
    for (unsigned i = 0, count = region.getInputs().size(); i < count; ++i) {
      Value input = region.getInputs()[i];
      if (i == norm.argument || typeOf(input).getRank() < positions + 2)
        continue;
      RankedTensorType type = joinedType(input);
      SmallVector<int64_t> sizes(type.getShape());
      region->setOperand(i, ReshapeOp::create(b, loc, type, input, shapeOf(sizes)));
      block->getArgument(i).setType(type);
    }
    // In front of the ops: x in the ops' order.
    region->setOperand(norm.argument, norm.image());
    BlockArgument x = block->getArgument(norm.argument);
    x.setType(image);
    OpBuilder inner = OpBuilder::atBlockBegin(block);
    Value back = transposed(inner, loc, x, toFirst(rank));
    x.replaceAllUsesExcept(back, back.getDefiningOp());
    for (auto [reduce, given] : {std::pair{norm.mean, mean}, std::pair{norm.variance, variance}}) {
      region.getInputsMutable().append(given);
      reduce.getResult().replaceAllUsesWith(block->addArgument(given.getType(), loc));
    }
    SmallVector<Operation *> ops;
    for (Operation &op : block->without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (op->use_empty())
        op->erase();
    for (Operation &op : block->without_terminator())
      if (op.getResult(0) != back)
        op.getResult(0).setType(joinedType(op.getResult(0)));
    Operation *yield = block->getTerminator();
    inner.setInsertionPoint(yield);
    yield->setOperand(0, transposed(inner, loc, yield->getOperand(0), toLast(rank)));
    region.setAnchor("loop");
    region.getResult(0).setType(yield->getOperand(0).getType());
    norm.from->dropAllReferences();
    norm.from->erase();
    return region.getResult(0);
  }
};

} // namespace

Value flame::cuda::splitGroupNorm(GroupNorm norm) { return Splitter(norm).split(); }
