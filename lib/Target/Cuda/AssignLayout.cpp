//===- AssignLayout.cpp - which tensors between kernels have their channels last ----------------------------------------===//
//
// A convolution in 16-bit floats copies its operand 16 bytes at a time where channels are the last dim in memory. So what
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
// Runs after kernel regions are formed. Values that leave the function or enter control flow keep their order.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Analysis/Demand.h"
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

/// [N, C, D…] → [N, D…, C], and back.
SmallVector<int64_t> toLast(int64_t rank) {
  SmallVector<int64_t> perm{0};
  for (int64_t d = 2; d < rank; ++d)
    perm.push_back(d);
  perm.push_back(1);
  return perm;
}
SmallVector<int64_t> toFirst(int64_t rank) {
  SmallVector<int64_t> perm{0, rank - 1};
  for (int64_t d = 1; d + 1 < rank; ++d)
    perm.push_back(d);
  return perm;
}
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

/// A tensor that can be stored in either order.
RankedTensorType image(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() >= 3 && type.getRank() <= 5 &&
                 (type.getElementType().isF16() || type.getElementType().isBF16())
             ? type
             : RankedTensorType();
}

/// The region's convolution, if it reads x and w from memory and copies of channels are whole chunks.
ConvOp blockedConv(RegionOp region) {
  ConvOp only;
  for (Operation &op : region.getBlock()->without_terminator())
    if (auto conv = dyn_cast<ConvOp>(op)) {
      if (only)
        return {};
      only = conv;
    }
  if (!only || only.getPackedShape() || !isa<BlockArgument>(only.getX()) || !isa<BlockArgument>(only.getW()) ||
      !image(only.getX()) || !image(only.getW()) || !image(only.getResult()))
    return {};
  auto w = image(only.getW());
  return !w.isDynamicDim(1) && w.getDimSize(1) % chunk == 0 ? only : ConvOp();
}

class Assigner {
public:
  explicit Assigner(func::FuncOp function) : function(function), shapes(exprs), demand(function, shapes) {}

  void run() {
    SmallVector<RegionOp> regions;
    function.walk([&](RegionOp region) { regions.push_back(region); });
    // What gains by it is known once its readers are.
    for (RegionOp region : llvm::reverse(regions))
      for (Value result : region.getResults())
        if (region.getAnchor() == "conv" || region.getAnchor() == "loop")
          if (image(result) && !demand.isConstant(result) && gains(result))
            last.insert(result);
    for (RegionOp region : regions)
      if (ConvOp conv = blockedConv(region); conv && region.getAnchor() == "conv")
        prepare(region, conv);
    for (Value value : last)
      store(value);
  }

private:
  func::FuncOp function;
  DimContext exprs;
  ShapeContext shapes;
  Demand demand;
  llvm::SetVector<Value> last;       // results of regions that are stored with channels last
  DenseMap<Value, Value> turned;     // copies of other values in that order

  static bool isPointwiseConv(ConvOp conv) {
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
      ConvOp conv = reader.getAnchor() == "conv" ? blockedConv(reader) : ConvOp();
      if (conv && conv.getX() == argument) {
        gained = true;
        continue;
      }
      bool follows = llvm::any_of(reader.getResults(), [&](Value result) { return last.contains(result); });
      gained |= follows;
      if (!follows && reader.getAnchor() == "row" && !hasFewPositions(value))
        return false;
    }
    return gained;
  }
  static bool hasFewPositions(Value value) {
    auto type = image(value);
    return type.hasStaticShape() && type.getNumElements() <= fewPositions * type.getDimSize(1);
  }

  /// The same tensor with channels last, by a region of its own behind it.
  Value turn(Value value) {
    Value &copy = turned[value];
    if (copy)
      return copy;
    OpBuilder b(function.getContext());
    b.setInsertionPointAfterValue(value);
    return copy = transposeRegion(b, value, toLast(image(value).getRank()));
  }
  Value transposeRegion(OpBuilder &b, Value value, ArrayRef<int64_t> perm) {
    Location loc = value.getLoc();
    auto region = RegionOp::create(b, loc, TypeRange(permuted(value.getType(), perm)), value, b.getStringAttr("loop"),
                                   StringAttr());
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&region.getBody());
    Value argument = body->addArgument(value.getType(), loc);
    YieldOp::create(b, loc, transposed(b, loc, argument, perm));
    return region.getResult(0);
  }

  /// Gives the argument the value's order; the ops of the region see the former one.
  static void read(RegionOp region, unsigned argument, Value value) {
    region->setOperand(argument, value);
    BlockArgument inner = region.getBlock()->getArgument(argument);
    auto rank = cast<RankedTensorType>(value.getType()).getRank();
    inner.setType(value.getType());
    OpBuilder b = OpBuilder::atBlockBegin(region.getBlock());
    Value back = transposed(b, region.getLoc(), inner, toFirst(rank));
    inner.replaceAllUsesExcept(back, back.getDefiningOp());
  }

  /// x and the weight of a convolution in the order in which it copies them.
  void prepare(RegionOp region, ConvOp conv) {
    unsigned x = cast<BlockArgument>(conv.getX()).getArgNumber(), w = cast<BlockArgument>(conv.getW()).getArgNumber();
    Value data = region.getInputs()[x], weight = region.getInputs()[w];
    bool unit = isPointwiseConv(conv);
    if (!unit && !demand.isConstant(weight))
      return; // its order would cost a kernel in every run
    bool isLast = last.contains(data);
    // A product with the image's matrix reads either order.
    bool plain = unit && llvm::all_of(conv.getStrides(), [](int64_t stride) { return stride == 1; });
    if (!isLast && plain)
      return;
    if (!unit)
      read(region, w, turn(weight));
    if (!isLast)
      read(region, x, turn(data));
  }

  /// Stores a region's result with channels last and tells its readers.
  void store(Value value) {
    auto region = value.getDefiningOp<RegionOp>();
    auto rank = image(value).getRank();
    Operation *yield = region.getBlock()->getTerminator();
    unsigned number = cast<OpResult>(value).getResultNumber();
    OpBuilder b(yield);
    yield->setOperand(number, transposed(b, region.getLoc(), yield->getOperand(number), toLast(rank)));
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
  void runOnOperation() override { Assigner(getOperation()).run(); }
};

} // namespace

std::unique_ptr<Pass> flame::cuda::createAssignLayoutPass() { return std::make_unique<AssignLayoutPass>(); }
