//===- ConvOnnx.cpp - convolutions of ONNX ----------------------------------------------------------------------------===//
#include "../Contraction/Requantize.h"
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Conv.h"

using namespace mlir;
using namespace flame;

namespace {
/// Attributes that all convolutions have.
struct Attributes {
  int64_t rank, groups;
  SmallVector<int64_t> strides, dilations;
  SmallVector<DimExpr> kernel;
};
} // namespace

static SmallVector<int64_t> numbers(OnnxNode &n, StringRef name, int64_t count, int64_t otherwise) {
  SmallVector<int64_t> values = n.intsAttr(name);
  if (values.empty())
    values.assign(count, otherwise);
  if (int64_t(values.size()) != count)
    n.fail("attribute '" + name + "' must have " + Twine(count) + " elements, has " + Twine(values.size()));
  return values;
}

static Attributes readAttributes(OnnxNode &n, Value x, Value w) {
  Attributes a;
  a.rank = n.rank(x) - 2;
  if (a.rank < 1 || n.rank(w) != n.rank(x))
    n.fail("the input must have rank 3 or more and the weight the same rank, they have " + Twine(n.rank(x)) + " and " +
           Twine(n.rank(w)));
  a.strides = numbers(n, "strides", a.rank, 1);
  a.dilations = numbers(n, "dilations", a.rank, 1);
  a.groups = n.intAttr("group", 1);
  a.kernel.assign(n.dims(w).drop_front(2));
  SmallVector<int64_t> stated = n.intsAttr("kernel_shape");
  if (stated.empty())
    return a;
  if (int64_t(stated.size()) != a.rank)
    n.fail("attribute 'kernel_shape' must have " + Twine(a.rank) + " elements, has " + Twine(stated.size()));
  for (int64_t d = 0; d < a.rank; ++d)
    if (auto size = a.kernel[d].constant(); size && *size != stated[d])
      n.fail("attribute 'kernel_shape' states " + Twine(stated[d]) + " for spatial dim " + Twine(d) + ", the weight has " +
             Twine(*size));
  return a;
}

/// The pads of a forward convolution as an i64 vector.
static Value forwardPads(OnnxNode &n, Value x, const Attributes &a) {
  std::string mode = n.stringAttr("auto_pad", "NOTSET");
  if (mode.empty() || mode == "NOTSET")
    return n.i64(numbers(n, "pads", 2 * a.rank, 0));
  SmallVector<DimExpr> pads(2 * a.rank, n.shapes.constant(0));
  if (mode == "VALID")
    return n.shapeTensor(pads);
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER")
    n.fail("attribute 'auto_pad' is \"" + mode + "\"; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID");
  for (int64_t d = 0; d < a.rank; ++d) {
    // As much as makes the result ceil(size / stride) wide; an odd one goes to the end, or to the begin.
    DimExpr size = n.dim(x, d + 2), out = ceilDiv(size, n.shapes.constant(a.strides[d]));
    DimExpr reach = (a.kernel[d] - 1) * a.dilations[d] + 1;
    DimExpr total = max((out - 1) * a.strides[d] + reach - size, n.shapes.constant(0));
    DimExpr half = floorDiv(total, n.shapes.constant(2));
    bool upper = mode == "SAME_UPPER";
    pads[d] = upper ? half : total - half;
    pads[d + a.rank] = upper ? total - half : half;
  }
  return n.shapeTensor(pads);
}

static SmallVector<NamedAttribute> opAttributes(OnnxNode &n, const Attributes &a) {
  return {n.attr("strides", GraphBuilder::Axes(a.strides)), n.attr("dilations", GraphBuilder::Axes(a.dilations)),
          n.attr("groups", a.groups)};
}

/// A vector of one element a channel, shaped to broadcast over dims that follow the channels.
static Value perChannel(OnnxNode &n, Value vector, int64_t following) {
  if (n.rank(vector) == 0)
    return vector;
  if (n.shapes.numElements(vector).isConstant(1) && n.rank(vector) != 1)
    return n.reshape(vector, GraphBuilder::Axes());
  SmallVector<int64_t> axes;
  for (int64_t d = 1; d <= following; ++d)
    axes.push_back(d);
  return n.unsqueeze(vector, axes);
}

static Value plainConv(OnnxNode &n, Value x, Value w) {
  Attributes a = readAttributes(n, x, w);
  return n.op<ConvOp>({x, w, forwardPads(n, x, a)}, opAttributes(n, a));
}

static void conv(OnnxNode &n) {
  Value result = plainConv(n, n.input(0), n.input(1));
  if (n.hasInput(2))
    result = n.add(result, perChannel(n, n.input(2), n.rank(result) - 2));
  n.setOutput(0, result);
}

