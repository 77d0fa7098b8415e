//===- ConvBody.cpp - an element of a convolution ---------------------------------------------------------------------===//
//
// The plain definitions, for convolutions that no generator of the anchor takes. Loops over the kernel run only where the
// window lies inside x, so nothing is tested in the innermost loop.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Conv.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

/// ceil(x / y) for any x and a positive number y.
static Value ceilDivBy(ElementBuilder &b, Value x, int64_t y) {
  return y == 1 ? x : b.floorDivi(b.addi(x, b.index(y - 1)), b.index(y));
}

/// Runs `body` for every element of the kernel (range `low` to `high` in each dim), carrying one number.
static Value overKernel(ElementBuilder &b, ArrayRef<Value> low, ArrayRef<Value> high, Value init,
                        function_ref<Value(ValueRange, Value)> body) {
  Values at;
  std::function<Value(size_t, Value)> nest = [&](size_t d, Value carried) -> Value {
    if (d == low.size())
      return body(at, carried);
    return b.loop(low[d], high[d], carried, [&](Value k, ValueRange inner) {
      at.push_back(k);
      Value result = nest(d + 1, inner[0]);
      at.pop_back();
      return Values{result};
    })[0];
  };
  return nest(0, init);
}

/// An element of a weight that may be packed.
static Value weightElement(ConvOp op, ElementBuilder &b, ArrayRef<DimExpr> dims, ArrayRef<Value> at) {
  if (!op.getPackedShape())
    return b.element(op.getW(), at);
  Value width = b.dim(op.getW(), 3), perGroup = b.expr(floorDiv(dims[0], b.shapes().constant(op.getGroups())));
  Value channel = b.remi(at[0], perGroup), inner = b.linearize(at.drop_front(), dims.drop_front());
  return b.element(op.getW(), {b.divi(at[0], perGroup), b.divi(channel, width), inner, b.remi(channel, width)});
}

static Value convElement(ConvOp op, ElementBuilder &b, ValueRange index) {
  Type type = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(type);
  SmallVector<DimExpr> x(b.shapes().dims(op.getX())), w = op.weightDims(b.shapes());
  size_t rank = x.size() - 2;
  // Position of the window's first element, and the part of the kernel that lies inside x.
  Values origin, low, high;
  for (size_t d = 0; d < rank; ++d) {
    int64_t stride = op.getStrides()[d], dilation = op.getDilations()[d];
    Value start = b.subi(b.muli(index[d + 2], b.index(stride)), b.expr(b.shapes().element(op.getPads(), d)));
    origin.push_back(start);
    low.push_back(b.maxi(ceilDivBy(b, b.subi(b.index(0), start), dilation), b.index(0)));
    high.push_back(b.mini(ceilDivBy(b, b.subi(b.expr(x[d + 2]), start), dilation), b.expr(w[d + 2])));
  }
  Value first = b.index(0);
  if (op.getGroups() != 1) {
    Value perGroup = b.expr(floorDiv(w[0], b.shapes().constant(op.getGroups())));
    first = b.muli(b.divi(index[1], perGroup), b.expr(w[1]));
  }
  return b.loop(b.index(0), b.expr(w[1]), s.number(type, 0), [&](Value c, ValueRange carried) {
    return Values{overKernel(b, low, high, carried[0], [&](ValueRange k, Value sum) {
      Values xAt{index[0], b.addi(first, c)}, wAt{index[1], c};
      for (size_t d = 0; d < rank; ++d) {
        xAt.push_back(b.addi(origin[d], b.muli(k[d], b.index(op.getDilations()[d]))));
        wAt.push_back(k[d]);
      }
      return s.add(sum, s.mul(b.element(op.getX(), xAt), weightElement(op, b, w, wAt)));
    })};
  })[0];
}

static Value convTransposeElement(ConvTransposeOp op, ElementBuilder &b, ValueRange index) {
  Type type = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(type);
  SmallVector<DimExpr> x(b.shapes().dims(op.getX())), w(b.shapes().dims(op.getW()));
  size_t rank = x.size() - 2;
  // x at i contributes through kernel element k where i · stride + k · dilation = o + pad: k runs over its range, and i
  // follows where the stride divides.
  Values target, low, high;
  for (size_t d = 0; d < rank; ++d) {
    int64_t stride = op.getStrides()[d], dilation = op.getDilations()[d];
    Value position = b.addi(index[d + 2], b.expr(b.shapes().element(op.getPads(), d)));
    target.push_back(position);
    // 0 <= position − k · dilation <= (D − 1) · stride
    Value reach = b.subi(position, b.expr((x[d + 2] - 1) * stride));
    low.push_back(b.maxi(ceilDivBy(b, reach, dilation), b.index(0)));
    high.push_back(b.mini(b.addi(b.floorDivi(position, b.index(dilation)), b.index(1)), b.expr(w[d + 2])));
  }
  DimExpr channels = floorDiv(w[0], b.shapes().constant(op.getGroups()));
  Value first = b.index(0), column = index[1];
  if (op.getGroups() != 1) {
    first = b.muli(b.divi(index[1], b.expr(w[1])), b.expr(channels));
    column = b.remi(index[1], b.expr(w[1]));
  }
  return overKernel(b, low, high, s.number(type, 0), [&](ValueRange k, Value sum) {
    Value divides;
    Values source;
    for (size_t d = 0; d < rank; ++d) {
      int64_t stride = op.getStrides()[d];
      Value position = b.subi(target[d], b.muli(k[d], b.index(op.getDilations()[d])));
      source.push_back(b.divi(position, b.index(stride)));
      if (stride == 1)
        continue;
      Value exact = b.cmpi(CmpIPredicate::eq, b.remi(position, b.index(stride)), b.index(0));
      divides = divides ? s.logicalAnd(divides, exact) : exact;
    }
    auto accumulate = [&] {
      return b.loop(b.index(0), b.expr(channels), sum, [&](Value c, ValueRange carried) {
        Value channel = b.addi(first, c);
        Values xAt{index[0], channel}, wAt{channel, column};
        llvm::append_range(xAt, source);
        llvm::append_range(wAt, k);
        return Values{s.add(carried[0], s.mul(b.element(op.getX(), xAt), b.element(op.getW(), wAt)))};
      })[0];
    };
    return divides ? b.ifElse(divides, accumulate, [&] { return sum; }) : accumulate();
  });
}

