//===- SplitProducts.cpp - a product whose two parts meet becomes two products ------------------------------------------===//
//
// See Passes.td. What the parts meet in is left as it is: region formation finds that the two products are a pair.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Analysis/PairedProducts.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_SPLITPRODUCTS
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

class Splitter : FunctionRewriter {
public:
  Splitter(func::FuncOp function, bool tf32) : FunctionRewriter(function), tf32(tf32) {}

  void run() {
    SmallVector<MatMulOp> products;
    function.walk([&](MatMulOp op) { products.push_back(op); });
    for (MatMulOp op : products)
      if (canBePaired(op, tf32))
        split(op);
    sweep();
  }

private:
  bool tf32;

  /// A part of the last dim: from `start` on.
  struct Part {
    SliceOp slice;
    int64_t start;
  };

  /// The slice as a part of `size` elements of the last dim; none if it is anything else.
  std::optional<Part> partOf(Operation *user, Value whole) {
    auto slice = dyn_cast<SliceOp>(user);
    if (!slice || slice.getX() != whole)
      return {};
    Dims from = dimsOf(whole), to = dimsOf(slice.getResult());
    if (ArrayRef(from).drop_back() != ArrayRef(to).drop_back())
      return {};
    int64_t last = from.size() - 1;
    auto start = shapes.element(slice.getStarts(), last).constant(), step = shapes.element(slice.getSteps(), last).constant();
    if (!start || step != 1 || !to.back().constant())
      return {};
    // Other dims are whole, so their elements come in order if any two of them do.
    for (int64_t d = 0; d < last; ++d)
      if (!shapes.element(slice.getStarts(), d).isConstant(0) || !shapes.element(slice.getSteps(), d).isConstant(1))
        return {};
    return Part{slice, *start};
  }

  /// True if all that is computed of the two, by pointwise ops of their shape, leaves by one value, which depends on both.
  bool meet(Value a, Value b) {
    constexpr size_t most = 24;
    llvm::SetVector<Operation *> ops;
    ops.insert(a.getDefiningOp());
    ops.insert(b.getDefiningOp());
    while (ops.size() <= most) {
      // Of the ops whose results leave, the first one.
      Operation *first = nullptr;
      unsigned leaving = 0;
      for (Operation *op : ops)
        if (!llvm::all_of(op->getUsers(), [&](Operation *user) { return ops.contains(user); }) || op->use_empty()) {
          ++leaving;
          if (!first || op->isBeforeInBlock(first))
            first = op;
        }
      // All that is known leads to the only one.
      if (leaving == 1)
        return true;
      if (!first || first->use_empty())
        return false;
      for (Operation *user : first->getUsers()) {
        if (!isa<PointwiseInterface>(user) || user->getNumResults() != 1 || user->getBlock() != first->getBlock() ||
            dimsOf(user->getResult(0)) != dimsOf(a))
          return false;
        ops.insert(user);
      }
    }
    return false;
  }

  void split(MatMulOp op) {
    // Pointwise ops with operands that are the same for all columns, or one number for each.
    SmallVector<Operation *> chain;
    Value whole = op.getResult();
    const auto columns = dimsOf(whole).back().constant();
    if (!columns)
      return;
    while (whole.hasOneUse()) {
      Operation *user = *whole.user_begin();
      if (!isa<PointwiseInterface>(user) || user->getNumResults() != 1 || user->getBlock() != op->getBlock() ||
          dimsOf(user->getResult(0)) != dimsOf(op.getResult()) || !canCut(user, whole))
        return;
      chain.push_back(user);
      whole = user->getResult(0);
    }
    SmallVector<Part> parts;
    for (Operation *user : whole.getUsers()) {
      std::optional<Part> part = partOf(user, whole);
      if (!part || parts.size() == 2)
        return;
      parts.push_back(*part);
    }
    if (parts.size() != 2)
      return;
    llvm::sort(parts, [](const Part &a, const Part &b) { return a.start < b.start; });
    Value first = parts[0].slice.getResult(), second = parts[1].slice.getResult();
    const int64_t size = *dimsOf(first).back().constant();
    if (dimsOf(second).back().constant() != size || parts[0].start + size > parts[1].start || !isAligned(op, parts) ||
        first.getParentBlock() != op->getBlock() || second.getParentBlock() != op->getBlock() || !meet(first, second))
      return;

    OpBuilder b(op);
    GraphBuilder g(b, op.getLoc(), shapes);
    auto cut = [&](Value value, int64_t axis, const Part &part) {
      return g.sliceAxis(value, axis, exprs.constant(part.start), exprs.constant(size));
    };
    SmallVector<Value> results;
    for (const Part &part : parts)
      results.push_back(cut(op.getY(), op.getTransposeY() ? 0 : 1, part));
    for (Value &result : results)
      result = g.create(MatMulOp::getOperationName(), {op.getX(), result}, op->getAttrs())->getResult(0);
    Value before = op.getResult();
    for (Operation *user : chain) {
      b.setInsertionPoint(user);
      g.loc = user->getLoc();
      for (auto [part, result] : llvm::zip(parts, results)) {
        SmallVector<Value> operands;
        for (Value operand : user->getOperands())
          operands.push_back(operand == before ? result
                             : isWide(operand) ? cut(operand, shapes.rank(operand) - 1, part)
                                               : operand);
        result = g.create(user->getName().getStringRef(), operands, user->getAttrs())->getResult(0);
      }
      before = user->getResult(0);
    }
    for (auto [part, result] : llvm::zip(parts, results))
      part.slice.getResult().replaceAllUsesWith(result);
  }

  /// One number for each column, or more.
  bool isWide(Value value) { return shapes.rank(value) > 0 && !dimsOf(value).back().isConstant(1); }
  /// The other operands are a row, or the same for all columns.
  bool canCut(Operation *op, Value whole) {
    unsigned count = 0;
    for (Value operand : op->getOperands()) {
      if (operand == whole) {
        ++count;
        continue;
      }
      if (isWide(operand) && shapes.rank(operand) != 1)
        return false;
    }
    return count == 1;
  }

  /// Whether the copy engine can read both parts where they are: from multiples of 16 bytes on.
  static bool isAligned(MatMulOp op, ArrayRef<Part> parts) {
    auto y = cast<RankedTensorType>(op.getY().getType());
    int64_t step = op.getTransposeY() ? y.getDimSize(1) : 1, bytes = y.getElementTypeBitWidth() / 8;
    return !ShapedType::isDynamic(step) &&
           llvm::all_of(parts, [&](const Part &part) { return part.start * step * bytes % 16 == 0; });
  }
};

struct SplitProductsPass : flame::impl::SplitProductsBase<SplitProductsPass> {
  using SplitProductsBase::SplitProductsBase;
  void runOnOperation() override { Splitter(getOperation(), tf32).run(); }
};

} // namespace
