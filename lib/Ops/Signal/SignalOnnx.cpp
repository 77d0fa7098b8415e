//===- SignalOnnx.cpp - Fourier transforms, windows and mel filters of ONNX -------------------------------------------===//
//
// A transform is a product with a table of cosines and sines. Angles are reduced as integers (k n mod N) and the table is
// computed in f64, so that its entries are right to the last bit for any length.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/Twine.h"
#include <cmath>

using namespace mlir;
using namespace flame;

static Value scalarOf(OnnxNode &n, DimExpr value) { return n.reshape(n.shapeTensor(value), GraphBuilder::Axes()); }

namespace {
struct Transform {
  bool inverse = false, onesided = false;
};
} // namespace

/// DFT of x [outer, n, inner, 1 or 2] along dimension 1 with `length` points: [outer, K, inner, 1 or 2].
static Value transform(OnnxNode &n, Value x, DimExpr length, Transform t) {
  Type type = n.elementType(x), index = n.b.getI64Type(), real = n.b.getF64Type();
  DimExpr one = n.shapes.constant(1), zero = n.shapes.constant(0);
  DimExpr parts = n.dim(x, 3);
  if (parts.constant() && !parts.isConstant(1) && !parts.isConstant(2))
    n.fail("the last dimension is " + parts.str() + "; it must be 1 (real) or 2 (real and imaginary part)");
  // Where only the run tells, an imaginary part of a real signal is the real part times 0.
  bool isComplex = !parts.isConstant(1);
  if (t.onesided && !t.inverse && parts.isConstant(2))
    n.fail("onesided needs a real signal: the last dimension is 2, it must be 1");
  DimExpr half = floorDiv(length, n.shapes.constant(2)) + one;
  DimExpr used = min(n.dim(x, 1), t.inverse && t.onesided ? half : length), bins = t.onesided && !t.inverse ? half : length;
  if (used != n.dim(x, 1))
    x = n.sliceAxis(x, 1, zero, used);
  Value count = scalarOf(n, length);
  Value product = n.mul(n.unsqueeze(n.iota(bins, index), 1), n.iota(used, index));
  Value turns = n.div(n.cast(n.op<ModOp>({product, count}), real), n.cast(count, real));
  Value angle = n.mul(turns, n.scalar(real, 2 * M_PI));
  Value cosine = n.op<CosOp>(angle), sine = n.op<SinOp>(angle);
  if (t.inverse) {
    Value weight = n.reciprocal(n.cast(count, real));
    if (t.onesided) {
      // Bins other than 0 and N/2 stand for their conjugates as well.
      Value k = n.iota(used, index), twice = n.add(k, k);
      Value single = n.logicalOr(n.equal(k, n.i64Scalar(0)), n.equal(twice, count));
      weight = n.mul(weight, n.where(single, n.scalar(real, 1), n.scalar(real, 2)));
    }
    cosine = n.mul(cosine, weight);
    sine = n.neg(n.mul(sine, weight));
  }
  Value wide = n.widen(x);
  cosine = n.cast(cosine, n.elementType(wide));
  sine = n.cast(sine, n.elementType(wide));
  auto part = [&](DimExpr i) { return n.squeeze(n.sliceAxis(wide, 3, i, one), 3); };
  // y = (cos − i sin)(re + i im), with the sine's sign turned for the inverse.
  Value re = part(zero), im = isComplex ? part(parts - 1) : Value();
  if (!parts.constant())
    im = n.mul(im, n.cast(scalarOf(n, parts - 1), n.elementType(wide)));
  Value outRe = n.matmul(cosine, re);
  if (im)
    outRe = n.add(outRe, n.matmul(sine, im));
  Value y = n.unsqueeze(outRe, 3);
  if (!(t.inverse && t.onesided)) {
    Value outIm = n.neg(n.matmul(sine, re));
    if (im)
      outIm = n.add(outIm, n.matmul(cosine, im));
    y = n.concat({y, n.unsqueeze(outIm, 3)}, 3);
  }
  return n.cast(y, type);
}

static void dft(OnnxNode &n) {
  Value x = n.input(0);
  int64_t rank = n.rank(x);
  if (rank < 2)
    n.fail("the input has rank " + Twine(rank) + "; a signal dimension and the real and imaginary parts are needed");
  Transform t{n.intAttr("inverse", 0) != 0, n.intAttr("onesided", 0) != 0};
  DimExpr axis = n.shapes.constant(-2);
  if (n.opset < 20)
    axis = n.shapes.constant(n.intAttr("axis", 1));
  else if (n.hasInput(2))
    axis = n.shapes.element(n.input(2), 0);
  axis = n.normalizedAxis(axis, rank);
  if (axis.constant() && *axis.constant() >= rank - 1)
    n.fail("axis is the last dimension, which holds the real and imaginary parts; give one before it");
  SmallVector<DimExpr> dims(n.dims(x));
  auto [outer, size, inner] = n.around(ArrayRef<DimExpr>(dims).drop_back(), axis);
  DimExpr length = size;
  if (n.hasInput(1))
    length = n.shapes.element(n.input(1), 0, /*nonNegative=*/true);
  else if (t.inverse && t.onesided)
    length = (size - 1) * 2;
  Value y = transform(n, n.reshape(x, {outer, size, inner, dims.back()}), length, t);
  for (int64_t d = 0; d + 1 < rank; ++d)
    dims[d] = dims[d] + n.isEqual(n.shapes.constant(d), axis) * (n.dim(y, 1) - dims[d]);
  dims.back() = n.dim(y, 3);
  n.setOutput(0, n.reshape(y, dims));
}