/// x at a real position, by linear interpolation along every spatial dim; 0 outside.
static Value interpolate(ElementBuilder &b, Value x, Value n, Value channel, ArrayRef<Value> position) {
  Type type = getElementTypeOrSelf(x.getType());
  ScalarBuilder s = b.scalars(type);
  size_t rank = position.size();
  Values low, fraction;
  for (Value p : position) {
    Value floor = s.floor(p);
    fraction.push_back(s.sub(p, floor));
    low.push_back(b.toIndex(floor, type));
  }
  Value sum = s.number(type, 0);
  for (unsigned corner = 0; corner < (1u << rank); ++corner) {
    Values at{n, channel};
    Value weight = s.number(type, 1), inside;
    for (size_t d = 0; d < rank; ++d) {
      bool upper = corner >> d & 1;
      Value i = upper ? b.addi(low[d], b.index(1)) : low[d], size = b.dim(x, d + 2);
      Value in = b.inRange(i, b.index(0), size);
      inside = inside ? s.logicalAnd(inside, in) : in;
      at.push_back(i);
      weight = s.mul(weight, upper ? fraction[d] : s.sub(s.number(type, 1), fraction[d]));
    }
    Value element = b.ifElse(inside, [&] { return b.element(x, at); }, [&] { return s.number(type, 0); });
    sum = s.add(sum, s.mul(weight, element));
  }
  return sum;
}

static Value deformConvElement(DeformConvOp op, ElementBuilder &b, ValueRange index) {
  Type type = getElementTypeOrSelf(op.getX().getType());
  ScalarBuilder s = b.scalars(type);
  SmallVector<DimExpr> x(b.shapes().dims(op.getX())), w(b.shapes().dims(op.getW()));
  size_t rank = x.size() - 2;
  ArrayRef<DimExpr> kernel = ArrayRef<DimExpr>(w).drop_front(2);
  DimExpr taps = b.shapes().constant(1);
  Values low, high;
  for (DimExpr k : kernel) {
    taps = taps * k;
    low.push_back(b.index(0));
    high.push_back(b.expr(k));
  }
  Value first = b.index(0);
  if (op.getGroups() != 1) {
    Value perGroup = b.expr(floorDiv(w[0], b.shapes().constant(op.getGroups())));
    first = b.muli(b.divi(index[1], perGroup), b.expr(w[1]));
  }
  Value perOffsetGroup = b.expr(floorDiv(x[1], b.shapes().constant(op.getOffsetGroups())));
  return b.loop(b.index(0), b.expr(w[1]), s.number(type, 0), [&](Value c, ValueRange carried) {
    Value channel = b.addi(first, c);
    Value group = op.getOffsetGroups() == 1 ? b.index(0) : b.divi(channel, perOffsetGroup);
    return Values{overKernel(b, low, high, carried[0], [&](ValueRange k, Value sum) {
      Value tap = b.addi(b.muli(group, b.expr(taps)), b.linearize(k, kernel));
      Values at(index.drop_front(2)), wAt{index[1], c}, position;
      at.insert(at.begin(), {index[0], Value()});
      llvm::append_range(wAt, k);
      for (size_t d = 0; d < rank; ++d) {
        Value regular = b.addi(b.subi(b.muli(index[d + 2], b.index(op.getStrides()[d])),
                                      b.expr(b.shapes().element(op.getPads(), d))),
                               b.muli(k[d], b.index(op.getDilations()[d])));
        at[1] = b.addi(b.muli(tap, b.index(rank)), b.index(d));
        position.push_back(s.add(b.fromIndex(regular, type), b.element(op.getOffset(), at)));
      }
      Value value = interpolate(b, op.getX(), index[0], channel, position);
      if (op.getMask()) {
        at[1] = tap;
        value = s.mul(value, b.element(op.getMask(), at));
      }
      return s.add(sum, s.mul(value, b.element(op.getW(), wAt)));
    })};
  })[0];
}

void flame::registerConvBodies(MLIRContext *context) {
  attachElement<ConvOp, convElement, /*Cheap=*/false>(context);
  attachElement<ConvTransposeOp, convTransposeElement, /*Cheap=*/false>(context);
  attachElement<DeformConvOp, deformConvElement, /*Cheap=*/false>(context);
}
