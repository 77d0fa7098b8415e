//===- Control.cpp - what branches and loops yield --------------------------------------------------------------------===//
//
// A dim of a result may be an expression only of symbols that exist around the op; what a branch or body computes inside
// becomes a symbol of the op's result.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Ops/Control.h"
#include "flame/IR/JoinTypes.h"
#include "flame/Ops/Region.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

#define GET_OP_CLASSES
#include "flame/Ops/Control.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerControlOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Control.cpp.inc"
      >();
}

//===--- shared ---===//

/// True if every symbol of `expr` is known before `op` starts.
static bool isKnownOutside(DimExpr expr, Operation *op, ShapeContext &context) {
  for (const flame::detail::DimTerm &term : expr.node->terms)
    for (const flame::detail::DimAtom *atom : term.factors) {
      if (atom->kind != flame::detail::AtomKind::Symbol) {
        if (!isKnownOutside(atom->a, op, context) || !isKnownOutside(atom->b, op, context))
          return false;
        continue;
      }
      auto origin = context.origins().find(atom->symbol);
      if (origin == context.origins().end())
        return false;
      Value source = origin->second.value;
      Block *block = source.getParentBlock();
      Operation *owner = block ? block->getParentOp() : nullptr;
      if (owner && op->isAncestor(owner))
        return false;
    }
  return true;
}

static bool isOneElement(Value value, Type elementType, ShapeContext &context) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor || tensor.getElementType() != elementType || tensor.getRank() > 1)
    return false;
  auto count = context.numElements(value).constant();
  return !count || *count == 1;
}

/// The terminator of a region's block, checked.
static YieldOp yieldOf(Operation *op, Region &region) {
  auto yield = region.front().mightHaveTerminator() ? dyn_cast<YieldOp>(region.front().getTerminator()) : YieldOp();
  if (!yield)
    op->emitOpError("has a body that does not end in flame.yield");
  return yield;
}

//===--- if ---===//

LogicalResult IfOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  if (!isOneElement(getCondition(), IntegerType::get(getContext(), 1), context))
    return emitOpError("condition must be a bool of one element, has type ") << getCondition().getType();
  YieldOp then = yieldOf(*this, getThenRegion()), otherwise = yieldOf(*this, getElseRegion());
  if (!then || !otherwise)
    return failure();
  for (Region *region : {&getThenRegion(), &getElseRegion()})
    if (region->front().getNumArguments() != 0)
      return emitOpError("has a branch with block arguments; branches have none");
  if (then.getNumOperands() != otherwise.getNumOperands())
    return emitOpError("has a then branch of ") << then.getNumOperands() << " values and an else branch of "
                                                << otherwise.getNumOperands();
  for (auto [i, a, b] : llvm::enumerate(then.getOperands(), otherwise.getOperands())) {
    if (!isa<RankedTensorType>(a.getType()) || !isa<RankedTensorType>(b.getType())) {
      Type joined = joinTypes(a.getType(), b.getType());
      if (!joined || isa<TensorType>(joined))
        return emitOpError("has branches that give result #") << i << " the types " << a.getType() << " and " << b.getType();
      results.push_back(ResultInfo::other(joined));
      continue;
    }
    // A copy: what is asked next may move it.
    ResultInfo x = context.info(a), y = context.info(b);
    if (x.elementType != y.elementType)
      return emitOpError("has branches that give result #") << i << " the element types " << dtypeName(x.elementType)
                                                            << " and " << dtypeName(y.elementType) << "; cast one of them";
    if (x.dims.size() != y.dims.size())
      return emitOpError("has branches that give result #") << i << " the ranks " << x.dims.size() << " and " << y.dims.size()
                                                            << "; give both the same rank, or make the condition a constant";
    for (auto [d, dim, other] : llvm::enumerate(x.dims, y.dims))
      if (dim != other || !isKnownOutside(dim, *this, context))
        dim = context.resultDim(*this, i, d);
    if (x.values && y.values && x.values->size() == y.values->size()) {
      for (auto [value, other] : llvm::zip(*x.values, *y.values))
        if (value != other || !isKnownOutside(value, *this, context)) {
          x.values.reset();
          break;
        }
    } else {
      x.values.reset();
    }
    results.push_back(std::move(x));
  }
  return success();
}

