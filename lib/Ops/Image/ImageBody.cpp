//===- ImageBody.cpp - sampled elements -------------------------------------------------------------------------------===//
#include "SampleMath.h"
#include "flame/Body/Bodies.h"
#include "flame/Ops/Image.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;
using Values = ElementBuilder::Values;

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }

//===------------------------------------------------------------------------------------------------------------------===//
// RoiAlign, MaxRoiPool
//===------------------------------------------------------------------------------------------------------------------===//

/// A batch index read from data, clamped to the batch.
static Value batchIndex(ElementBuilder &e, Value raw, Value x) {
  return e.clampi(raw, e.index(0), e.subi(e.dim(x, 0), e.index(1)));
}

namespace {
/// Bilinear neighbours along one axis: indices and the weight of the upper one. Samples more than a pixel outside count 0.
struct Neighbours {
  Value low, high, weight, inside;
};
} // namespace

static Neighbours neighboursAt(ElementBuilder &e, SampleMath &m, Value position, Value size) {
  Value extent = m.fromIndex(size), last = e.subi(size, e.index(1));
  Neighbours at;
  at.inside = m.s.logicalAnd(m.s.ge(position, m.number(-1)), m.s.le(position, extent));
  Value clamped = m.clamp(position, m.number(0), m.fromIndex(last));
  at.low = m.toIndex(m.s.floor(clamped));
  at.high = e.mini(e.addi(at.low, e.index(1)), last);
  at.weight = m.s.sub(clamped, m.fromIndex(at.low));
  return at;
}

static Value roiAlignElement(RoiAlignOp op, ElementBuilder &e, ValueRange at) {
  Type type = elementTypeOf(op.getX()), roiType = elementTypeOf(op.getRois());
  SampleMath m(e, roiType.isF64() ? roiType : Type(e.b.getF32Type()));
  ScalarBuilder &s = m.s;
  double scale = op.getSpatialScale().convertToDouble();
  Value height = e.dim(op.getX(), 2), width = e.dim(op.getX(), 3);
  auto corner = [&](int64_t i) {
    Value position = s.mul(e.element(op.getRois(), {at[0], e.index(i)}), m.number(scale));
    return op.getHalfPixel() ? s.sub(position, m.number(0.5)) : position;
  };
  Value left = corner(0), top = corner(1), roiWidth = s.sub(corner(2), left), roiHeight = s.sub(corner(3), top);
  if (!op.getHalfPixel()) {
    roiWidth = s.max(roiWidth, m.number(1));
    roiHeight = s.max(roiHeight, m.number(1));
  }
  Value binHeight = s.div(roiHeight, m.number(op.getOutputHeight())),
        binWidth = s.div(roiWidth, m.number(op.getOutputWidth()));
  auto samples = [&](Value bin) {
    if (op.getSamplingRatio() > 0)
      return e.index(op.getSamplingRatio());
    return e.maxi(m.toIndex(s.ceil(bin)), e.index(0));
  };
  Value rows = samples(binHeight), columns = samples(binWidth);
  Value firstRow = s.add(top, s.mul(m.fromIndex(at[2]), binHeight)),
        firstColumn = s.add(left, s.mul(m.fromIndex(at[3]), binWidth));
  Value batch = batchIndex(e, e.elementIndex(op.getBatchIndices(), at[0]), op.getX());
  bool isMax = op.getMode() == "max";
  ScalarBuilder t = e.scalars(type);
  Value none = t.number(type, 0);
  auto position = [&](Value first, Value i, Value bin, Value count) {
    Value step = s.div(s.mul(s.add(m.fromIndex(i), m.number(0.5)), bin), m.fromIndex(count));
    return s.add(first, step);
  };
  Values total = e.loopNest({rows, columns}, {none, isMax ? t.lowest(type) : none}, [&](ValueRange i, ValueRange carried) -> Values {
    Neighbours y = neighboursAt(e, m, position(firstRow, i[0], binHeight, rows), height),
               x = neighboursAt(e, m, position(firstColumn, i[1], binWidth, columns), width);
    Value inside = s.logicalAnd(y.inside, x.inside), one = m.number(1), zero = m.number(0);
    auto corner = [&](bool down, bool right) {
      Value weight = s.mul(down ? y.weight : s.sub(one, y.weight), right ? x.weight : s.sub(one, x.weight));
      weight = s.select(inside, weight, zero);
      Value pixel = e.element(op.getX(), {batch, at[1], down ? y.high : y.low, right ? x.high : x.low});
      return t.mul(pixel, m.to(weight, type));
    };
    Value a = corner(false, false), b = corner(false, true), c = corner(true, false), d = corner(true, true);
    if (isMax)
      return {carried[0], t.max(carried[1], t.max(t.max(a, b), t.max(c, d)))};
    return {t.add(carried[0], t.add(t.add(a, b), t.add(c, d))), carried[1]};
  });
  Value count = e.muli(rows, columns);
  if (isMax) // No samples at all give 0.
    return t.select(e.cmpi(CmpIPredicate::sgt, count, e.index(0)), total[1], none);
  return t.div(total[0], e.fromIndex(e.maxi(count, e.index(1)), type));
}

