//===- ImageBodyResize.cpp - elements of resize and grid_sample -------------------------------------------------------===//
#include "SampleMath.h"
#include "flame/Ops/Image.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;
using Values = ElementBuilder::Values;

namespace flame {
Value resizeElement(ResizeOp op, ElementBuilder &e, ValueRange at);
Value gridSampleElement(GridSampleOp op, ElementBuilder &e, ValueRange at);
} // namespace flame

static Type elementTypeOf(Value value) { return cast<TensorType>(value.getType()).getElementType(); }
/// Sums are made in the element type where that is a float, else in f32 (f64 for integers that f32 can't hold).
static Type sumType(ElementBuilder &e, Type type) {
  if (isa<FloatType>(type))
    return computeType(type);
  return type.getIntOrFloatBitWidth() > 16 ? Type(e.b.getF64Type()) : Type(e.b.getF32Type());
}

//===------------------------------------------------------------------------------------------------------------------===//
// Resize
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// Where an element of the result lies in x, along the axis.
struct Source {
  Value position; // may lie outside
  Value scale;
  Value outside; // tf_crop_and_resize: the extrapolation value is due; else null
};
} // namespace

/// Positions are f64: whether one is an integer, or halfway, decides what is taken.
static Source sourceOf(ResizeOp op, ElementBuilder &e, SampleMath &m, Value i) {
  ScalarBuilder &s = m.s;
  StringRef mode = op.getCoordinates();
  Value in = m.fromIndex(e.dim(op.getX(), op.getAxis())), out = m.fromIndex(e.dim(op, op.getAxis()));
  auto parameter = [&](int64_t k) {
    return m.from(e.element(op.getTransform(), e.index(k)), elementTypeOf(op.getTransform()));
  };
  Source source;
  source.scale = op.getTransform() ? parameter(0) : s.div(out, in);
  // The length that the scale asks for: not always an integer.
  Value length = op.getTransform() ? s.mul(source.scale, in) : out;
  Value single = s.eq(length, m.number(1)), x = m.fromIndex(i), half = m.number(0.5), one = m.number(1);
  auto halfPixel = [&] { return s.sub(s.div(s.add(x, half), source.scale), half); };
  if (mode == "asymmetric")
    source.position = s.div(x, source.scale);
  else if (mode == "half_pixel")
    source.position = halfPixel();
  else if (mode == "pytorch_half_pixel")
    source.position = s.select(single, m.number(-0.5), halfPixel());
  else if (mode == "half_pixel_symmetric") {
    Value offset = s.mul(s.mul(in, half), s.sub(one, s.div(out, length)));
    source.position = s.add(offset, halfPixel());
  } else if (mode == "align_corners") {
    Value steps = s.select(single, one, s.sub(length, one));
    source.position = s.select(single, m.number(0), s.div(s.mul(x, s.sub(in, one)), steps));
  } else {
    Value start = parameter(1), end = parameter(2), span = s.mul(s.sub(end, start), s.sub(in, one));
    Value steps = s.select(single, one, s.sub(length, one));
    Value offset = s.select(single, s.mul(span, half), s.div(s.mul(x, span), steps));
    source.position = s.add(offset, s.mul(start, s.sub(in, one)));
    source.outside =
        s.logicalOr(s.lt(source.position, m.number(0)), s.gt(source.position, s.sub(in, one)));
  }
  return source;
}

