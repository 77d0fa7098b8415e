//===- PackValues.cpp - values of attention in 8 bits, as the matrix instructions want them ----------------------------------===//
//
// wgmma reads operands of 8 bits along the inner dim, which for the product of weights and values are the keys, and in the order of
// `pack_inner`, so that weights never leave registers. Values come with their heads contiguous; so a kernel before the attention stores
// them in that order. Where a pointwise kernel makes them (it quantises them, say) for nobody else, it is that one.
//
// Before:  %v = flame.region "loop"(%x) { … yield %q } : … -> tensor<2x8x500x128xf8E4M3FN>
//          %y = flame.region "attention"(…, %v) { … %r = flame.matmul %weights, %v … }
// After:   %v = flame.region "loop"(%x) { … %p = flame.pack_inner %q yield %p } : … -> tensor<2x8x128x512xf8E4M3FN>
//          %y = flame.region "attention"(…, %v) { … %r = flame.matmul %weights, %v {packed_inner} … }
//
// Runs after kernel regions are formed, for sm_90a.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"
#include "flame/Target/Cuda/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace {

class Packer {
public:
  explicit Packer(func::FuncOp function) : function(function), shapes(exprs) {}

  void run() {
    SmallVector<RegionOp> regions;
    function.walk([&](RegionOp region) {
      if (region.getAnchor() == "attention")
        regions.push_back(region);
    });
    for (RegionOp region : regions)
      pack(region);
  }

private:
  func::FuncOp function;
  DimContext exprs;
  ShapeContext shapes;

  /// The product that ends the attention, if its values have 8 bits.
  static MatMulOp contextOf(RegionOp region) {
    for (Operation &op : llvm::reverse(region.getBlock()->without_terminator()))
      if (auto product = dyn_cast<MatMulOp>(op))
        return isa<Float8E4M3FNType, Float8E5M2Type>(getElementTypeOrSelf(product.getY().getType())) ? product : MatMulOp();
    return {};
  }

