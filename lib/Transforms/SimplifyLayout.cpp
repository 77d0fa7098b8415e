//===- SimplifyLayout.cpp - reshapes and transposes where they cost nothing -------------------------------------------===//
//
// See Passes.td. One pass over the ops in order, each looked at once: a rewrite only moves a reshape or a transpose past
// ops that it can see, so that there is nothing to iterate. Dead ops stay until the end, because what ShapeContext knows
// refers to them. Sizes are equal because their expressions are.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_SIMPLIFYLAYOUT
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

/// Longest run of pointwise ops that a reshape or transpose is moved past.
constexpr unsigned longestRun = 32;

class Simplifier : FunctionRewriter {
public:
  explicit Simplifier(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    SmallVector<Operation *> ops;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops) {
      if (op->use_empty() || op->getNumResults() != 1 || !isa<RankedTensorType>(op->getResult(0).getType()))
        continue;
      if (auto reshape = dyn_cast<ReshapeOp>(op))
        (void)(merge(reshape) || beforeSlice(reshape) || beforeConcat(reshape) || hoist(reshape));
      else if (auto slice = dyn_cast<SliceOp>(op))
        (void)merge(slice);
      else if (auto transpose = dyn_cast<TransposeOp>(op))
        (void)(merge(transpose) || toReshape(transpose));
      else if (isPointwise(op))
        (void)(sinkReshape(op) || sinkTranspose(op));
    }
    sweep();
  }