Value flame::resizeElement(ResizeOp op, ElementBuilder &e, ValueRange at) {
  SampleMath m(e, e.b.getF64Type());
  ScalarBuilder &s = m.s;
  Type type = elementTypeOf(op.getX());
  int64_t axis = op.getAxis();
  Source source = sourceOf(op, e, m, at[axis]);
  Value size = e.dim(op.getX(), axis), last = e.subi(size, e.index(1)), zero = e.index(0);
  auto pixel = [&](Value i) {
    Values index(at);
    index[axis] = e.clampi(i, zero, last);
    return e.element(op.getX(), index);
  };
  Value result;
  if (op.getMode() == "nearest") {
    Value half = m.number(0.5), position = source.position;
    StringRef rounding = op.getRounding();
    if (rounding == "round_prefer_floor")
      position = s.ceil(s.sub(position, half));
    else if (rounding == "round_prefer_ceil")
      position = s.floor(s.add(position, half));
    else
      position = rounding == "floor" ? s.floor(position) : s.ceil(position);
    result = pixel(m.toIndex(position));
  } else {
    Type sum = sumType(e, type);
    SampleMath w(e, sum); // weights and sums
    bool isCubic = op.getMode() == "cubic";
    double a = op.getCubicCoeff().convertToDouble();
    Value below = s.floor(source.position), fraction = s.sub(source.position, below), first = m.toIndex(below);
    auto excluded = [&](Value i, Value weight) {
      return op.getExcludeOutside() ? w.s.select(e.inRange(i, zero, size), weight, w.number(0)) : weight;
    };
    Value total = w.number(0), weights = w.number(0);
    auto add = [&](Value i, Value weight, Value &total, Value &weights) {
      weight = excluded(i, weight);
      total = w.s.add(total, w.s.mul(weight, w.from(pixel(i), type)));
      weights = w.s.add(weights, weight);
    };
    if (op.getAntialias()) {
      // The filter is stretched by 1 / scale; its weights no longer add up to 1.
      double radius = isCubic ? 2 : 1;
      Value stretch = s.min(source.scale, m.number(1));
      Value start = e.addi(m.toIndex(s.floor(s.div(m.number(-radius), stretch))), e.index(1));
      Value end = e.subi(e.index(2), start);
      Values sums = e.loop(start, end, {total, weights}, [&](Value k, ValueRange carried) -> Values {
        Value distance = s.abs(s.mul(s.sub(m.fromIndex(k), fraction), stretch));
        Value weight = isCubic ? m.cubic(distance, a) : s.max(s.sub(m.number(1), distance), m.number(0));
        Value total = carried[0], weights = carried[1];
        add(e.addi(first, k), s.cast(weight, m.type, sum), total, weights);
        return {total, weights};
      });
      result = w.s.div(sums[0], sums[1]);
    } else {
      Value t = s.cast(fraction, m.type, sum);
      SmallVector<Value, 4> taps = isCubic ? w.cubicWeights(t, a) : SmallVector<Value, 4>{w.s.sub(w.number(1), t), t};
      for (auto [k, weight] : llvm::enumerate(taps))
        add(e.addi(first, e.index(int64_t(k) - (isCubic ? 1 : 0))), weight, total, weights);
      result = op.getExcludeOutside() ? w.s.div(total, weights) : total;
    }
    result = w.to(result, type);
  }
  if (source.outside) {
    ScalarBuilder t = e.scalars(type);
    result = t.select(source.outside, t.number(type, op.getExtrapolation().convertToDouble()), result);
  }
  return result;
}

//===------------------------------------------------------------------------------------------------------------------===//
// GridSample
//===------------------------------------------------------------------------------------------------------------------===//

/// Mirrors x at the borders until it lies between them.
static Value reflect(SampleMath &m, Value x, Value low, Value high) {
  ScalarBuilder &s = m.s;
  Value range = s.sub(high, low), empty = s.le(range, m.number(0));
  Value period = s.select(empty, m.number(1), range);
  Value distance = s.sub(x, low);
  // Beyond either border the same triangle wave continues.
  Value turns = s.floor(s.div(distance, period)), rest = s.sub(distance, s.mul(turns, period));
  Value halved = s.mul(turns, m.number(0.5)), isEven = s.eq(s.floor(halved), halved);
  Value mirrored = s.select(isEven, s.add(low, rest), s.sub(high, rest));
  return s.select(empty, low, mirrored);
}