static void stft(OnnxNode &n) {
  Value signal = n.input(0);
  if (n.rank(signal) == 2) // some exporters leave the last dimension out
    signal = n.unsqueeze(signal, 2);
  if (n.rank(signal) != 3)
    n.fail("the signal has rank " + Twine(n.rank(signal)) + "; it must be [batch, length, 1 or 2]");
  Type index = n.b.getI64Type();
  DimExpr step = n.shapes.element(n.input(1), 0, /*nonNegative=*/true), length;
  if (step.constant() && *step.constant() <= 0)
    n.fail("frame_step is " + Twine(*step.constant()) + "; it must be positive");
  if (n.hasInput(3))
    length = n.shapes.element(n.input(3), 0, /*nonNegative=*/true);
  else
    length = n.hasInput(2) ? n.dim(n.input(2), 0) : n.dim(signal, 1);
  DimExpr frames = floorDiv(n.dim(signal, 1) - length, step) + 1;
  Value begin = n.mul(n.unsqueeze(n.iota(frames, index), 1), scalarOf(n, step));
  Value framed = n.gather(signal, n.add(begin, n.iota(length, index)), 1); // [batch, frames, length, parts]
  if (n.hasInput(2))
    framed = n.mul(framed, n.unsqueeze(n.input(2), 1));
  DimExpr batch = n.dim(signal, 0), parts = n.dim(signal, 2), one = n.shapes.constant(1);
  Value y = transform(n, n.reshape(framed, {batch * frames, length, one, parts}), length,
                      {false, n.intAttr("onesided", 1) != 0});
  n.setOutput(0, n.reshape(y, {batch, frames, n.dim(y, 1), n.dim(y, 3)}));
}

static Type outputType(OnnxNode &n) {
  Type type = n.dtypeAttr("output_datatype");
  return type ? type : Type(n.b.getF32Type());
}

/// A sum of cosines: coefficients[j] * cos(2 pi j i / N).
static OnnxRegistry::Import window(std::vector<double> coefficients) {
  return [coefficients](OnnxNode &n) {
    Type real = n.b.getF64Type();
    DimExpr size = n.shapes.element(n.input(0), 0, /*nonNegative=*/true);
    DimExpr period = n.intAttr("periodic", 1) ? size : size - 1;
    Value turns = n.div(n.iota(size, real), n.cast(scalarOf(n, period), real));
    Value sum = n.scalar(real, coefficients[0]);
    for (size_t j = 1; j < coefficients.size(); ++j) {
      Value wave = n.op<CosOp>(n.mul(turns, n.scalar(real, 2 * M_PI * double(j))));
      sum = n.add(sum, n.mul(n.scalar(real, coefficients[j]), wave));
    }
    n.setOutput(0, n.cast(sum, outputType(n)));
  };
}

static void melWeightMatrix(OnnxNode &n) {
  Type real = n.b.getF64Type();
  auto number = [&](double value) { return n.scalar(real, value); };
  auto scalarInput = [&](unsigned i) {
    Value v = n.cast(n.input(i), real);
    return n.rank(v) == 0 ? v : n.reshape(v, GraphBuilder::Axes());
  };
  DimExpr mels = n.shapes.element(n.input(0), 0, true), length = n.shapes.element(n.input(1), 0, true);
  Value sampleRate = scalarInput(2);
  auto toMel = [&](Value hertz) {
    Value ratio = n.add(number(1), n.div(hertz, number(700)));
    return n.mul(n.log(ratio), number(2595 / std::log(10.0)));
  };
  Value low = toMel(scalarInput(3)), high = toMel(scalarInput(4));
  // Edges of the triangles, evenly spaced in mel, as numbers of spectrum bins.
  DimExpr edges = mels + 2;
  Value step = n.div(n.sub(high, low), n.cast(scalarOf(n, edges), real));
  Value mel = n.add(n.mul(n.iota(edges, real), step), low);
  Value hertz = n.mul(number(700), n.sub(n.exp(n.mul(mel, number(std::log(10.0) / 2595))), number(1)));
  Value position = n.div(n.mul(n.cast(scalarOf(n, length + 1), real), hertz), sampleRate);
  Value bins = n.op<FloorOp>(position);
  auto edge = [&](int64_t i) { return n.sliceAxis(bins, 0, n.shapes.constant(i), mels); };
  Value left = edge(0), center = edge(1), right = edge(2);
  Value bin = n.unsqueeze(n.iota(floorDiv(length, n.shapes.constant(2)) + 1, real), 1);
  // Rising up to the center, falling behind it; a triangle without a left half has its peak alone.
  Value rise = n.sub(center, left), fall = n.sub(right, center), zero = number(0), one = number(1);
  Value flat = n.equal(rise, zero);
  Value up = n.where(flat, one, n.div(n.sub(bin, left), n.where(flat, one, rise)));
  Value down = n.div(n.sub(right, bin), n.where(n.equal(fall, zero), one, fall));
  Value inRise = n.logicalAnd(n.greaterEqual(bin, left), n.lessEqual(bin, center));
  Value inFall = n.logicalAnd(n.greaterEqual(bin, center), n.less(bin, right));
  Value weights = n.where(inFall, down, n.where(inRise, up, zero));
  n.setOutput(0, n.cast(weights, outputType(n)));
}

void flame::registerSignalOnnx(OnnxRegistry &r) {
  r.add("DFT", dft, 17, "", "float");
  r.add("STFT", stft, 17, "", "float");
  r.add("HannWindow", window({0.5, -0.5}), 17, "", "numeric");
  r.add("HammingWindow", window({25.0 / 46, -21.0 / 46}), 17, "", "numeric");
  r.add("BlackmanWindow", window({0.42, -0.5, 0.08}), 17, "", "numeric");
  r.add("MelWeightMatrix", melWeightMatrix, 17, "", "numeric");
}
