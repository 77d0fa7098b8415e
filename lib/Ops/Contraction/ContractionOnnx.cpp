//===- ContractionOnnx.cpp - matrix products of ONNX ------------------------------------------------------------------===//
#include "Requantize.h"
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Pointwise.h"
#include <cmath>

using namespace mlir;
using namespace flame;

namespace flame {
void importEinsum(OnnxNode &n);
}

Value flame::centered(OnnxNode &n, Value x, Value zeroPoint) {
  Type wide = n.b.getI32Type();
  x = n.cast(x, wide);
  return zeroPoint ? n.sub(x, n.cast(zeroPoint, wide)) : x;
}

Value flame::requantize(OnnxNode &n, Value accumulator, Value scale, Value zeroPoint) {
  Type to = n.elementType(zeroPoint), type = n.b.getF32Type();
  Value scaled = n.mul(n.cast(accumulator, type), n.cast(scale, type));
  if (isa<FloatType>(to))
    return n.cast(n.add(scaled, n.cast(zeroPoint, type)), to);
  unsigned width = to.getIntOrFloatBitWidth();
  bool isUnsigned = to.isUnsignedInteger();
  double low = isUnsigned ? 0 : -std::ldexp(1.0, width - 1), high = std::ldexp(1.0, isUnsigned ? width : width - 1) - 1;
  Value moved = n.add(n.op<RoundOp>(scaled), n.cast(zeroPoint, type));
  return n.cast(n.min(n.max(moved, n.scalar(type, low)), n.scalar(type, high)), to);
}

static void matMul(OnnxNode &n) { n.setOutput(0, n.matmul(n.input(0), n.input(1))); }

static void gemm(OnnxNode &n) {
  Value a = n.input(0), b = n.input(1);
  for (Value operand : {a, b})
    if (n.rank(operand) != 2)
      n.fail("A and B must be matrices, one has rank " + Twine(n.rank(operand)));
  SmallVector<NamedAttribute> attributes;
  if (n.intAttr("transA", 0))
    attributes.push_back(n.flag("transpose_x", true));
  if (n.intAttr("transB", 0))
    attributes.push_back(n.flag("transpose_y", true));
  Value product = n.op<MatMulOp>({a, b}, attributes);
  double alpha = n.floatAttr("alpha", 1), beta = n.floatAttr("beta", 1);
  if (alpha != 1)
    product = n.mul(product, n.scalarLike(product, alpha));
  if (n.hasInput(2) && beta != 0) {
    Value c = n.input(2);
    product = n.add(product, beta == 1 ? c : n.mul(c, n.scalarLike(c, beta)));
  }
  n.setOutput(0, product);
}

/// A scale or zero point of the rows of a product's first operand, as a column that broadcasts against it.
static Value perRow(OnnxNode &n, Value parameter) {
  return n.rank(parameter) == 1 ? n.unsqueeze(parameter, {1}) : parameter;
}
/// One element: a scalar, so that it does not raise the rank of what it meets.
static Value perTensorOr(OnnxNode &n, Value parameter, function_ref<Value(Value)> otherwise) {
  return n.shapes.numElements(parameter).isConstant(1) ? n.reshape(parameter, GraphBuilder::Axes()) : otherwise(parameter);
}
static Value rowParameter(OnnxNode &n, Value p) {
  return perTensorOr(n, p, [&](Value v) { return perRow(n, v); });
}
static Value columnParameter(OnnxNode &n, Value p) {
  return perTensorOr(n, p, [](Value v) { return v; });
}

static void matMulInteger(OnnxNode &n) {
  Value a = centered(n, n.input(0), n.hasInput(2) ? rowParameter(n, n.input(2)) : Value());
  Value b = centered(n, n.input(1), n.hasInput(3) ? columnParameter(n, n.input(3)) : Value());
  n.setOutput(0, n.matmul(a, b));
}

static void qLinearMatMul(OnnxNode &n) {
  Type f32 = n.b.getF32Type();
  Value a = centered(n, n.input(0), rowParameter(n, n.input(2)));
  Value b = centered(n, n.input(3), columnParameter(n, n.input(5)));
  Value aScale = rowParameter(n, n.cast(n.input(1), f32)), bScale = columnParameter(n, n.cast(n.input(4), f32));
  Value yScale = rowParameter(n, n.cast(n.input(6), f32));
  Value scale = n.div(n.mul(aScale, bScale), yScale);
  n.setOutput(0, requantize(n, n.matmul(a, b), scale, rowParameter(n, n.input(7))));
}

/// What no standard operator computes: torch._grouped_mm. Inputs x, y, ends; attributes transpose_y and type, the result's.
static void groupedMatMul(OnnxNode &n) {
  Type type = n.intAttr("type", 0) ? n.dtypeAttr("type") : Type();
  n.setOutput(0, n.groupedMatmul(n.input(0), n.input(1), n.input(2), n.intAttr("transpose_y", 0), type));
}

void flame::registerContractionOnnx(OnnxRegistry &r) {
  r.add("MatMul", matMul, 1, "", "numeric");
  r.add("Gemm", gemm, 6, "", "numeric");
  r.add("MatMulInteger", matMulInteger, 10, "", "int8, uint8");
  r.add("QLinearMatMul", qLinearMatMul, 10, "", "int8, uint8");
  r.add("GroupedMatMul", groupedMatMul, 1, "flame", "numeric");
  r.add("Einsum", importEinsum, 12, "", "numeric");
}