private:
  static bool isPointwise(Operation *op) { return isa<PointwiseInterface>(op); }

  /// True if nothing but ops that a rewrite left behind reads an op's results.
  static bool isDead(Operation *op, unsigned depth = 0) {
    return depth < longestRun && isPure(op) && !op->hasTrait<OpTrait::IsTerminator>() &&
           llvm::all_of(op->getUsers(), [&](Operation *user) { return isDead(user, depth + 1); });
  }
  /// The only op that reads a value, or null. It may read it twice.
  static Operation *onlyUser(Value value) {
    Operation *only = nullptr;
    for (Operation *user : value.getUsers()) {
      if (user == only || isDead(user))
        continue;
      if (only)
        return nullptr;
      only = user;
    }
    return only;
  }

  GraphBuilder builderAt(OpBuilder &b, Operation *op) { return GraphBuilder(b, op->getLoc(), shapes); }

  bool replace(Operation *op, Value by) {
    if (by.getType() != op->getResult(0).getType())
      return false;
    op->getResult(0).replaceAllUsesWith(by);
    return true;
  }

  /// The same op on other operands.
  Value rebuild(GraphBuilder &g, Operation *op, ValueRange operands) {
    Location loc = g.loc;
    g.loc = op->getLoc();
    Value result = g.create(op->getName().getStringRef(), operands, op->getAttrs())->getResult(0);
    g.loc = loc;
    return result;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Two of a kind
  //===----------------------------------------------------------------------------------------------------------------===//

  /// reshape(reshape(x)) is reshape(x), or x.
  bool merge(ReshapeOp op) {
    while (auto inner = op.getX().getDefiningOp<ReshapeOp>())
      op.getXMutable().assign(inner.getX());
    return dimsOf(op.getX()) == dimsOf(op) && replace(op, op.getX());
  }

  /// transpose(transpose(x)) is transpose(x), or x.
  bool merge(TransposeOp op) {
    while (auto inner = op.getX().getDefiningOp<TransposeOp>()) {
      SmallVector<int64_t> perm;
      for (int64_t d : op.getPerm())
        perm.push_back(inner.getPerm()[d]);
      op.getXMutable().assign(inner.getX());
      op.setPerm(perm);
    }
    return llvm::is_sorted(op.getPerm()) && replace(op, op.getX());
  }

  /// slice(slice(x)) is slice(x), where neither leaves elements out between those that it takes.
  bool merge(SliceOp op) {
    auto inner = op.getX().getDefiningOp<SliceOp>();
    if (!inner)
      return false;
    Dims starts;
    for (int64_t d = 0, rank = shapes.rank(op); d < rank; ++d) {
      if (!shapes.element(op.getSteps(), d).isConstant(1) || !shapes.element(inner.getSteps(), d).isConstant(1))
        return false;
      starts.push_back(shapes.element(op.getStarts(), d) + shapes.element(inner.getStarts(), d));
    }
    OpBuilder b(op);
    return replace(op,
                   builderAt(b, op).slice(inner.getX(), starts, dimsOf(op), Dims(starts.size(), exprs.constant(1))));
  }

  /// A transpose that moves only dims of one element is a reshape.
  bool toReshape(TransposeOp op) {
    Dims from = dimsOf(op.getX());
    int64_t last = -1;
    for (int64_t d : op.getPerm()) {
      if (from[d].isConstant(1))
        continue;
      if (d < last)
        return false;
      last = d;
    }
    OpBuilder b(op);
    return replace(op, builderAt(b, op).reshape(op.getX(), dimsOf(op)));
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Reshapes
  //===----------------------------------------------------------------------------------------------------------------===//

  /// How many trailing dims two shapes have in common.
  static unsigned commonTail(ArrayRef<DimExpr> a, ArrayRef<DimExpr> b) {
    unsigned n = 0;
    while (n < a.size() && n < b.size() && a[a.size() - 1 - n] == b[b.size() - 1 - n])
      ++n;
    return n;
  }
  /// True if a broadcast operand doesn't notice that its partner's dims before the last `tail` change.
  bool survives(Value operand, unsigned tail, size_t rank) {
    ArrayRef<DimExpr> dims = shapes.dims(operand);
    if (dims.size() > rank)
      return false;
    return llvm::all_of(dims.drop_back(std::min<size_t>(tail, dims.size())), [](DimExpr d) { return d.isConstant(1); });
  }
  /// The one operand of a pointwise op that has the dims of the result, if all others survive a change of its leading dims.
  std::optional<unsigned> dataOperand(Operation *op, unsigned tail, size_t rank) {
    std::optional<unsigned> data;
    ArrayRef<DimExpr> dims = shapes.dims(op->getResult(0));
    for (OpOperand &operand : op->getOpOperands()) {
      if (survives(operand.get(), tail, rank))
        continue;
      if (data || shapes.dims(operand.get()) != dims)
        return {};
      data = operand.getOperandNumber();
    }
    return data;
  }

  /// reshape(slice(x)) that splits the sliced dim is slice(reshape(x)): the slice can then be read by what follows.
  bool beforeSlice(ReshapeOp op) {
    OpBuilder b(op);
    GraphBuilder g = builderAt(b, op);
    Value sliced = sliceOfReshape(g, op.getX(), dimsOf(op));
    return sliced && replace(op, sliced);
  }
  /// The slice of a reshaped tensor that a slice reshaped to `to` is; null if there is none, or others read the slice.
  Value sliceOfReshape(GraphBuilder &g, Value value, const Dims &to) {
    auto slice = value.getDefiningOp<SliceOp>();
    if (!slice || !onlyUser(slice))
      return {};
    Dims from = dimsOf(slice.getX()), sliced = dimsOf(slice);
    size_t axis = from.size() - 1;
    if (from.empty() || to.size() != from.size() + 1)
      return {};
    for (size_t d = 0; d < axis; ++d)
      if (from[d] != sliced[d] || to[d] != from[d])
        return {};
    for (size_t d = 0; d <= axis; ++d)
      if (!shapes.element(slice.getSteps(), d).isConstant(1) ||
          (d < axis && !shapes.element(slice.getStarts(), d).isConstant(0)))
        return {};
    auto inner = to.back().constant(), whole = from.back().constant();
    auto start = shapes.element(slice.getStarts(), axis).constant();
    if (!inner || !whole || !start || *inner <= 0 || *whole % *inner != 0 || *start % *inner != 0)
      return {};
    Dims split = to;
    split[axis] = exprs.constant(*whole / *inner);
    Value x = g.reshape(slice.getX(), split);
    return g.sliceAxis(x, axis, exprs.constant(*start / *inner), to[axis]);
  }

  /// reshape(concat(slices)) that splits the last dim, and so that of the slices, is concat(slice(reshape(x)), …): what follows can
  /// then read each x where it is.
  bool beforeConcat(ReshapeOp op) {
    auto concat = op.getX().getDefiningOp<ConcatOp>();
    Dims to = dimsOf(op), from = dimsOf(op.getX());
    if (!concat || !onlyUser(concat.getResult()) || to.size() != from.size() + 1 || size_t(concat.getAxis()) + 1 >= from.size() ||
        !std::equal(from.begin(), from.end() - 1, to.begin()))
      return false;
    OpBuilder b(op);
    GraphBuilder g = builderAt(b, op);
    SmallVector<Value> xs;
    for (Value x : concat.getXs()) {
      Dims dims = to;
      dims[concat.getAxis()] = shapes.dim(x, concat.getAxis());
      Value sliced = sliceOfReshape(g, x, dims);
      if (!sliced)
        return false;
      xs.push_back(sliced);
    }
    return replace(op, g.concat(xs, concat.getAxis()));
  }

  /// True if a reshape of `value` to `dims` vanishes above it: in another reshape, or in a product that has as many rows
  /// in any shape.
  bool absorbsReshape(Value value, ArrayRef<DimExpr> dims) {
    for (unsigned step = 0; step < longestRun; ++step) {
      Operation *op = value.getDefiningOp();
      if (op && isa<ReshapeOp>(op))
        return true;
      if (!op || !onlyUser(value))
        return false;
      unsigned tail = commonTail(shapes.dims(value), dims);
      if (auto product = dyn_cast<MatMulOp>(op))
        return tail >= 1 && isTall(product) && dims.size() >= 2;
      if (!isPointwise(op))
        return false;
      std::optional<unsigned> data = dataOperand(op, tail, dims.size());
      if (!data)
        return false;
      value = op->getOperand(*data);
    }
    return false;
  }
  /// One matrix shared by all rows of x.
  bool isTall(MatMulOp op) {
    return !op.getTransposeX() && !op.getPackedColumns() && shapes.rank(op.getY()) == 2 && shapes.rank(op.getX()) >= 2;
  }

  /// reshape(f(x)) is f(reshape(x)) for pointwise ops and for products with one matrix.
  bool hoist(ReshapeOp op) {
    Dims dims = dimsOf(op);
    if (!onlyUser(op.getX()) || op.getX().getDefiningOp<ReshapeOp>() || !absorbsReshape(op.getX(), dims))
      return false;
    OpBuilder b(op);
    GraphBuilder g = builderAt(b, op);
    return replace(op, reshaped(g, op.getX(), dims));
  }
  Value reshaped(GraphBuilder &g, Value value, const Dims &dims) {
    Operation *op = value.getDefiningOp();
    if (auto inner = dyn_cast<ReshapeOp>(op)) {
      Value x = inner.getX();
      return dimsOf(x) == dims ? x : g.reshape(x, dims);
    }
    SmallVector<Value> operands(op->getOperands());
    if (auto product = dyn_cast<MatMulOp>(op)) {
      Dims rows = dims;
      rows.back() = dimsOf(product.getX()).back();
      Value x = product.getX();
      while (auto inner = x.getDefiningOp<ReshapeOp>())
        x = inner.getX();
      operands[0] = dimsOf(x) == rows ? x : g.reshape(x, rows);
    } else {
      unsigned data = *dataOperand(op, commonTail(shapes.dims(value), dims), dims.size());
      operands[data] = reshaped(g, operands[data], dims);
    }
    return rebuild(g, op, operands);
  }

  /// True if `op` is a function of one value alone that a reduction reads, through pointwise ops or none: it belongs
  /// into the row program of that reduction, which has the shape that `op` has.
  bool startsRow(Operation *op) {
    if (!llvm::all_equal(op->getOperands()))
      return false;
    SmallVector<Operation *> way{op};
    for (size_t i = 0; i < way.size() && i < longestRun; ++i)
      for (Operation *user : way[i]->getUsers()) {
        if (isa<ReduceOp>(user))
          return true;
        if (isPointwise(user) && dimsOf(user->getResult(0)) == dimsOf(op->getResult(0)) &&
            !llvm::is_contained(way, user))
          way.push_back(user);
      }
    return false;
  }

  /// f(reshape(x)) is reshape(f(x)) where x comes from an op that f can join.
  bool sinkReshape(Operation *op) {
    if (startsRow(op))
      return false;
    Dims from, to = dimsOf(op->getResult(0));
    unsigned tail = 0;
    for (Value operand : op->getOperands())
      if (auto reshape = operand.getDefiningOp<ReshapeOp>(); reshape && from.empty() && dimsOf(operand) == to) {
        Operation *producer = reshape.getX().getDefiningOp();
        if (!producer || !(isPointwise(producer) || isa<MatMulOp, ConvOp>(producer)))
          return false;
        from = dimsOf(reshape.getX());
        tail = commonTail(from, to);
      }
    if (from.empty() || isa<IntegerType>(getElementTypeOrSelf(op->getResult(0).getType())))
      return false;
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      auto reshape = operand.getDefiningOp<ReshapeOp>();
      if (reshape && dimsOf(operand) == to && dimsOf(reshape.getX()) == from)
        operands.push_back(reshape.getX());
      else if (survives(operand, tail, from.size()))
        operands.push_back(operand);
      else
        return false;
    }
    OpBuilder b(op);
    GraphBuilder g = builderAt(b, op);
    return replace(op, g.reshape(rebuild(g, op, operands), to));
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Transposes
  //===----------------------------------------------------------------------------------------------------------------===//

  /// True if a transpose of `value` vanishes below it.
  bool absorbsTranspose(Value value) {
    for (unsigned step = 0; step < longestRun; ++step) {
      Operation *user = onlyUser(value);
      if (!user)
        return false;
      if (isa<TransposeOp, MatMulOp>(user))
        return true;
      if (!isPointwise(user))
        return false;
      for (Value operand : user->getOperands())
        if (operand != value && !operand.getDefiningOp<TransposeOp>() && !shapes.numElements(operand).isConstant(1))
          return false;
      value = user->getResult(0);
    }
    return false;
  }

  /// f(transpose(x)) is transpose(f(x)), where that lets it meet another transpose or a product.
  bool sinkTranspose(Operation *op) {
    TransposeOp first;
    size_t rank = shapes.rank(op->getResult(0));
    for (Value operand : op->getOperands())
      if (!first)
        first = operand.getDefiningOp<TransposeOp>();
    if (!first || dimsOf(first) != dimsOf(op->getResult(0)) || !absorbsTranspose(op->getResult(0)))
      return false;
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      auto transpose = operand.getDefiningOp<TransposeOp>();
      if (transpose && onlyUser(transpose) && transpose.getPerm() == first.getPerm())
        operands.push_back(transpose.getX());
      else if (shapes.numElements(operand).isConstant(1) && size_t(shapes.rank(operand)) <= rank)
        operands.push_back(operand);
      else
        return false;
    }
    OpBuilder b(op);
    GraphBuilder g = builderAt(b, op);
    return replace(op, g.transpose(rebuild(g, op, operands), first.getPerm()));
  }
};

struct SimplifyLayoutPass : flame::impl::SimplifyLayoutBase<SimplifyLayoutPass> {
  void runOnOperation() override { Simplifier(getOperation()).run(); }
};

} // namespace
