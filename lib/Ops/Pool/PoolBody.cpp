//===- PoolBody.cpp - elements of pooled tensors ----------------------------------------------------------------------===//
//
// The loops over a window run over the part of it that lies in the data, so that they need no test inside; where that is
// the whole window for every output position, their bounds are constants.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "PoolGeometry.h"
#include "flame/Body/Bodies.h"
#include "flame/Ops/Pool.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;

namespace {
/// One spatial dimension of the window of an output element.
struct Span {
  Value origin;     // position of the window's first element, may be negative
  Value begin, end; // kernel indices that lie in the data
  int64_t dilation;
};
} // namespace

/// ceil(max(x, 0) / divisor)
static Value ceilSteps(ElementBuilder &e, Value x, int64_t divisor) {
  Value positive = e.maxi(x, e.index(0));
  return divisor == 1 ? positive : e.divi(e.addi(positive, e.index(divisor - 1)), e.index(divisor));
}

static SmallVector<Span> spansOf(ElementBuilder &e, ArrayRef<PoolWindow> windows, ValueRange at) {
  SmallVector<Span> spans;
  for (auto [d, window] : llvm::enumerate(windows)) {
    Value first = e.muli(at[d + 2], e.index(window.stride)), kernel = e.index(window.kernel);
    bool padsBefore = !window.low.isConstant(0);
    Span span{padsBefore ? e.subi(first, e.expr(window.low)) : first, e.index(0), kernel, window.dilation};
    if (padsBefore)
      span.begin = e.mini(ceilSteps(e, e.subi(e.index(0), span.origin), window.dilation), kernel);
    if (!(window.size - window.behind()).isNonNegative())
      span.end = e.mini(ceilSteps(e, e.subi(e.expr(window.size), span.origin), window.dilation), kernel);
    spans.push_back(span);
  }
  return spans;
}

/// True if every window has at least one element of the data, and its elements are neighbours: an element outside can then be
/// replaced by the nearest one inside, which the window has, too.
static bool allMeetData(ArrayRef<PoolWindow> windows) {
  return llvm::all_of(windows, [](const PoolWindow &window) {
    DimExpr lastBegins = window.behind() - window.reach();
    return window.dilation == 1 && (window.low * -1 + (window.kernel - 1)).isNonNegative() &&
           (window.size - 1 - lastBegins).isNonNegative();
  });
}

using Body = function_ref<Values(ValueRange, ValueRange)>;

/// Runs `body` (index of x, carried) over the positions that `along` gives for each spatial dim.
static Values walk(size_t dims, ValueRange at, ValueRange init, Body body,
                   function_ref<Values(size_t dim, ValueRange carried, Body next)> along) {
  Values index(at.take_front(2));
  std::function<Values(size_t, ValueRange)> nest = [&](size_t d, ValueRange carried) -> Values {
    if (d == dims)
      return body(index, carried);
    return along(d, carried, [&](ValueRange position, ValueRange inner) {
      index.push_back(position[0]);
      Values next = nest(d + 1, inner);
      index.pop_back();
      return next;
    });
  };
  return nest(0, init);
}

/// Over as many elements as a whole window has: outside of the data over the nearest in it. Bounds are constants, so that nothing
/// branches and loops become vectors.
static Values overNearest(ElementBuilder &e, ArrayRef<PoolWindow> windows, ValueRange at, ValueRange init, Body body) {
  return walk(windows.size(), at, init, body, [&](size_t d, ValueRange carried, Body next) {
    const PoolWindow &window = windows[d];
    Value origin = e.subi(e.muli(at[d + 2], e.index(window.stride)), e.expr(window.low));
    const bool padsAfter = !(window.size - window.behind()).isNonNegative();
    Values best(carried);
    for (int64_t k = 0; k < window.kernel; ++k) {
      Value x = e.addi(origin, e.index(k));
      if (!window.low.isConstant(0))
        x = e.maxi(x, e.index(0));
      if (padsAfter)
        x = e.mini(x, e.expr(window.size - 1));
      best = next(x, best);
    }
    return best;
  });
}

/// Over the elements of a window that lie in the data.
static Values overWindow(ElementBuilder &e, ArrayRef<Span> spans, ValueRange at, ValueRange init, Body body) {
  return walk(spans.size(), at, init, body, [&](size_t d, ValueRange carried, Body next) {
    const Span &span = spans[d];
    return e.loop(span.begin, span.end, carried, [&](Value k, ValueRange inner) {
      return next(e.addi(span.origin, e.muli(k, e.index(span.dilation))), inner);
    });
  });
}