static void convInteger(OnnxNode &n) {
  Value x = n.input(0), w = n.input(1);
  Value xZero = n.hasInput(2) ? perChannel(n, n.input(2), n.rank(x) - 2) : Value();
  Value wZero = n.hasInput(3) ? perChannel(n, n.input(3), n.rank(w) - 1) : Value();
  n.setOutput(0, plainConv(n, centered(n, x, xZero), centered(n, w, wZero)));
}

static void qLinearConv(OnnxNode &n) {
  Value x = n.input(0), w = n.input(3);
  int64_t spatial = n.rank(x) - 2;
  Type f32 = n.b.getF32Type();
  Value result = plainConv(n, centered(n, x, perChannel(n, n.input(2), spatial)),
                           centered(n, w, perChannel(n, n.input(5), n.rank(w) - 1)));
  if (n.hasInput(8))
    result = n.add(result, perChannel(n, n.input(8), spatial));
  auto scale = [&](unsigned i) { return perChannel(n, n.cast(n.input(i), f32), spatial); };
  Value whole = n.div(n.mul(scale(1), scale(4)), scale(6));
  n.setOutput(0, requantize(n, result, whole, perChannel(n, n.input(7), spatial)));
}

static void convTranspose(OnnxNode &n) {
  Value x = n.input(0), w = n.input(1);
  Attributes a = readAttributes(n, x, w);
  SmallVector<int64_t> padding = numbers(n, "output_padding", a.rank, 0), asked = n.intsAttr("output_shape");
  std::string mode = n.stringAttr("auto_pad", "NOTSET");
  bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && !mode.empty() && mode != "NOTSET" && mode != "VALID")
    n.fail("attribute 'auto_pad' is \"" + mode + "\"; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID");
  // The whole shape may be given, of which only the spatial dims count.
  if (int64_t(asked.size()) == a.rank + 2)
    asked.erase(asked.begin(), asked.begin() + 2);
  if (!asked.empty() && int64_t(asked.size()) != a.rank)
    n.fail("attribute 'output_shape' must have " + Twine(a.rank) + " elements, has " + Twine(asked.size()));
  SmallVector<DimExpr> pads;
  if (asked.empty() && !same) {
    for (int64_t value : mode == "VALID" ? SmallVector<int64_t>(2 * a.rank, 0) : numbers(n, "pads", 2 * a.rank, 0))
      pads.push_back(n.shapes.constant(value));
  } else {
    // The pads follow from the size of the result.
    pads.resize(2 * a.rank);
    for (int64_t d = 0; d < a.rank; ++d) {
      DimExpr size = n.dim(x, d + 2), full = (size - 1) * a.strides[d] + (a.kernel[d] - 1) * a.dilations[d] + 1;
      DimExpr out = asked.empty() ? size * a.strides[d] : n.shapes.constant(asked[d]);
      DimExpr total = full + padding[d] - out;
      // A result larger than what the windows cover is filled up at the end.
      if (total.constant() && *total.constant() < 0) {
        padding[d] -= *total.constant();
        total = n.shapes.constant(0);
      }
      DimExpr half = floorDiv(total, n.shapes.constant(2));
      bool upper = mode == "SAME_UPPER";
      pads[d] = upper ? half : total - half;
      pads[d + a.rank] = upper ? total - half : half;
    }
  }
  Value result = n.op<ConvTransposeOp>({x, w, n.shapeTensor(pads), n.i64(padding)}, opAttributes(n, a));
  if (n.hasInput(2))
    result = n.add(result, perChannel(n, n.input(2), n.rank(result) - 2));
  n.setOutput(0, result);
}

static void deformConv(OnnxNode &n) {
  Value x = n.input(0), w = n.input(1);
  Attributes a = readAttributes(n, x, w);
  SmallVector<NamedAttribute> attributes = opAttributes(n, a);
  attributes.push_back(n.attr("offset_groups", n.intAttr("offset_group", 1)));
  SmallVector<Value> operands{x, w, n.i64(numbers(n, "pads", 2 * a.rank, 0)), n.input(2)};
  if (n.hasInput(4))
    operands.push_back(n.input(4));
  Value result = n.op<DeformConvOp>(operands, attributes);
  if (n.hasInput(3))
    result = n.add(result, perChannel(n, n.input(3), n.rank(result) - 2));
  n.setOutput(0, result);
}

void flame::registerConvOnnx(OnnxRegistry &r) {
  r.add("Conv", conv, 1, "", "float");
  r.add("ConvInteger", convInteger, 10, "", "int8, uint8");
  r.add("QLinearConv", qLinearConv, 10, "", "int8, uint8");
  r.add("ConvTranspose", convTranspose, 1, "", "float");
  r.add("DeformConv", deformConv, 19, "", "float");
}
