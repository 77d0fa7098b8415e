//===- ReduceBody.cpp - elements of reductions, loops of scans --------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Body/Reduction.h"
#include "flame/Ops/Reduce.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;

static Value identityOf(ScalarBuilder &s, StringRef kind, Type elementType) {
  if (kind == "prod")
    return s.number(elementType, 1);
  if (kind == "max")
    return s.lowest(elementType);
  if (kind == "min")
    return s.highest(elementType);
  return s.number(elementType, 0);
}

static Value combine(ScalarBuilder &s, StringRef kind, Value x, Value y) {
  if (kind == "prod")
    return s.mul(x, y);
  if (kind == "max")
    return s.max(x, y);
  if (kind == "min")
    return s.min(x, y);
  return s.add(x, y);
}

static Reduction describe(ReduceOp op, ElementBuilder &b) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  Reduction r{op.getX(), SmallVector<int64_t>(op.getAxes()), op.getKeepdims(), {}, {}, {}, {}};
  llvm::sort(r.axes);
  r.init = {identityOf(s, op.getKind(), elementType)};
  r.combine = [=](ValueRange x, ValueRange y) mutable { return Values{combine(s, op.getKind(), x[0], y[0])}; };
  r.step = [=, &b](ValueRange carried, ValueRange index) mutable {
    return Values{combine(s, op.getKind(), carried[0], b.element(op.getX(), index))};
  };
  r.finish = [=, &b, axes = r.axes](ValueRange all) mutable -> Value {
    if (op.getKind() != "mean")
      return all[0];
    DimExpr count = b.shapes().constant(1);
    for (int64_t axis : axes)
      count = count * b.shapes().dim(op.getX(), axis);
    return s.div(all[0], b.fromIndex(b.expr(count), elementType));
  };
  return r;
}

static Reduction describe(ArgReduceOp op, ElementBuilder &b) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  bool isMax = op.getKind() == "max", last = op.getSelectLastIndex();
  Reduction r{op.getX(), {int64_t(op.getAxis())}, op.getKeepdims(), {}, {}, {}, {}};
  // No element is worse than the position beyond the end, or before the first, of the worst number.
  r.init = {isMax ? s.lowest(elementType) : s.highest(elementType), last ? b.index(-1) : b.dim(op.getX(), op.getAxis())};
  auto isNaN = [s](Value x) mutable { return ScalarBuilder::isFloat(x) ? s.isNaN(x) : s.boolean(false); };
  auto choose = [=](Value wins, ValueRange x, ValueRange y) mutable {
    return Values{s.select(wins, x[0], y[0]), s.select(wins, x[1], y[1])};
  };
  // NaN beats every number, and the first or last NaN counts.
  r.step = [=, &b](ValueRange best, ValueRange index) mutable {
    Value x = b.element(op.getX(), index), position = index[op.getAxis()];
    Value better = isMax ? (last ? s.ge(x, best[0]) : s.gt(x, best[0])) : (last ? s.le(x, best[0]) : s.lt(x, best[0]));
    if (ScalarBuilder::isFloat(x))
      better = s.logicalOr(better, last ? isNaN(x) : s.logicalAnd(isNaN(x), s.logicalNot(isNaN(best[0]))));
    if (!last) // the first element wins against none, even if it is the worst number
      better = s.logicalOr(better, b.cmpi(arith::CmpIPredicate::eq, best[1], b.dim(op.getX(), op.getAxis())));
    return choose(better, {x, position}, best);
  };
  r.combine = [=, &b](ValueRange x, ValueRange y) mutable {
    Value earlier = b.cmpi(arith::CmpIPredicate::slt, x[1], y[1]), wins = isMax ? s.gt(x[0], y[0]) : s.lt(x[0], y[0]);
    Value ties = s.eq(x[0], y[0]);
    if (ScalarBuilder::isFloat(x[0])) {
      ties = s.logicalOr(ties, s.logicalAnd(isNaN(x[0]), isNaN(y[0])));
      wins = s.logicalOr(wins, s.logicalAnd(isNaN(x[0]), s.logicalNot(isNaN(y[0]))));
    }
    Value preferred = last ? b.cmpi(arith::CmpIPredicate::sgt, x[1], y[1]) : earlier;
    return choose(s.logicalOr(wins, s.logicalAnd(ties, preferred)), x, y);
  };
  r.finish = [=, &b](ValueRange best) { return b.fromIndex(last ? b.maxi(best[1], b.index(0)) : best[1], b.b.getI64Type()); };
  return r;
}

