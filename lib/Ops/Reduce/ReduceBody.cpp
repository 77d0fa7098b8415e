//===- ReduceBody.cpp - elements of reductions, loops of scans --------------------------------------------------------===//
#include "flame/Body/Bodies.h"
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

static Value reduceElement(ReduceOp op, ElementBuilder &b, ValueRange index) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  SmallVector<DimExpr> dims(b.shapes().dims(op.getX()));
  ArrayRef<int64_t> axes = op.getAxes();
  // Position of every kept dim in the result's index.
  Values at(dims.size());
  for (int64_t d = 0, next = 0; d < int64_t(dims.size()); ++d) {
    bool isReduced = llvm::is_contained(axes, d);
    if (!isReduced)
      at[d] = index[next++];
    else if (op.getKeepdims())
      ++next;
  }
  SmallVector<int64_t> order(axes);
  llvm::sort(order);
  SmallVector<DimExpr> extents;
  for (int64_t axis : order)
    extents.push_back(dims[axis]);
  auto join = [&](Value x, Value y) { return combine(s, op.getKind(), x, y); };
  Value result = b.fold(extents, identityOf(s, op.getKind(), elementType), join, [&](ValueRange inner) {
    Values full = at;
    for (auto [axis, i] : llvm::zip(order, inner))
      full[axis] = i;
    return b.element(op.getX(), full);
  });
  if (op.getKind() != "mean")
    return result;
  DimExpr count = b.shapes().constant(1);
  for (int64_t axis : order)
    count = count * dims[axis];
  return s.div(result, b.fromIndex(b.expr(count), elementType));
}

static Value argReduceElement(ArgReduceOp op, ElementBuilder &b, ValueRange index) {
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(elementType);
  int64_t axis = op.getAxis();
  bool isMax = op.getKind() == "max", last = op.getSelectLastIndex();
  Values at(index);
  if (!op.getKeepdims())
    at.insert(at.begin() + axis, Value());
  Values init{isMax ? s.lowest(elementType) : s.highest(elementType), b.index(0)};
  Values found = b.loop(b.index(0), b.dim(op.getX(), axis), init, [&](Value i, ValueRange carried) {
    Values full = at;
    full[axis] = i;
    Value x = b.element(op.getX(), full), best = carried[0];
    Value better = isMax ? (last ? s.ge(x, best) : s.gt(x, best)) : (last ? s.le(x, best) : s.lt(x, best));
    if (ScalarBuilder::isFloat(x)) {
      // NaN beats every number, and the first or last NaN counts.
      Value takes = last ? s.isNaN(x) : s.logicalAnd(s.isNaN(x), s.logicalNot(s.isNaN(best)));
      better = s.logicalOr(better, takes);
    }
    return Values{s.select(better, x, best), s.select(better, i, carried[1])};
  });
  return b.fromIndex(found[1], b.b.getI64Type());
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
