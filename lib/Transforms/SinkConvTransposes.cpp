//===- SinkConvTransposes.cpp - what follows a transposed convolution joins it -----------------------------------===//
//
// See Passes.td. One pass over the ops in order: each one that a rewrite makes is the next one's operand.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Analysis/ImageOrder.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Conv.h"
#include "flame/Transforms/Passes.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_SINKCONVTRANSPOSES
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

class Sinker : FunctionRewriter {
public:
  /// Most pointwise ops behind a convolution.
  static constexpr unsigned longestRun = 32;

  explicit Sinker(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) {
      if (isa<PointwiseInterface>(op) && op->getNumResults() == 1 && isa<RankedTensorType>(op->getResult(0).getType()))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      sink(op);
    sweep();
  }

private:
  /// True if nothing but `op` reads the value, or ops that a rewrite left behind: these stay until the end, because
  /// what ShapeContext knows refers to them.
  static bool isOnlyUser(Value value, Operation *op, unsigned step = 0) {
    return step < longestRun && llvm::all_of(value.getUsers(), [&](Operation *user) {
             return user == op ||
                    (isa<PointwiseInterface, TransposeOp>(user) && isOnlyUser(user->getResult(0), nullptr, step + 1));
           });
  }

  /// A convolution's result, or pointwise ops of its shape behind it, that one op reads.
  bool isConvolved(Value value, Operation *reader, unsigned step = 0) {
    Operation *op = value.getDefiningOp();
    if (!op || step == longestRun || !isOnlyUser(value, reader))
      return false;
    if (isa<ConvOp>(op))
      return true;
    return isa<PointwiseInterface>(op) && llvm::any_of(op->getOperands(), [&](Value operand) {
             return isa<RankedTensorType>(operand.getType()) && dimsOf(operand) == dimsOf(value) &&
                    isConvolved(operand, op, step + 1);
           });
  }

  /// An operand of an op on images with channels last, for one on images with channels first; null if it can't be had.
  Value first(GraphBuilder &g, Value operand, const Dims &last) {
    Dims dims = dimsOf(operand);
    auto transpose = operand.getDefiningOp<TransposeOp>();
    if (isChannelsLast(transpose) && dims.size() == last.size())
      return transpose.getX();
    if (dims == last)
      return g.transpose(operand, channelsFirst(last.size()));
    auto isOne = [](DimExpr dim) { return dim.isConstant(1); };
    if (dims.empty() || dims.size() > last.size() || !llvm::all_of(ArrayRef(dims).drop_back(), isOne))
      return dims.empty() ? operand : Value();
    if (isOne(dims.back()))
      return operand;
    Dims columns(last.size() - 1, exprs.constant(1));
    columns.front() = dims.back();
    return g.reshape(operand, columns);
  }

  /// f(transpose(c), …) is transpose(f(c, …)).
  void sink(Operation *op) {
    TransposeOp of;
    for (Value operand : op->getOperands())
      if (auto transpose = operand.getDefiningOp<TransposeOp>();
          isChannelsLast(transpose) && isOnlyUser(operand, op) && isConvolved(transpose.getX(), transpose))
        of = transpose;
    Value result = op->getResult(0);
    if (!of || dimsOf(of) != dimsOf(result) || op->use_empty())
      return;
    OpBuilder b(op);
    GraphBuilder g(b, op->getLoc(), shapes);
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      Value moved = isa<RankedTensorType>(operand.getType()) ? first(g, operand, dimsOf(result)) : Value();
      if (!moved)
        return;
      operands.push_back(moved);
    }
    Value inner = g.create(op->getName().getStringRef(), operands, op->getAttrs())->getResult(0);
    Value outer = g.transpose(inner, of.getPerm());
    if (outer.getType() == result.getType())
      result.replaceAllUsesWith(outer);
  }
};

struct SinkConvTransposesPass : flame::impl::SinkConvTransposesBase<SinkConvTransposesPass> {
  void runOnOperation() override { Sinker(getOperation()).run(); }
};

} // namespace
