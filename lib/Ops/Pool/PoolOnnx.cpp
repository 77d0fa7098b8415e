//===- PoolOnnx.cpp - ONNX pooling operators --------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Index.h"
#include "flame/Ops/Pool.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

/// The attributes that all pooling ops share, with ONNX's defaults filled in.
static SmallVector<NamedAttribute> windowAttributes(OnnxNode &n, Value x) {
  SmallVector<int64_t> kernel = n.intsAttr("kernel_shape");
  int64_t spatial = n.rank(x) - 2;
  if (kernel.empty())
    n.fail("attribute 'kernel_shape' is missing");
  auto numbers = [&](StringRef name, int64_t count, int64_t otherwise) {
    SmallVector<int64_t> list = n.intsAttr(name);
    if (list.empty())
      list.assign(std::max<int64_t>(count, 0), otherwise);
    return list;
  };
  std::string autoPad = n.stringAttr("auto_pad", "NOTSET");
  return {n.attr("kernel", GraphBuilder::Axes(kernel)),
          n.attr("strides", GraphBuilder::Axes(numbers("strides", spatial, 1))),
          n.attr("dilations", GraphBuilder::Axes(numbers("dilations", spatial, 1))),
          n.attr("pads", GraphBuilder::Axes(numbers("pads", 2 * spatial, 0))),
          n.attrS("auto_pad", autoPad.empty() ? "NOTSET" : autoPad),
          n.flag("ceil_mode", n.intAttr("ceil_mode", 0) != 0)};
}

static void maxPool(OnnxNode &n) {
  Value x = n.input(0);
  SmallVector<NamedAttribute> attributes = windowAttributes(n, x);
  attributes.push_back(n.flag("column_major", n.intAttr("storage_order", 0) != 0));
  auto op = n.create<MaxPoolOp>(x, attributes, 2);
  n.setOutput(0, op.getResult());
  if (n.wantsOutput(1))
    n.setOutput(1, op.getIndices());
}

static void averagePool(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = windowAttributes(n, n.input(0));
  attributes.push_back(n.flag("count_include_pad", n.intAttr("count_include_pad", 0) != 0));
  n.setOutput(0, n.op<AveragePoolOp>(n.input(0), attributes));
}

static void lpPool(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = windowAttributes(n, n.input(0));
  // The first version had a float.
  attributes.push_back(n.attrF("p", n.opset < 2 ? n.floatAttr("p", 2.0) : double(n.intAttr("p", 2))));
  n.setOutput(0, n.op<LpPoolOp>(n.input(0), attributes));
}

static SmallVector<int64_t> spatialAxes(OnnxNode &n, Value x) {
  if (n.rank(x) < 3)
    n.fail("the input must be [batch, channels, spatial…], has rank " + Twine(n.rank(x)));
  return llvm::to_vector(llvm::seq<int64_t>(2, n.rank(x)));
}

static void globalAveragePool(OnnxNode &n) {
  Value x = n.input(0);
  n.setOutput(0, n.mean(x, spatialAxes(n, x)));
}
static void globalMaxPool(OnnxNode &n) {
  Value x = n.input(0);
  n.setOutput(0, n.reduce("max", x, spatialAxes(n, x), true));
}
static void globalLpPool(OnnxNode &n) {
  Value x = n.input(0);
  double p = n.opset < 2 ? n.floatAttr("p", 2.0) : double(n.intAttr("p", 2));
  if (!(p > 0))
    n.fail("attribute 'p' must be positive");
  Value power = p == 2 ? n.mul(x, x) : n.abs(x);
  if (p != 1 && p != 2)
    power = n.pow(power, n.scalarLike(x, p));
  Value sum = n.sum(power, spatialAxes(n, x));
  n.setOutput(0, p == 1 ? sum : p == 2 ? n.sqrt(sum) : n.pow(sum, n.scalarLike(x, 1 / p)));
}

/// Zeros with x at the flat positions that max_pool gave. They count in the shape that the attributes lead to; a stated
/// output shape that is greater holds that one in its first corner.
static void maxUnpool(OnnxNode &n) {
  Value x = n.input(0), indices = n.input(1);
  int64_t spatial = n.rank(x) - 2;
  SmallVector<int64_t> kernel = n.intsAttr("kernel_shape"), strides = n.intsAttr("strides"), pads = n.intsAttr("pads");
  if (strides.empty())
    strides.assign(std::max<int64_t>(spatial, 0), 1);
  if (pads.empty())
    pads.assign(2 * std::max<int64_t>(spatial, 0), 0);
  if (spatial < 1 || int64_t(kernel.size()) != spatial || int64_t(strides.size()) != spatial ||
      int64_t(pads.size()) != 2 * spatial)
    n.fail("kernel_shape, strides and pads must fit the " + Twine(spatial) + " spatial dimensions of the input");
  SmallVector<DimExpr> dims{n.dim(x, 0), n.dim(x, 1)};
  DimExpr total = dims[0] * dims[1];
  for (int64_t d = 0; d < spatial; ++d) {
    dims.push_back((n.dim(x, d + 2) - 1) * strides[d] + kernel[d] - pads[d] - pads[spatial + d]);
    total = total * dims.back();
  }
  DimExpr count = n.shapes.numElements(x);
  Value zeros = n.fill(total, n.scalarLike(x, 0));
  Value flat = n.op<ScatterElementsOp>({zeros, n.reshape(indices, count), n.reshape(x, count)},
                                       {n.attr("axis", int64_t(0))});
  Value result = n.reshape(flat, dims);
  if (n.hasInput(2)) {
    SmallVector<DimExpr> low(dims.size(), n.shapes.constant(0)), high;
    for (auto [d, dim] : llvm::enumerate(dims))
      high.push_back(n.shapes.element(n.input(2), d, /*nonNegative=*/true) - dim);
    result = n.pad(result, low, high);
  }
  n.setOutput(0, result);
}

void flame::registerPoolOnnx(OnnxRegistry &registry) {
  registry.add("MaxPool", maxPool, 1, "", "numeric");
  registry.add("AveragePool", averagePool, 1, "", "float");
  registry.add("LpPool", lpPool, 1, "", "float");
  registry.add("GlobalAveragePool", globalAveragePool, 1, "", "float");
  registry.add("GlobalMaxPool", globalMaxPool, 1, "", "float");
  registry.add("GlobalLpPool", globalLpPool, 1, "", "float");
  registry.add("MaxUnpool", maxUnpool, 9, "", "float");
}
