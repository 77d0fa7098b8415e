//===- IndexBody.cpp - elements of gathers, loops of scatters ---------------------------------------------------------===//
//
// No access leaves its buffer, whatever the indices are: gathers clamp them, scatters skip what is out of range.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Body/Scatter.h"
#include "flame/Ops/Index.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;
using Values = ElementBuilder::Values;

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

/// An index read from data: negative ones count from the end.
static Value wrapIndex(ElementBuilder &e, Value tensor, ValueRange at, Value extent) {
  Value index = e.elementIndex(tensor, at);
  if (elementTypeOf(tensor).isUnsignedInteger())
    return index;
  return e.select(e.cmpi(CmpIPredicate::slt, index, e.index(0)), e.addi(index, extent), index);
}
static Value clampedIndex(ElementBuilder &e, Value tensor, ValueRange at, Value extent) {
  return e.clampi(wrapIndex(e, tensor, at, extent), e.index(0), e.subi(extent, e.index(1)));
}

/// `load` unless some dim of `value` may be empty and is.
static Value unlessEmpty(ElementBuilder &e, Value value, ArrayRef<DimExpr> dims, function_ref<Value()> load) {
  Value some;
  for (DimExpr dim : dims) {
    if (dim.constant() && *dim.constant() > 0)
      continue;
    Value one = e.cmpi(CmpIPredicate::sgt, e.expr(dim), e.index(0));
    some = some ? Value(arith::AndIOp::create(e.b, e.loc, some, one)) : one;
  }
  if (!some)
    return load();
  Type elementType = elementTypeOf(value);
  return e.ifElse(some, load, [&] { return e.scalars(elementType).integer(elementType, 0); });
}

static Value gatherElement(GatherOp op, ElementBuilder &e, ValueRange at) {
  int64_t axis = op.getAxis(), inner = e.shapes().rank(op.getIndices());
  DimExpr extent = e.shapes().dim(op.getX(), axis);
  return unlessEmpty(e, op.getX(), extent, [&] {
    Values index(at.take_front(axis));
    index.push_back(clampedIndex(e, op.getIndices(), at.slice(axis, inner), e.expr(extent)));
    llvm::append_range(index, at.drop_front(axis + inner));
    return e.element(op.getX(), index);
  });
}

static Value gatherElementsElement(GatherElementsOp op, ElementBuilder &e, ValueRange at) {
  int64_t axis = op.getAxis();
  DimExpr extent = e.shapes().dim(op.getX(), axis);
  return unlessEmpty(e, op.getX(), extent, [&] {
    Values index(at);
    index[axis] = clampedIndex(e, op.getIndices(), at, e.expr(extent));
    return e.element(op.getX(), index);
  });
}

static Value gatherNDElement(GatherNDOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<DimExpr> dims(e.shapes().dims(op.getX()));
  int64_t batch = op.getBatchDims(), outer = e.shapes().rank(op.getIndices()) - 1;
  int64_t length = *e.shapes().dim(op.getIndices(), outer).constant();
  return unlessEmpty(e, op.getX(), ArrayRef<DimExpr>(dims).slice(batch, length), [&] {
    Values index(at.take_front(batch)), tuple(at.take_front(outer));
    tuple.push_back({});
    for (int64_t k = 0; k < length; ++k) {
      tuple.back() = e.index(k);
      index.push_back(clampedIndex(e, op.getIndices(), tuple, e.expr(dims[batch + k])));
    }
    llvm::append_range(index, at.drop_front(outer));
    return e.element(op.getX(), index);
  });
}

static Value reverseSequenceElement(ReverseSequenceOp op, ElementBuilder &e, ValueRange at) {
  Value length = e.elementIndex(op.getLengths(), at[op.getBatchAxis()]), time = at[op.getTimeAxis()];
  length = e.clampi(length, e.index(0), e.dim(op.getX(), op.getTimeAxis()));
  Values index(at);
  index[op.getTimeAxis()] =
      e.select(e.cmpi(CmpIPredicate::slt, time, length), e.subi(e.subi(length, e.index(1)), time), time);
  return e.element(op.getX(), index);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Scatters
//===------------------------------------------------------------------------------------------------------------------===//

Value flame::scatterUpdate(ElementBuilder &e, StringRef reduction, Type elementType, Value old, Value update) {
  ScalarBuilder s = e.scalars(elementType);
  if (reduction == "none")
    return update;
  if (reduction == "add")
    return elementType.isInteger(1) ? s.logicalOr(old, update) : s.add(old, update);
  if (reduction == "mul")
    return elementType.isInteger(1) ? s.logicalAnd(old, update) : s.mul(old, update);
  return reduction == "max" ? s.max(old, update) : s.min(old, update);
}

/// Copies the part of x that positions [begin, end) of the parallel dims select, unless x is updated in its own memory.
static void copyInto(LoopsBuilder &e, Value x, Value result, ArrayRef<int64_t> parallel, Value begin, Value end,
                     function_ref<void(ValueRange)> afterwards) {
  SmallVector<DimExpr> dims(e.shapes().dims(result)), outer;
  for (int64_t d : parallel)
    outer.push_back(dims[d]);
  e.loop(begin, end, {}, [&](Value position, ValueRange) -> Values {
    Values at(dims.size()), extents;
    SmallVector<int64_t> rest;
    Values fixed = e.delinearize(position, outer);
    for (auto [d, i] : llvm::zip(parallel, fixed))
      at[d] = i;
    for (size_t d = 0; d < dims.size(); ++d)
      if (!llvm::is_contained(parallel, int64_t(d))) {
        rest.push_back(d);
        extents.push_back(e.expr(dims[d]));
      }
    e.unlessInPlace(x, result, [&] {
      e.loopNest(extents, {}, [&](ValueRange inner, ValueRange) -> Values {
        for (auto [d, i] : llvm::zip(rest, inner))
          at[d] = i;
        e.store(result, at, e.element(x, at));
        return {};
      });
    });
    afterwards(fixed);
    return {};
  });
}

static SmallVector<int64_t> allBut(int64_t rank, int64_t axis) {
  SmallVector<int64_t> dims;
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis)
      dims.push_back(d);
  return dims;
}