static Value maxRoiPoolElement(MaxRoiPoolOp op, ElementBuilder &e, ValueRange at) {
  Type type = elementTypeOf(op.getX()), roiType = elementTypeOf(op.getRois());
  SampleMath m(e, roiType.isF64() ? roiType : Type(e.b.getF32Type()));
  ScalarBuilder &s = m.s;
  double scale = op.getSpatialScale().convertToDouble();
  auto corner = [&](int64_t i) {
    Value position = s.mul(e.element(op.getRois(), {at[0], e.index(i)}), m.number(scale));
    return m.toIndex(s.floor(s.add(position, m.number(0.5))));
  };
  // Bin edges: floor and ceil of equal parts of the region, both ends of which are included.
  auto edges = [&](Value first, Value last, Value bin, int64_t bins, Value size) -> std::pair<Value, Value> {
    Value extent = e.maxi(e.addi(e.subi(last, first), e.index(1)), e.index(1));
    Value low = e.divi(e.muli(bin, extent), e.index(bins));
    Value high = e.divi(e.addi(e.muli(e.addi(bin, e.index(1)), extent), e.index(bins - 1)), e.index(bins));
    return {e.clampi(e.addi(low, first), e.index(0), size), e.clampi(e.addi(high, first), e.index(0), size)};
  };
  Value batch = batchIndex(e, m.toIndex(e.element(op.getRois(), {at[0], e.index(0)})), op.getX());
  auto [top, bottom] = edges(corner(2), corner(4), at[2], op.getOutputHeight(), e.dim(op.getX(), 2));
  auto [left, right] = edges(corner(1), corner(3), at[3], op.getOutputWidth(), e.dim(op.getX(), 3));
  ScalarBuilder t = e.scalars(type);
  Value lowest = t.lowest(type), columnStart = left, columnEnd = right;
  Value best = e.loop(top, bottom, lowest, [&](Value y, ValueRange outer) -> Values {
    return e.loop(columnStart, columnEnd, outer, [&](Value x, ValueRange carried) -> Values {
      return {t.max(carried[0], e.element(op.getX(), {batch, at[1], y, x}))};
    });
  })[0];
  Value some = t.logicalAnd(e.cmpi(CmpIPredicate::slt, top, bottom), e.cmpi(CmpIPredicate::slt, left, right));
  return t.select(some, best, t.number(type, 0));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Col2Im
//===------------------------------------------------------------------------------------------------------------------===//

/// Sums what each place of the block contributes, if the block that would put it here exists.
static Value col2ImElement(Col2ImOp op, ElementBuilder &e, ValueRange at) {
  Type type = elementTypeOf(op.getX());
  ScalarBuilder s = e.scalars(type);
  int64_t spatial = op.getStrides().size();
  Values block, blocks;
  SmallVector<DimExpr> blockDims;
  DimExpr blockSize = e.shapes().constant(1);
  for (int64_t d = 0; d < spatial; ++d) {
    DimExpr size = e.shapes().element(op.getImage(), d), kernel = e.shapes().element(op.getBlock(), d);
    DimExpr span = size + op.getPads()[d] + op.getPads()[spatial + d] - (kernel - 1) * op.getDilations()[d] - 1;
    blocks.push_back(e.expr(floorDiv(span, e.shapes().constant(op.getStrides()[d])) + 1));
    block.push_back(e.expr(kernel));
    blockDims.push_back(kernel);
    blockSize = blockSize * kernel;
  }
  Value channel = e.muli(at[1], e.expr(blockSize));
  return e.loopNest(block, s.integer(type, 0), [&](ValueRange k, ValueRange carried) -> Values {
    Value exists, column = e.index(0);
    for (int64_t d = 0; d < spatial; ++d) {
      Value start = e.subi(e.addi(at[d + 2], e.index(op.getPads()[d])), e.muli(k[d], e.index(op.getDilations()[d])));
      Value stride = e.index(op.getStrides()[d]), positive = e.maxi(start, e.index(0));
      Value i = e.divi(positive, stride);
      Value fits = s.logicalAnd(e.inRange(start, e.index(0), e.muli(blocks[d], stride)),
                                e.cmpi(CmpIPredicate::eq, e.remi(positive, stride), e.index(0)));
      exists = exists ? s.logicalAnd(exists, fits) : fits;
      column = e.addi(e.muli(column, blocks[d]), i);
    }
    auto pull = [&] {
      return s.add(carried[0], e.element(op.getX(), {at[0], e.addi(channel, e.linearize(k, blockDims)), column}));
    };
    return {exists ? e.ifElse(exists, pull, [&] { return carried[0]; }) : pull()};
  })[0];
}

//===------------------------------------------------------------------------------------------------------------------===//
// Det
//===------------------------------------------------------------------------------------------------------------------===//

static DimExpr detExtent(DetOp op, ShapeContext &context) { return context.numElements(op.getResult()); }

/// Gaussian elimination with partial pivoting; the determinant is the product of the pivots, negated by each row swap.
static void detLoops(DetOp op, LoopsBuilder &e, Value begin, Value end) {
  Type type = elementTypeOf(op.getX());
  ScalarBuilder s = e.scalars(type);
  SmallVector<DimExpr> batch(e.shapes().dims(op.getResult()));
  Value n = e.dim(op.getX(), batch.size()), zero = e.index(0), one = e.index(1);
  e.loop(begin, end, {}, [&](Value position, ValueRange) -> Values {
    Values prefix = e.delinearize(position, batch);
    auto place = [&](Value i, Value j) {
      Values index(prefix);
      index.append({i, j});
      return index;
    };
    auto load = [&](Value i, Value j) { return e.loadResult(op.getFactors(), place(i, j)); };
    e.loopNest({n, n}, {}, [&](ValueRange at, ValueRange) -> Values {
      e.store(op.getFactors(), place(at[0], at[1]), e.element(op.getX(), place(at[0], at[1])));
      return {};
    });
    Value product = e.loop(zero, n, s.number(type, 1), [&](Value k, ValueRange carried) -> Values {
      Values pivot = e.loop(e.addi(k, one), n, {k, s.abs(load(k, k))}, [&](Value i, ValueRange best) -> Values {
        Value size = s.abs(load(i, k)), wins = s.gt(size, best[1]);
        return {s.select(wins, i, best[0]), s.select(wins, size, best[1])};
      });
      Value swaps = e.cmpi(CmpIPredicate::ne, pivot[0], k);
      e.ifThen(swaps, [&] {
        e.loop(k, n, {}, [&](Value j, ValueRange) -> Values {
          Value upper = load(k, j), lower = load(pivot[0], j);
          e.store(op.getFactors(), place(k, j), lower);
          e.store(op.getFactors(), place(pivot[0], j), upper);
          return {};
        });
      });
      Value diagonal = load(k, k);
      // A zero pivot: the column below is zero too, and so is the determinant.
      Value divisor = s.select(s.eq(diagonal, s.number(type, 0)), s.number(type, 1), diagonal);
      e.loop(e.addi(k, one), n, {}, [&](Value i, ValueRange) -> Values {
        Value factor = s.div(load(i, k), divisor);
        e.loop(k, n, {}, [&](Value j, ValueRange) -> Values {
          e.store(op.getFactors(), place(i, j), s.sub(load(i, j), s.mul(factor, load(k, j))));
          return {};
        });
        return {};
      });
      return {s.mul(carried[0], s.select(swaps, s.neg(diagonal), diagonal))};
    })[0];
    e.store(op.getResult(), prefix, product);
    return {};
  });
}

namespace flame {
mlir::Value resizeElement(ResizeOp op, ElementBuilder &e, ValueRange at);
mlir::Value gridSampleElement(GridSampleOp op, ElementBuilder &e, ValueRange at);
} // namespace flame

void flame::registerImageBodies(MLIRContext *context) {
  attachElement<ResizeOp, resizeElement, /*Cheap=*/false>(context);
  attachElement<GridSampleOp, gridSampleElement, /*Cheap=*/false>(context);
  attachElement<RoiAlignOp, roiAlignElement, /*Cheap=*/false>(context);
  attachElement<MaxRoiPoolOp, maxRoiPoolElement, /*Cheap=*/false>(context);
  attachElement<Col2ImOp, col2ImElement, /*Cheap=*/false>(context);
  attachLoops<DetOp, detExtent, detLoops>(context);
}