static Value maxPoolElement(MaxPoolOp op, ElementBuilder &e, unsigned result, ValueRange at) {
  SmallVector<PoolWindow> windows = *poolWindows(op, e.shapes());
  Type type = cast<TensorType>(op.getX().getType()).getElementType();
  ScalarBuilder s = e.scalars(type);
  SmallVector<Span> spans = spansOf(e, windows, at);
  Value lowest = s.lowest(type);
  constexpr int64_t mostUnrolled = 16;
  int64_t taps = 1;
  for (const PoolWindow &window : windows)
    taps *= window.kernel;
  auto larger = [&](ValueRange index, ValueRange best) -> Values { return {s.max(best[0], e.element(op.getX(), index))}; };
  if (result == 0 && taps <= mostUnrolled && allMeetData(windows))
    return overNearest(e, windows, at, lowest, larger)[0];
  if (result == 0)
    return overWindow(e, spans, at, lowest, larger)[0];
  // Positions keep their dims' order, or the spatial ones are reversed.
  SmallVector<DimExpr> dims(e.shapes().dims(op.getX()));
  auto position = [&](ValueRange index) {
    if (!op.getColumnMajor())
      return e.linearize(index, dims);
    Values reversed(index);
    SmallVector<DimExpr> order(dims);
    std::reverse(reversed.begin() + 2, reversed.end());
    std::reverse(order.begin() + 2, order.end());
    return e.linearize(reversed, order);
  };
  Values init{lowest, e.index(-1)};
  Values best = overWindow(e, spans, at, init, [&](ValueRange index, ValueRange carried) -> Values {
    Value element = e.element(op.getX(), index);
    Value first = e.cmpi(arith::CmpIPredicate::slt, carried[1], e.index(0));
    Value wins = s.logicalOr(s.gt(element, carried[0]), first);
    return {s.select(wins, element, carried[0]), s.select(wins, position(index), carried[1])};
  });
  return e.fromIndex(e.maxi(best[1], e.index(0)), e.b.getI64Type());
}

static Value averagePoolElement(AveragePoolOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<PoolWindow> windows = *poolWindows(op, e.shapes());
  Type type = cast<TensorType>(op.getType()).getElementType();
  ScalarBuilder s = e.scalars(type);
  SmallVector<Span> spans = spansOf(e, windows, at);
  Value sum = overWindow(e, spans, at, s.number(type, 0), [&](ValueRange index, ValueRange carried) -> Values {
    return {s.add(carried[0], e.element(op.getX(), index))};
  })[0];
  Value count = e.index(1);
  for (auto [window, span] : llvm::zip(windows, spans)) {
    Value elements = e.subi(span.end, span.begin);
    if (op.getCountIncludePad()) {
      // Padding counts, but not what a rounded-up window covers beyond it.
      Value behind = e.subi(e.expr(window.padded - window.low), span.origin);
      elements = e.mini(ceilSteps(e, behind, window.dilation), e.index(window.kernel));
      if ((window.padded - (window.count - 1) * window.stride - window.reach()).isNonNegative())
        elements = e.index(window.kernel);
    }
    count = e.muli(count, elements);
  }
  return s.div(sum, e.fromIndex(count, type));
}

static Value lpPoolElement(LpPoolOp op, ElementBuilder &e, ValueRange at) {
  SmallVector<PoolWindow> windows = *poolWindows(op, e.shapes());
  Type type = cast<TensorType>(op.getType()).getElementType();
  ScalarBuilder s = e.scalars(type);
  double p = op.getP().convertToDouble();
  Value sum = overWindow(e, spansOf(e, windows, at), at, s.number(type, 0),
                         [&](ValueRange index, ValueRange carried) -> Values {
                           Value x = e.element(op.getX(), index);
                           Value power = p == 2 ? s.mul(x, x) : s.abs(x);
                           if (p != 1 && p != 2)
                             power = s.pow(power, s.number(type, p));
                           return {s.add(carried[0], power)};
                         })[0];
  if (p == 1)
    return sum;
  return p == 2 ? s.sqrt(sum) : s.pow(sum, s.number(type, 1 / p));
}

void flame::registerPoolBodies(MLIRContext *context) {
  attachElement<MaxPoolOp, maxPoolElement, /*Cheap=*/false>(context);
  attachElement<AveragePoolOp, averagePoolElement, /*Cheap=*/false>(context);
  attachElement<LpPoolOp, lpPoolElement, /*Cheap=*/false>(context);
}
