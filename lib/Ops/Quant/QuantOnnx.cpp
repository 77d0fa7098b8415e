//===- QuantOnnx.cpp - quantisation operators of ONNX as compositions -------------------------------------------------===//
//
// Quantised arithmetic runs in f32 (or wider): integers of 16 bits and less, and all of their sums with a rounded
// quotient that can matter after saturation, are exact in it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"
#include <cmath>

using namespace mlir;
using namespace flame;

/// An element type attribute where 0 means that it isn't given.
static Type optionalType(OnnxNode &n, StringRef name) { return n.intAttr(name, 0) ? n.dtypeAttr(name) : Type(); }

/// A scale or zero point brought to a shape that broadcasts against x: per tensor, per axis or per block.
static Value granular(OnnxNode &n, Value parameter, Value x) {
  int64_t rank = n.rank(x), parameterRank = n.rank(parameter), block = n.intAttr("block_size", 0);
  if (parameterRank == 0 || rank == 0)
    return parameterRank == 0 ? parameter : n.reshape(parameter, GraphBuilder::Axes());
  if (block < 0)
    n.fail("block_size is " + Twine(block) + "; it must be positive");
  if (parameterRank == 1 && block == 0) {
    if (rank == 1)
      return parameter;
    int64_t axis = n.axis(n.intAttr("axis", 1), rank);
    return n.unsqueeze(parameter, llvm::to_vector(llvm::seq<int64_t>(1, rank - axis)));
  }
  if (parameterRank != rank)
    n.fail("the scale has rank " + Twine(parameterRank) + ", the tensor rank " + Twine(rank) +
           "; it must be a scalar, a vector or of the same rank");
  if (block == 0)
    return parameter;
  // Every block's number is repeated, the last block may be cut off.
  int64_t axis = n.axis(n.intAttr("axis", 1), rank);
  if (n.dim(parameter, axis).isConstant(1))
    return parameter; // one block: a number for each row
  SmallVector<DimExpr> repeated(n.dims(parameter)), flat(n.dims(parameter));
  repeated.insert(repeated.begin() + axis + 1, n.shapes.constant(block));
  flat[axis] = flat[axis] * block;
  Value whole = n.reshape(n.expand(n.unsqueeze(parameter, axis + 1), repeated), flat);
  if (flat[axis] == n.dim(x, axis))
    return whole;
  return n.sliceAxis(whole, axis, n.shapes.constant(0), n.dim(x, axis));
}

/// The zero point of floats is 0; null where it is known to be.
static Value zeroPointOf(OnnxNode &n, Value zeroPoint, Value x) {
  auto constant = zeroPoint.getDefiningOp<ConstantOp>();
  auto elements = constant ? constant->getAttrOfType<DenseElementsAttr>("value") : DenseElementsAttr();
  if (elements && elements.isSplat() && isa<FloatType>(elements.getElementType()) && elements.getSplatValue<APFloat>().isZero())
    return {};
  return granular(n, zeroPoint, x);
}

/// Rounds, moves by the zero point (may be null) and saturates; `x` is already divided by the scale.
static Value quantize(OnnxNode &n, Value x, Value zeroPoint, Type to) {
  Type type = n.elementType(x);
  Value zero = zeroPoint ? n.cast(zeroPoint, type) : Value();
  if (isa<FloatType>(to))
    return n.cast(zero ? n.add(x, zero) : x, to, n.intAttr("saturate", 1) != 0);
  unsigned width = to.getIntOrFloatBitWidth();
  bool isUnsigned = to.isUnsignedInteger();
  double low = isUnsigned ? 0 : -std::ldexp(1.0, width - 1), high = std::ldexp(1.0, isUnsigned ? width : width - 1) - 1;
  Value rounded = n.op<RoundOp>(x);
  Value moved = zero ? n.add(rounded, zero) : rounded;
  return n.cast(n.min(n.max(moved, n.scalar(type, low)), n.scalar(type, high)), to);
}

static void quantizeLinear(OnnxNode &n) {
  Value x = n.input(0), scale = n.input(1);
  Type asked = optionalType(n, "output_dtype");
  Type to = n.hasInput(2) ? n.elementType(n.input(2)) : asked ? asked : n.b.getIntegerType(8, /*isSigned=*/false);
  if (asked && asked != to)
    n.fail("output_dtype is " + dtypeName(asked) + ", the zero point has element type " + dtypeName(to) +
           "; they must agree");
  Type precision = optionalType(n, "precision");
  Type type = precision ? precision : n.elementType(scale);
  if (!isa<FloatType>(type) || type.getIntOrFloatBitWidth() < 32)
    type = n.b.getF32Type();
  Value quotient = n.div(n.cast(x, type), n.cast(granular(n, scale, x), type));
  n.setOutput(0, quantize(n, quotient, n.hasInput(2) ? zeroPointOf(n, n.input(2), x) : Value(), to));
}

static void dequantizeLinear(OnnxNode &n) {
  Value x = n.input(0), scale = n.input(1);
  Type asked = optionalType(n, "output_dtype");
  Type to = asked ? asked : n.elementType(scale);
  Type type = to.isF64() ? to : Type(n.b.getF32Type());
  Value number = n.cast(x, type);
  if (Value zero = n.hasInput(2) ? zeroPointOf(n, n.input(2), x) : Value())
    number = n.sub(number, n.cast(zero, type));
  n.setOutput(0, n.narrow(n.mul(number, n.cast(granular(n, scale, x), type)), to));
}

static void dynamicQuantizeLinear(OnnxNode &n) {
  Value x = n.input(0), zero = n.scalarLike(x, 0), one = n.scalarLike(x, 1);
  Value low = n.min(n.reduce("min", x, {}, false), zero), high = n.max(n.reduce("max", x, {}, false), zero);
  Value range = n.sub(high, low);
  // All zeros: any scale does, and 0 would make NaN.
  Value scale = n.where(n.equal(range, zero), one, n.div(range, n.scalarLike(x, 255)));
  Type byte = n.b.getIntegerType(8, /*isSigned=*/false);
  Value zeroPoint = quantize(n, n.div(n.sub(zero, low), scale), {}, byte);
  n.setOutput(0, quantize(n, n.div(x, scale), zeroPoint, byte));
  n.setOutput(1, scale);
  n.setOutput(2, zeroPoint);
}

void flame::registerQuantOnnx(OnnxRegistry &r) {
  r.add("QuantizeLinear", quantizeLinear, 10, "", "float to quantized");
  r.add("DequantizeLinear", dequantizeLinear, 10, "", "quantized to float");
  r.add("DynamicQuantizeLinear", dynamicQuantizeLinear, 11, "", "float32");
}