/// Lines along the axis are independent.
static DimExpr scatterElementsExtent(ScatterElementsOp op, ShapeContext &context) {
  DimExpr extent = context.constant(1);
  for (int64_t d : allBut(context.rank(op.getX()), op.getAxis()))
    extent = extent * context.dim(op.getX(), d);
  return extent;
}

static void scatterElementsLoops(ScatterElementsOp op, LoopsBuilder &e, Value begin, Value end) {
  int64_t axis = op.getAxis(), rank = e.shapes().rank(op.getX());
  Type elementType = elementTypeOf(op.getX());
  SmallVector<int64_t> parallel = allBut(rank, axis);
  Value extent = e.dim(op.getX(), axis);
  copyInto(e, op.getX(), op.getResult(), parallel, begin, end, [&](ValueRange fixed) {
    Value inside;
    Values at(rank);
    for (auto [d, i] : llvm::zip(parallel, fixed)) {
      at[d] = i;
      if (e.shapes().dim(op.getIndices(), d) == e.shapes().dim(op.getX(), d))
        continue;
      Value below = e.cmpi(CmpIPredicate::slt, i, e.dim(op.getIndices(), d));
      inside = inside ? Value(arith::AndIOp::create(e.b, e.loc, inside, below)) : below;
    }
    auto line = [&] {
      e.loop(e.index(0), e.dim(op.getIndices(), axis), {}, [&](Value i, ValueRange) -> Values {
        Values source(at), target(at);
        source[axis] = i;
        target[axis] = wrapIndex(e, op.getIndices(), source, extent);
        e.ifThen(e.inRange(target[axis], e.index(0), extent), [&] {
          Value update = e.element(op.getUpdates(), source);
          Value old = op.getReduction() == "none" ? update : e.loadResult(op.getResult(), target);
          e.store(op.getResult(), target, scatterUpdate(e, op.getReduction(), elementType, old, update));
        });
        return {};
      });
    };
    if (inside)
      e.ifThen(inside, line);
    else
      line();
  });
}

/// The dims that index tuples don't reach are independent.
static SmallVector<int64_t> scatterNDParallel(ScatterNDOp op, ShapeContext &context) {
  int64_t length = *context.dim(op.getIndices(), -1).constant();
  return llvm::to_vector(llvm::seq<int64_t>(length, context.rank(op.getX())));
}
static DimExpr scatterNDExtent(ScatterNDOp op, ShapeContext &context) {
  DimExpr extent = context.constant(1);
  for (int64_t d : scatterNDParallel(op, context))
    extent = extent * context.dim(op.getX(), d);
  return extent;
}

Values flame::scatterTarget(ScatterNDOp op, ElementBuilder &e, ValueRange outer, Value &inside) {
  Values tuple(outer), target;
  tuple.push_back({});
  int64_t length = *e.shapes().dim(op.getIndices(), -1).constant();
  for (int64_t k = 0; k < length; ++k) {
    tuple.back() = e.index(k);
    Value extent = e.dim(op.getX(), k);
    target.push_back(wrapIndex(e, op.getIndices(), tuple, extent));
    Value within = e.inRange(target.back(), e.index(0), extent);
    inside = inside ? Value(arith::AndIOp::create(e.b, e.loc, inside, within)) : within;
  }
  return target;
}

static void scatterNDLoops(ScatterNDOp op, LoopsBuilder &e, Value begin, Value end) {
  SmallVector<int64_t> parallel = scatterNDParallel(op, e.shapes());
  SmallVector<DimExpr> tuples(e.shapes().dims(op.getIndices()));
  Type elementType = elementTypeOf(op.getX());
  tuples.pop_back();
  copyInto(e, op.getX(), op.getResult(), parallel, begin, end, [&](ValueRange fixed) {
    Values extents;
    for (DimExpr dim : tuples)
      extents.push_back(e.expr(dim));
    e.loopNest(extents, {}, [&](ValueRange outer, ValueRange) -> Values {
      Value inside;
      Values source(outer), target = scatterTarget(op, e, outer, inside);
      llvm::append_range(source, fixed);
      llvm::append_range(target, fixed);
      auto update = [&] {
        Value next = e.element(op.getUpdates(), source);
        Value old = op.getReduction() == "none" ? next : e.loadResult(op.getResult(), target);
        e.store(op.getResult(), target, scatterUpdate(e, op.getReduction(), elementType, old, next));
      };
      if (inside)
        e.ifThen(inside, update);
      else
        update();
      return {};
    });
  });
}

void flame::registerIndexBodies(MLIRContext *context) {
  attachElement<GatherOp, gatherElement>(context);
  attachElement<GatherElementsOp, gatherElementsElement>(context);
  attachElement<GatherNDOp, gatherNDElement>(context);
  attachElement<ReverseSequenceOp, reverseSequenceElement>(context);
  attachLoops<ScatterElementsOp, scatterElementsExtent, scatterElementsLoops>(context);
  attachLoops<ScatterNDOp, scatterNDExtent, scatterNDLoops>(context);
}
