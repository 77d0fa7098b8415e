//===- AssignLayout.cpp - which tensors between kernels have their channels last ----------------------------------------===//
//
// A convolution by matrix instructions, in 16-bit floats or TF32, copies its operand 16 bytes at a time where channels are the last dim in memory. So what
// one region stores and convolutions read is stored that way. Ops keep their meaning: a region that stores another order
// yields a transpose, one that reads it begins with the inverse one, and each generator makes of that the order of its
// accesses. Weights get the same order by a region on constants, which runs once.
//
// Before:  %y = flame.region "conv"(%x, %w) { … %r = flame.conv … yield %r } : … -> tensor<1x64x56x56xf16>
//          %z = flame.region "conv"(%y, %v) { ^bb0(%a, …): flame.conv %a … }
// After:   %y = flame.region "conv"(%x, %w) { … %t = flame.transpose %r {perm = [0, 2, 3, 1]} … } : … -> tensor<1x56x56x64xf16>
//          %u = flame.region "loop"(%v) { flame.transpose … } : … -> tensor<256x1x1x64xf16>
//          %z = flame.region "conv"(%y, %u) { ^bb0(%a, …): %b = flame.transpose %a {perm = [0, 3, 1, 2]} flame.conv %b … }
//
// Where a tensor comes with channels last and a region transposes it for a convolution, that region is passed by: the convolution
// reads the tensor itself, be it its x, its weight or what is added to its result.
//
// Runs after kernel regions are formed. Values that leave the function or enter control flow keep their order.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Demand.h"
#include "flame/Analysis/ImageOrder.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"
#include "flame/Target/Cuda/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace flame;

namespace {

/// Channels that are copied at once.
constexpr int64_t chunk = 8;
/// A reduction that reads channels-last tensors skips from element to element: only where there are few of them.
constexpr int64_t fewPositions = 1024;

RankedTensorType permuted(Type type, ArrayRef<int64_t> perm) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape;
  for (int64_t d : perm)
    shape.push_back(tensor.getDimSize(d));
  return RankedTensorType::get(shape, tensor.getElementType());
}
Value transposed(OpBuilder &b, Location loc, Value value, ArrayRef<int64_t> perm) {
  return TransposeOp::create(b, loc, permuted(value.getType(), perm), value, b.getDenseI64ArrayAttr(perm));
}

class Assigner {
public:
  Assigner(func::FuncOp function, bool tf32)
      : function(function), tf32(tf32), shapes(exprs), demand(function, shapes) {}

  void run() {
    SmallVector<RegionOp> regions;
    function.walk([&](RegionOp region) { regions.push_back(region); });
    // What gains by it is known once its readers are.
    for (RegionOp region : llvm::reverse(regions))
      for (Value result : region.getResults())
        if (region.getAnchor() == "conv" || region.getAnchor() == "loop")
          if (image(result) && !demand.isConstant(result) && !original(result) && !isTransposed(result) && gains(result))
            last.insert(result);
    for (RegionOp region : regions)
      if (ConvOp conv = convOf(region))
        prepare(region, conv);
    for (Value value : last)
      store(value);
    for (RegionOp region : regions)
      if (region->use_empty() && passedBy.contains(region))
        region.erase();
  }

private:
  func::FuncOp function;
  bool tf32;
  DimContext exprs;
  ShapeContext shapes;
  Demand demand;
  llvm::SetVector<Value> last;   // results of regions that are stored with channels last
  DenseMap<std::pair<Value, int64_t>, Value> turned; // copies of other values in that order
  llvm::SmallPtrSet<Operation *, 8> passedBy;        // transposing regions that have lost readers