namespace {
/// An if whose condition is a constant is its branch.
struct InlineConstantIf : OpRewritePattern<IfOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(IfOp op, PatternRewriter &rewriter) const override {
    DenseElementsAttr condition;
    if (!matchPattern(op.getCondition(), m_Constant(&condition)) || condition.getNumElements() != 1)
      return failure();
    Block &block = (condition.getValues<bool>()[0] ? op.getThenRegion() : op.getElseRegion()).front();
    auto yield = cast<YieldOp>(block.getTerminator());
    // Users were checked against the op's types; a branch may know more.
    if (!llvm::equal(yield.getOperandTypes(), op.getResultTypes()))
      return failure();
    SmallVector<Value> values(yield.getOperands());
    rewriter.eraseOp(yield);
    rewriter.inlineBlockBefore(&block, op);
    rewriter.replaceOp(op, values);
    return success();
  }
};
} // namespace

void IfOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<InlineConstantIf>(context);
}

//===--- loop ---===//

bool LoopOp::isFixed(unsigned i, int64_t d) {
  auto argument = dyn_cast<RankedTensorType>(getBody().front().getArgument(2 + i).getType());
  if (!argument || d >= argument.getRank())
    return false;
  if (!argument.isDynamicDim(d))
    return true;
  if (!getFixed() || i >= getFixed()->size())
    return false;
  auto dims = dyn_cast<DenseI64ArrayAttr>((*getFixed())[i]);
  return dims && llvm::is_contained(dims.asArrayRef(), d);
}