Value flame::gridSampleElement(GridSampleOp op, ElementBuilder &e, ValueRange at) {
  Type type = elementTypeOf(op.getX()), gridType = elementTypeOf(op.getGrid()), sum = sumType(e, type);
  SampleMath m(e, computeType(gridType)), w(e, sum);
  ScalarBuilder &s = m.s;
  int64_t spatial = at.size() - 2;
  StringRef padding = op.getPadding(), mode = op.getMode();
  Value zero = e.index(0);
  Values sizes, positions, lows, highs;
  for (int64_t d = 0; d < spatial; ++d) {
    // The grid names the last dimension of x first.
    Values gridIndex{at[0]};
    llvm::append_range(gridIndex, at.drop_front(2));
    gridIndex.push_back(e.index(spatial - 1 - d));
    Value size = e.dim(op.getX(), d + 2), extent = m.fromIndex(size), half = m.number(0.5), one = m.number(1);
    Value unit = s.add(e.element(op.getGrid(), gridIndex), one), position, low, high;
    if (op.getAlignCorners()) {
      position = s.mul(s.mul(unit, half), s.sub(extent, one));
      low = m.number(0);
      high = s.sub(extent, one);
    } else {
      position = s.mul(s.sub(s.mul(unit, extent), one), half);
      low = m.number(-0.5);
      high = s.sub(extent, half);
    }
    if (mode == "nearest")
      position = s.make<math::RoundEvenOp>(position);
    Value outside = s.logicalOr(s.lt(position, low), s.gt(position, high));
    if (padding == "border")
      position = s.select(outside, m.clamp(position, m.number(0), s.sub(extent, one)), position);
    else if (padding == "reflection")
      position = s.select(outside, reflect(m, position, low, high), position);
    sizes.push_back(size);
    positions.push_back(position);
    lows.push_back(low);
    highs.push_back(high);
  }
  /// The index in dimension d that stands for i, and whether it counts.
  auto resolve = [&](int64_t d, Value i) -> std::pair<Value, Value> {
    Value last = e.subi(sizes[d], e.index(1));
    if (padding == "zeros")
      return {e.clampi(i, zero, last), e.inRange(i, zero, sizes[d])};
    if (padding == "reflection") {
      Value position = m.fromIndex(i);
      Value outside = s.logicalOr(s.lt(position, lows[d]), s.gt(position, highs[d]));
      i = e.select(outside, m.toIndex(reflect(m, position, lows[d], highs[d])), i);
    }
    return {e.clampi(i, zero, last), Value()};
  };
  // Taps of each dimension: index, weight (null: 1), validity (null: always).
  struct Tap {
    Value index, weight, valid;
  };
  SmallVector<SmallVector<Tap, 4>> taps(spatial);
  for (int64_t d = 0; d < spatial; ++d) {
    if (mode == "nearest") {
      auto [index, valid] = resolve(d, m.toIndex(positions[d]));
      taps[d].push_back({index, {}, valid});
      continue;
    }
    Value below = s.floor(positions[d]), t = s.cast(s.sub(positions[d], below), gridType, sum),
          first = m.toIndex(below);
    bool isCubic = mode == "cubic";
    SmallVector<Value, 4> weights =
        isCubic ? w.cubicWeights(t, -0.75) : SmallVector<Value, 4>{w.s.sub(w.number(1), t), t};
    for (auto [k, weight] : llvm::enumerate(weights)) {
      auto [index, valid] = resolve(d, e.addi(first, e.index(int64_t(k) - (isCubic ? 1 : 0))));
      taps[d].push_back({index, weight, valid});
    }
  }
  Values index(at.take_front(2));
  ScalarBuilder t = e.scalars(type);
  std::function<Value(int64_t, Value)> sample = [&](int64_t d, Value valid) -> Value {
    if (d == spatial) {
      Value pixel = e.element(op.getX(), index);
      if (valid)
        pixel = t.select(valid, pixel, t.integer(type, 0));
      return mode == "nearest" ? pixel : w.from(pixel, type);
    }
    Value total;
    for (const Tap &tap : taps[d]) {
      index.push_back(tap.index);
      Value both = valid && tap.valid ? s.logicalAnd(valid, tap.valid) : valid ? valid : tap.valid;
      Value part = sample(d + 1, both);
      index.pop_back();
      if (tap.weight)
        part = w.s.mul(part, tap.weight);
      total = total ? w.s.add(total, part) : part;
    }
    return total;
  };
  auto build = [&] {
    Value result = sample(0, {});
    return mode == "nearest" ? result : w.to(result, type);
  };
  // An empty image has nothing to load, not even at a clamped index.
  Value some;
  for (int64_t d = 0; d < spatial; ++d) {
    DimExpr size = e.shapes().dim(op.getX(), d + 2);
    if (size.constant() && *size.constant() > 0)
      continue;
    Value one = e.cmpi(CmpIPredicate::sgt, sizes[d], zero);
    some = some ? s.logicalAnd(some, one) : one;
  }
  return some ? e.ifElse(some, build, [&] { return t.integer(type, 0); }) : build();
}
