//===- ShapeBody.cpp - elements of moved data -------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Shape.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;
using Values = ElementBuilder::Values;

/// The index of `x` for an index of its reshaped result. Dims are matched group by group from the front, so that an index
/// computation touches only the dims that are really split or merged.
static Value reshapeElement(ReshapeOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<DimExpr> from(e.shapes().dims(op.getX())), to(e.shapes().dims(op));
  Values index(from.size());
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    size_t i0 = i, j0 = j;
    DimExpr left = e.shapes().constant(1), right = left;
    // Extend the side that is known to be smaller, or has fewer dims, until the products agree.
    do {
      auto cl = left.constant(), cr = right.constant();
      bool leftBehind = cl && cr && cl != cr ? *cl < *cr : i - i0 <= j - j0;
      if (i < from.size() && (leftBehind || j == to.size()))
        left = left * from[i++];
      else
        right = right * to[j++];
    } while (left != right && (i < from.size() || j < to.size()));
    ArrayRef<DimExpr> fromGroup = ArrayRef(from).slice(i0, i - i0), toGroup = ArrayRef(to).slice(j0, j - j0);
    Values part = fromGroup == toGroup
                      ? Values(at.slice(j0, j - j0))
                      : e.delinearize(e.linearize(at.slice(j0, j - j0), toGroup), fromGroup);
    llvm::copy(part, index.begin() + i0);
  }
  return e.element(op.getX(), index);
}

static Value transposeElement(TransposeOp op, ElementBuilder &e, ValueRange at) {
  Values index(at.size());
  for (auto [d, source] : llvm::enumerate(op.getPerm()))
    index[source] = at[d];
  return e.element(op.getX(), index);
}

static Value expandElement(ExpandOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<DimExpr> dims(e.shapes().dims(op));
  return e.broadcastElement(op.getX(), dims, at);
}

/// Operands [first, last) start at `offsets`; binary search over them.
static Value concatElement(ConcatOp op, ElementBuilder &e, ValueRange at) {
  int64_t axis = op.getAxis();
  SmallVector<DimExpr> offsets;
  DimExpr offset = e.shapes().constant(0);
  for (Value x : op.getXs()) {
    offsets.push_back(offset);
    offset = offset + e.shapes().dim(x, axis);
  }
  std::function<Value(size_t, size_t)> pick = [&](size_t first, size_t last) -> Value {
    if (last - first == 1) {
      Values index(at);
      if (first > 0)
        index[axis] = e.subi(at[axis], e.expr(offsets[first]));
      return e.element(op.getXs()[first], index);
    }
    size_t middle = first + (last - first) / 2;
    return e.ifElse(
        e.cmpi(CmpIPredicate::slt, at[axis], e.expr(offsets[middle])), [&] { return pick(first, middle); },
        [&] { return pick(middle, last); });
  };
  return pick(0, op.getXs().size());
}

static Value sliceElement(SliceOp op, ElementBuilder &e, ValueRange at) {
  Values index;
  for (size_t d = 0; d < at.size(); ++d) {
    Value start = e.expr(e.shapes().element(op.getStarts(), d)), step = e.expr(e.shapes().element(op.getSteps(), d));
    index.push_back(e.addi(start, e.muli(at[d], step)));
  }
  return e.element(op.getX(), index);
}

/// x mod n with the sign of n; n > 0.
static Value floorMod(ElementBuilder &e, Value x, Value n) {
  Value remainder = arith::RemSIOp::create(e.b, e.loc, x, n);
  return e.select(e.cmpi(CmpIPredicate::slt, remainder, e.index(0)), e.addi(remainder, n), remainder);
}

static Value padElement(PadOp op, ElementBuilder &e, ValueRange at) {
  Values index(at);
  Value inside;
  for (size_t d = 0; d < at.size(); ++d) {
    DimExpr low = e.shapes().element(op.getLow(), d), high = e.shapes().element(op.getHigh(), d);
    auto before = low.constant(), after = high.constant();
    if (before != 0)
      index[d] = e.subi(at[d], e.expr(low));
    // Cut off only: every index is one of x.
    if (before && after && *before <= 0 && *after <= 0)
      continue;
    Value size = e.dim(op.getX(), d), zero = e.index(0), last = e.subi(size, e.index(1));
    StringRef mode = op.getMode();
    if (mode == "edge")
      index[d] = e.clampi(index[d], zero, last);
    else if (mode == "wrap")
      index[d] = floorMod(e, index[d], e.maxi(size, e.index(1)));
    else if (mode == "reflect") {
      // 0 1 … n-1 n-2 … 1 | 0 1 …: a period of 2(n - 1), at least 1.
      Value period = e.maxi(e.muli(last, e.index(2)), e.index(1));
      Value phase = floorMod(e, index[d], period);
      index[d] = e.mini(phase, e.subi(period, phase));
      index[d] = e.mini(index[d], last);
    } else {
      Value within = before && *before <= 0   ? e.cmpi(CmpIPredicate::slt, index[d], size)
                     : after && *after <= 0 ? e.cmpi(CmpIPredicate::sge, index[d], zero)
                                            : e.inRange(index[d], zero, size);
      inside = inside ? e.b.createOrFold<arith::AndIOp>(e.loc, inside, within) : within;
    }
  }
  if (!inside)
    return e.element(op.getX(), index);
  return e.ifElse(
      inside, [&] { return e.element(op.getX(), index); },
      [&] {
        if (op.getValue())
          return e.element(op.getValue(), {});
        Type elementType = cast<TensorType>(op.getType()).getElementType();
        return e.scalars(elementType).integer(elementType, 0);
      });
}

static Value tileElement(TileOp op, ElementBuilder &e, ValueRange at) {
  Values index;
  for (size_t d = 0; d < at.size(); ++d)
    index.push_back(e.shapes().element(op.getRepeats(), d).isConstant(1) ? at[d]
                                                                         : e.remi(at[d], e.dim(op.getX(), d)));
  return e.element(op.getX(), index);
}

static Value shapeOfElement(ShapeOfOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<DimExpr> dims(e.shapes().dims(op.getX()));
  Value size = e.index(0);
  for (int64_t d = int64_t(dims.size()) - 1; d >= 0; --d)
    size = e.select(e.cmpi(CmpIPredicate::eq, at[0], e.index(d)), e.expr(dims[d]), size);
  return e.fromIndex(size, e.b.getI64Type());
}

void flame::registerShapeBodies(MLIRContext *context) {
  attachElement<ReshapeOp, reshapeElement>(context);
  attachElement<TransposeOp, transposeElement>(context);
  attachElement<ExpandOp, expandElement>(context);
  attachElement<ConcatOp, concatElement>(context);
  attachElement<SliceOp, sliceElement>(context);
  attachElement<PadOp, padElement>(context);
  attachElement<TileOp, tileElement>(context);
  attachElement<ShapeOfOp, shapeOfElement>(context);
}