  /// A tensor that can be stored in either order.
  RankedTensorType image(Value value) const {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || type.getRank() < 3 || type.getRank() > 5)
      return {};
    Type element = type.getElementType();
    return element.isF16() || element.isBF16() || (tf32 && element.isF32()) ? type : RankedTensorType();
  }

  /// The region's convolution, if it reads images x and w from memory.
  ConvOp convOf(RegionOp region) const {
    ConvOp only;
    for (Operation &op : region.getBlock()->without_terminator())
      if (auto conv = dyn_cast<ConvOp>(op)) {
        if (only)
          return {};
        only = conv;
      }
    bool fits = only && region.getAnchor() == "conv" && !only.getPackedShape() && isa<BlockArgument>(only.getX()) &&
                isa<BlockArgument>(only.getW()) && image(only.getX()) && image(only.getW()) && image(only.getResult());
    return fits ? only : ConvOp();
  }
  /// The tensor with channels last that a region makes this value of by nothing but a transpose; null if there is none.
  static Value original(Value value) {
    auto region = value.getDefiningOp<RegionOp>();
    if (!region || region.getInputs().size() != 1 || region.getNumResults() != 1)
      return {};
    auto transpose = region.getYielded()[0].getDefiningOp<TransposeOp>();
    return isChannelsFirst(transpose) && isa<BlockArgument>(transpose.getX()) ? region.getInputs()[0] : Value();
  }
  /// The region transposes the result at the end already.
  static bool isTransposed(Value value) {
    auto region = value.getDefiningOp<RegionOp>();
    return region.getAnchor() == "conv" &&
           region.getYielded()[cast<OpResult>(value).getResultNumber()].getDefiningOp<TransposeOp>();
  }
  static unsigned argumentOf(Value value) { return cast<BlockArgument>(value).getArgNumber(); }
  /// Channels of x that one output channel reads.
  int64_t channelsOf(ConvOp conv) const { return image(conv.getW()).getDimSize(1); }
  /// Copies of channels are whole chunks, and turning the weight costs nothing in a run, or little.
  bool isBlocked(RegionOp region, ConvOp conv) const {
    int64_t channels = channelsOf(conv);
    Value weight = region.getInputs()[argumentOf(conv.getW())];
    return channels > 0 && channels % chunk == 0 &&
           (isPointwiseConv(conv) || demand.isConstant(weight) || original(weight) || hasManyPositions(conv));
  }
  /// So many that each element of the weight is multiplied far longer than it is copied.
  bool hasManyPositions(ConvOp conv) const {
    constexpr int64_t many = 4096;
    auto result = image(conv.getResult());
    return result.hasStaticShape() && result.getNumElements() >= many * result.getDimSize(1);
  }
  /// A product with x itself, in either order.
  bool isPlain(ConvOp conv) const {
    return isPointwiseConv(conv) && llvm::all_of(conv.getStrides(), [](int64_t stride) { return stride == 1; });
  }
  /// An element is computed by itself, wherever channels are.
  bool isDepthwise(ConvOp conv) const { return conv.getGroups() > 1 && channelsOf(conv) == 1; }
  bool isPointwiseConv(ConvOp conv) const {
    auto w = image(conv.getW());
    return llvm::all_of(w.getShape().drop_front(2), [](int64_t size) { return size == 1; });
  }

  /// True if convolutions read `value`, at once or through what else becomes channels-last by that.
  bool gains(Value value) {
    bool gained = false;
    for (OpOperand &use : value.getUses()) {
      auto reader = dyn_cast<RegionOp>(use.getOwner());
      if (!reader || reader->getBlock() != value.getParentBlock())
        return false;
      Value argument = reader.getBlock()->getArgument(use.getOperandNumber());
      ConvOp conv = convOf(reader);
      if (reader.getAnchor() == "conv" && !conv)
        return false;
      if (conv && conv.getX() == argument) {
        if (isBlocked(reader, conv)) {
          gained = true;
          continue;
        }
        if (!isPlain(conv) && !isDepthwise(conv))
          return false; // it would not be a product any more
      }
      bool follows = llvm::any_of(reader.getResults(), [&](Value result) { return last.contains(result); });
      gained |= follows;
      if (!follows && reader.getAnchor() == "row" && !hasFewPositions(value))
        return false;
    }
    return gained;
  }
  bool hasFewPositions(Value value) const {
    auto type = image(value);
    return type.hasStaticShape() && type.getNumElements() <= fewPositions * type.getDimSize(1);
  }

  /// The same tensor with channels last, by a region of its own behind it; with at least so many channels, the further ones
  /// being 0.
  Value turn(Value value, int64_t channels = 0) {
    Value &copy = turned[{value, channels}];
    if (copy)
      return copy;
    OpBuilder b(function.getContext());
    b.setInsertionPointAfterValue(value);
    Location loc = value.getLoc();
    int64_t rank = image(value).getRank();
    if (Value before = channels ? Value() : original(value)) {
      passedBy.insert(value.getDefiningOp());
      return copy = before;
    }
    RankedTensorType type = permuted(value.getType(), channelsLast(rank)), zeros = type;
    if (channels) {
      SmallVector<int64_t> shape(type.getShape());
      shape.back() = channels - shape.back();
      zeros = RankedTensorType::get(shape, type.getElementType());
      shape.back() = channels;
      type = RankedTensorType::get(shape, type.getElementType());
    }
    auto region = RegionOp::create(b, loc, TypeRange(type), value, b.getStringAttr("loop"), StringAttr());
    b.createBlock(&region.getBody());
    Value result = transposed(b, loc, region.getBlock()->addArgument(value.getType(), loc), channelsLast(rank));
    if (channels) {
      Value zero = ConstantOp::create(
          b, loc, zeros, DenseElementsAttr::get(zeros, b.getFloatAttr(zeros.getElementType(), 0.0)));
      result = ConcatOp::create(b, loc, type, ValueRange{result, zero}, b.getI64IntegerAttr(rank - 1));
    }
    YieldOp::create(b, loc, result);
    return copy = region.getResult(0);
  }

  /// Gives the argument the value's order; the ops of the region see the former one, with the value's channels.
  static void read(RegionOp region, unsigned argument, Value value) {
    region->setOperand(argument, value);
    BlockArgument inner = region.getBlock()->getArgument(argument);
    auto rank = cast<RankedTensorType>(value.getType()).getRank();
    inner.setType(value.getType());
    OpBuilder b = OpBuilder::atBlockBegin(region.getBlock());
    Value back = transposed(b, region.getLoc(), inner, channelsFirst(rank));
    inner.replaceAllUsesExcept(back, back.getDefiningOp());
  }

  /// x and the weight of a convolution in the order in which it copies them.
  void prepare(RegionOp region, ConvOp conv) {
    unsigned x = argumentOf(conv.getX()), w = argumentOf(conv.getW());
    Value data = region.getInputs()[x], weight = region.getInputs()[w];
    if (isDepthwise(conv) && original(data))
      return read(region, x, turn(data));
    if (!isBlocked(region, conv))
      return fillUp(region, conv, x, w);
    bool isLast = last.contains(data);
    readOriginals(region, conv);
    if (!isLast && isPlain(conv)) {
      if (original(data))
        read(region, x, turn(data));
      return;
    }
    if (!isPointwiseConv(conv))
      read(region, w, turn(weight));
    if (!isLast)
      read(region, x, turn(data));
  }

  /// What is added to a result with channels last.
  void readOriginals(RegionOp region, ConvOp conv) {
    if (!llvm::all_of(region.getYielded(), [](Value value) { return isChannelsLast(value.getDefiningOp<TransposeOp>()); }))
      return;
    for (unsigned i = 0, count = region.getInputs().size(); i < count; ++i) {
      Value input = region.getInputs()[i], argument = region.getBlock()->getArgument(i);
      if (argument != conv.getX() && argument != conv.getW() && image(input) && original(input))
        read(region, i, turn(input));
    }
  }

  /// The few channels of a first convolution are filled up to a chunk by zeros, if its image is large enough to be worth a
  /// kernel.
  void fillUp(RegionOp region, ConvOp conv, unsigned x, unsigned w) {
    constexpr int64_t manyPositions = 4096, manyTaps = 8;
    Value data = region.getInputs()[x], weight = region.getInputs()[w];
    auto xType = image(conv.getX()), wType = image(conv.getW());
    if (conv.getGroups() != 1 || !xType.hasStaticShape() || !wType.hasStaticShape() || channelsOf(conv) >= chunk ||
        !demand.isConstant(weight) || demand.isConstant(data) || last.contains(data) || !conv.getX().hasOneUse() ||
        !conv.getW().hasOneUse() || xType.getNumElements() < manyPositions * channelsOf(conv) ||
        wType.getNumElements() < manyTaps * channelsOf(conv) * wType.getDimSize(0))
      return;
    read(region, w, turn(weight, chunk));
    read(region, x, turn(data, chunk));
  }

  /// Stores a region's result with channels last and tells its readers.
  void store(Value value) {
    auto region = value.getDefiningOp<RegionOp>();
    auto rank = image(value).getRank();
    Operation *yield = region.getBlock()->getTerminator();
    unsigned number = cast<OpResult>(value).getResultNumber();
    OpBuilder b(yield);
    yield->setOperand(number, transposed(b, region.getLoc(), yield->getOperand(number), channelsLast(rank)));
    value.setType(yield->getOperand(number).getType());
    SmallVector<std::pair<RegionOp, unsigned>> readers;
    for (OpOperand &use : value.getUses())
      readers.push_back({cast<RegionOp>(use.getOwner()), use.getOperandNumber()});
    for (auto [reader, operand] : readers)
      read(reader, operand, value);
  }
};

struct AssignLayoutPass : PassWrapper<AssignLayoutPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AssignLayoutPass)
  StringRef getArgument() const override { return "flame-assign-layout"; }
  StringRef getDescription() const override { return "Store what convolutions read with channels last"; }
  AssignLayoutPass() = default;
  AssignLayoutPass(const AssignLayoutPass &other) : PassWrapper(other) {}
  explicit AssignLayoutPass(bool tf32) { this->tf32 = tf32; }

  Option<bool> tf32{*this, "tf32", llvm::cl::desc("f32 is multiplied as TF32"), llvm::cl::init(false)};

  void runOnOperation() override { Assigner(getOperation(), tf32).run(); }
};

} // namespace

std::unique_ptr<Pass> flame::cuda::createAssignLayoutPass(bool tf32) {
  return std::make_unique<AssignLayoutPass>(tf32);
}