static Reduction describe(ScanOp op, ElementBuilder &b) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  Reduction r{op.getX(), {int64_t(op.getAxis())}, true, {identityOf(s, op.getKind(), elementType)}, {}, {}, {}};
  r.combine = [=](ValueRange x, ValueRange y) mutable { return Values{combine(s, op.getKind(), x[0], y[0])}; };
  r.step = [=, &b](ValueRange carried, ValueRange index) mutable {
    return Values{combine(s, op.getKind(), carried[0], b.element(op.getX(), index))};
  };
  r.finish = [](ValueRange all) { return all[0]; };
  return r;
}

bool flame::isReduction(Operation *op) { return isa<ReduceOp, ArgReduceOp>(op); }

Reduction flame::reductionOf(Operation *op, ElementBuilder &b) {
  if (auto reduce = dyn_cast<ReduceOp>(op))
    return describe(reduce, b);
  if (auto scan = dyn_cast<ScanOp>(op))
    return describe(scan, b);
  return describe(cast<ArgReduceOp>(op), b);
}

Reduction::Values Reduction::indexOf(ValueRange result, ValueRange reduced) const {
  // Places of the result's index: all of the operand's, or those that are left.
  Values index;
  size_t rank = keepDims ? result.size() : result.size() + axes.size(), next = 0, inner = 0;
  for (size_t d = 0; d < rank; ++d) {
    bool isReduced = llvm::is_contained(axes, int64_t(d));
    index.push_back(isReduced ? reduced[inner++] : result[next]);
    next += !isReduced || keepDims;
  }
  return index;
}

static Value reduceElement(ReduceOp op, ElementBuilder &b, ValueRange index) {
  Reduction r = describe(op, b);
  SmallVector<DimExpr> extents;
  for (int64_t axis : r.axes)
    extents.push_back(b.shapes().dim(op.getX(), axis));
  auto join = [&](Value x, Value y) { return r.combine(x, y)[0]; };
  Value all = b.fold(extents, r.init[0], join,
                     [&](ValueRange inner) { return b.element(op.getX(), r.indexOf(index, inner)); });
  return r.finish(all);
}

static Value argReduceElement(ArgReduceOp op, ElementBuilder &b, ValueRange index) {
  Reduction r = describe(op, b);
  Values found = b.loop(b.index(0), b.dim(op.getX(), op.getAxis()), r.init,
                        [&](Value i, ValueRange best) { return r.step(best, r.indexOf(index, i)); });
  return r.finish(found);
}

/// The dims that a scan runs over in parallel.
static SmallVector<DimExpr> otherDims(ScanOp op, ShapeContext &context) {
  SmallVector<DimExpr> dims(context.dims(op.getX()));
  dims.erase(dims.begin() + op.getAxis());
  return dims;
}

static DimExpr scanExtent(ScanOp op, ShapeContext &context) {
  DimExpr extent = context.constant(1);
  for (DimExpr dim : otherDims(op, context))
    extent = extent * dim;
  return extent;
}

static void scanLoops(ScanOp op, LoopsBuilder &b, Value begin, Value end) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  int64_t axis = op.getAxis();
  SmallVector<DimExpr> others = otherDims(op, b.shapes());
  b.loop(begin, end, {}, [&](Value lane, ValueRange) {
    Values at = b.delinearize(lane, others);
    at.insert(at.begin() + axis, Value());
    Value size = b.dim(op.getX(), axis);
    b.loop(b.index(0), size, identityOf(s, op.getKind(), elementType), [&](Value step, ValueRange carried) {
      Values full = at;
      full[axis] = op.getReverse() ? b.subi(b.subi(size, b.index(1)), step) : step;
      Value next = combine(s, op.getKind(), carried[0], b.element(op.getX(), full));
      b.store(op.getResult(), full, op.getExclusive() ? carried[0] : next);
      return Values{next};
    });
    return Values{};
  });
}

void flame::registerReduceBodies(MLIRContext *context) {
  attachElement<ReduceOp, reduceElement, /*Cheap=*/false>(context);
  attachElement<ArgReduceOp, argReduceElement, /*Cheap=*/false>(context);
  attachLoops<ScanOp, scanExtent, scanLoops>(context);
}