LogicalResult LoopOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  Type i64 = IntegerType::get(getContext(), 64), i1 = IntegerType::get(getContext(), 1);
  if (getInputs().size() < unsigned(getHasTrip()) + unsigned(getHasCondition()))
    return emitOpError("has fewer operands than has_trip and has_condition say");
  if (getHasTrip() && !isOneElement(getTrip(), i64, context))
    return emitOpError("trip count must be an int64 of one element, has type ") << getTrip().getType();
  if (getHasCondition() && !isOneElement(getCondition(), i1, context))
    return emitOpError("condition must be a bool of one element, has type ") << getCondition().getType();
  OperandRange carried = getCarried();
  Block &body = getBody().front();
  if (body.getNumArguments() != 2 + carried.size())
    return emitOpError("has a body with ") << body.getNumArguments() << " arguments; iteration, condition and "
                                           << carried.size() << " carried values make " << 2 + carried.size();
  // By type alone: what the context says of them comes from this very inference.
  auto isScalarArgument = [&](unsigned i, Type elementType) {
    auto tensor = dyn_cast<RankedTensorType>(body.getArgument(i).getType());
    return tensor && tensor.getElementType() == elementType && tensor.getRank() <= 1 &&
           (!tensor.hasStaticShape() || tensor.getNumElements() == 1);
  };
  if (!isScalarArgument(0, i64) || !isScalarArgument(1, i1))
    return emitOpError("has a body whose first arguments are ") << body.getArgument(0).getType() << " and "
                                                                << body.getArgument(1).getType()
                                                                << "; they must be int64 and bool of one element";
  for (unsigned i : {0, 1})
    if (BlockArgument argument = body.getArgument(i); !context.knows(argument)) {
      auto tensor = cast<RankedTensorType>(argument.getType());
      context.set(argument, ResultInfo::tensor(tensor.getElementType(),
                                               SmallVector<DimExpr>(tensor.getRank(), context.constant(1))));
    }
  for (auto [i, init] : llvm::enumerate(carried)) {
    BlockArgument argument = body.getArgument(2 + i);
    Type joined = joinTypes(init.getType(), argument.getType());
    if (joined != argument.getType())
      return emitOpError("carried value #") << i << " starts as " << init.getType() << ", which the body's argument of type "
                                            << argument.getType() << " can't hold";
    auto tensor = dyn_cast<RankedTensorType>(argument.getType());
    if (context.knows(argument))
      continue;
    if (!tensor) {
      context.set(argument, ResultInfo::other(argument.getType()));
      continue;
    }
    ResultInfo info = ResultInfo::tensor(tensor.getElementType(), {});
    for (int64_t d = 0; d < tensor.getRank(); ++d)
      info.dims.push_back(!tensor.isDynamicDim(d) ? context.constant(tensor.getDimSize(d))
                          : isFixed(i, d)         ? context.dim(init, d)
                                                  : context.argumentDim(argument, d));
    context.set(argument, std::move(info));
  }
  YieldOp yield = yieldOf(*this, getBody());
  if (!yield)
    return failure();
  if (yield.getNumOperands() < 1 + carried.size())
    return emitOpError("has a body that yields ") << yield.getNumOperands() << " values; the condition and the carried values make "
                                                  << 1 + carried.size();
  Value next = yield.getOperand(0);
  if (!isOneElement(next, i1, context))
    return emitOpError("has a body that yields a condition of type ") << next.getType() << "; it must be a bool of one element";

  for (auto [i, init] : llvm::enumerate(carried)) {
    BlockArgument argument = body.getArgument(2 + i);
    Value value = yield.getOperand(1 + i);
    if (value == argument) { // no iteration changes it
      results.push_back(context.info(init));
      continue;
    }
    if (joinTypes(value.getType(), argument.getType()) != argument.getType() &&
        failed(verifyCompatibleShapes({value.getType(), argument.getType()})))
      return emitOpError("carried value #") << i << " is " << argument.getType() << " before an iteration and "
                                            << value.getType() << " after it; rank and element type must stay";
    auto tensor = dyn_cast<RankedTensorType>(argument.getType());
    if (!tensor) {
      results.push_back(ResultInfo::other(argument.getType()));
      continue;
    }
    if (cast<TensorType>(value.getType()).getElementType() != tensor.getElementType())
      return emitOpError("carried value #") << i << " has element type " << dtypeName(tensor.getElementType())
                                            << " before an iteration and "
                                            << dtypeName(cast<TensorType>(value.getType()).getElementType()) << " after it";
    ResultInfo info = ResultInfo::tensor(tensor.getElementType(), {});
    for (int64_t d = 0; d < tensor.getRank(); ++d)
      info.dims.push_back(!tensor.isDynamicDim(d) ? context.constant(tensor.getDimSize(d))
                          : isFixed(i, d)         ? context.dim(init, d)
                                                  : context.resultDim(*this, i, d));
    results.push_back(std::move(info));
  }

  // A loop whose condition stays true runs as often as it says; any other, nobody knows.
  auto isTrue = [&](Value condition) {
    auto known = context.constants(condition);
    return known && known->size() == 1 && (*known)[0] == 1;
  };
  bool counted = getHasTrip() && (!getHasCondition() || isTrue(getCondition())) &&
                 (next == body.getArgument(1) || isTrue(next));
  unsigned scans = yield.getNumOperands() - 1 - carried.size();
  DimExpr iterations;
  if (counted && scans) {
    DimExpr trip = context.element(getTrip(), 0);
    iterations = trip.isNonNegative() ? trip : max(trip, context.constant(0));
  }
  for (unsigned k = 0; k < scans; ++k) {
    unsigned result = carried.size() + k;
    Value element = yield.getOperand(1 + result);
    if (!isa<RankedTensorType>(element.getType()))
      return emitOpError("scan output #") << k << " has type " << element.getType() << "; only tensors can be stacked";
    ResultInfo inner = context.info(element);
    ResultInfo info = ResultInfo::tensor(inner.elementType, {});
    if (result >= getNumResults())
      return emitOpError("has ") << getNumResults() << " results; its body yields " << carried.size() << " carried values and "
                                 << scans << " scan outputs";
    // All scan outputs have one length: the symbol is the first one's.
    info.dims.push_back(iterations ? iterations : context.resultDim(*this, carried.size(), 0));
    for (auto [d, dim] : llvm::enumerate(inner.dims))
      info.dims.push_back(isKnownOutside(dim, *this, context) ? dim : context.resultDim(*this, result, d + 1));
    results.push_back(std::move(info));
  }
  return success();
}