  /// `value` and what it is computed from inside of its region, in order. False if that is more than movement of one input.
  static bool collect(Value value, llvm::SetVector<Operation *> &ops, BlockArgument &from) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return (from = argument, true);
    Operation *op = value.getDefiningOp();
    if (!isa<TransposeOp, SliceOp, ExpandOp>(op) || !collect(op->getOperand(0), ops, from))
      return false;
    for (Value operand : op->getOperands().drop_front())
      if (Operation *constant = operand.getDefiningOp()) {
        if (constant->getNumOperands())
          return false;
        ops.insert(constant);
      }
    ops.insert(op);
    return true;
  }

  /// A region that computes pointwise what nobody else reads.
  static RegionOp onlyProducer(Value value) {
    auto region = value.getDefiningOp<RegionOp>();
    if (!region || region.getAnchor() != "loop" || region.getNumResults() != 1 || !value.hasOneUse())
      return {};
    for (Operation &op : region.getBlock()->without_terminator())
      if (!isa<PointwiseInterface, ReshapeOp, SliceOp>(op) && op.getName().stripDialect() != "constant" && !keepsRows(op))
        return {};
    return region;
  }
  static bool keepsRows(Operation &op) {
    auto transpose = dyn_cast<TransposeOp>(op);
    return transpose && !transpose.getPerm().empty() && transpose.getPerm().back() == int64_t(transpose.getPerm().size()) - 1;
  }

  void pack(RegionOp region) {
    MatMulOp context = contextOf(region);
    if (!context)
      return;
    // Heads that share values share them packed, too.
    Value values = context.getY();
    while (auto expand = values.getDefiningOp<ExpandOp>()) {
      SmallVector<DimExpr> before(shapes.dims(expand.getX())), after(shapes.dims(expand.getResult()));
      if (before.size() < 2 || ArrayRef(before).take_back(2) != ArrayRef(after).take_back(2))
        break;
      values = expand.getX();
    }
    llvm::SetVector<Operation *> ops;
    BlockArgument from;
    if (!collect(values, ops, from))
      return;
    llvm::SetVector<Value> read;
    read.insert(from);
    for (Operation *op : ops)
      for (Value operand : op->getOperands())
        if (isa<BlockArgument>(operand))
          read.insert(operand);
    auto outside = [&](Value argument) { return region.getInputs()[cast<BlockArgument>(argument).getArgNumber()]; };

    OpBuilder b(region);
    Location loc = region.getLoc();
    IRMapping mapping;
    // What a kernel of its own would read: the values, or what their only producer reads.
    Value source = outside(from);
    auto view = source.hasOneUse() ? source.getDefiningOp<ReshapeOp>() : ReshapeOp();
    RegionOp producer = onlyProducer(view ? view.getX() : source);
    if (!producer)
      view = {};
    SmallVector<Value> inputs;
    if (producer)
      inputs.append(producer.getInputs().begin(), producer.getInputs().end());
    else
      inputs.push_back(source);
    const size_t own = inputs.size();
    for (Value argument : read)
      if (argument != from)
        inputs.push_back(outside(argument));
    if (view)
      inputs.push_back(view.getShape());

    Type packed = packedType(values, context.getTransposeY());
    auto made = RegionOp::create(b, loc, TypeRange(packed), inputs, b.getStringAttr("loop"), StringAttr());
    OpBuilder inner(b.getContext());
    Block *block = inner.createBlock(&made.getBody());
    for (Value input : inputs)
      block->addArgument(input.getType(), input.getLoc());
    size_t next = own;
    Value moved = block->getArgument(0);
    if (producer) {
      IRMapping copied;
      copied.map(producer.getBlock()->getArguments(), block->getArguments().take_front(own));
      for (Operation &op : producer.getBlock()->without_terminator())
        inner.clone(op, copied);
      moved = copied.lookup(producer.getYielded()[0]);
    }
    for (Value argument : read)
      if (argument != from)
        mapping.map(argument, block->getArgument(next++));
    if (view) {
      IRMapping seen;
      seen.map(view.getX(), moved);
      seen.map(view.getShape(), block->getArgument(next));
      moved = inner.clone(*view, seen)->getResult(0);
    }
    mapping.map(from, moved);
    for (Operation *op : ops)
      inner.clone(*op, mapping);
    Value result = PackInnerOp::create(inner, loc, packed, mapping.lookup(values), inner.getBoolAttr(context.getTransposeY()));
    YieldOp::create(inner, loc, result);

    // The attention reads that.
    region->insertOperands(region.getInputs().size(), made.getResult(0));
    BlockArgument argument = region.getBlock()->addArgument(packed, loc);
    context.getYMutable().assign(argument);
    context.setTransposeY(false);
    context.setPackedInner(true);
    dropUnread(region);
    if (view)
      view.erase();
    if (producer)
      producer->erase();
  }

  Type packedType(Value values, bool transposed) {
    auto type = cast<RankedTensorType>(values.getType());
    SmallVector<int64_t> shape(type.getShape());
    if (!transposed)
      std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    if (!ShapedType::isDynamic(shape.back()))
      shape.back() = (shape.back() + 15) / 16 * 16;
    return RankedTensorType::get(shape, type.getElementType());
  }

  /// Ops and inputs that nobody reads any more.
  static void dropUnread(RegionOp region) {
    Block *block = region.getBlock();
    SmallVector<Operation *> all(llvm::make_pointer_range(block->without_terminator()));
    for (Operation *op : llvm::reverse(all))
      if (op->use_empty())
        op->erase();
    for (unsigned i = block->getNumArguments(); i-- > 0;)
      if (block->getArgument(i).use_empty()) {
        block->eraseArgument(i);
        region->eraseOperand(i);
      }
  }
};

struct PackValuesPass : PassWrapper<PackValuesPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PackValuesPass)
  StringRef getArgument() const override { return "flame-pack-values"; }
  StringRef getDescription() const override { return "Store the values of attention in 8 bits in the order of matrix instructions"; }
  void runOnOperation() override { Packer(getOperation()).run(); }
};

} // namespace

std::unique_ptr<Pass> flame::cuda::createPackValuesPass() { return std::make_unique<PackValuesPass>(); }
