//===- ImageOnnx.cpp - ONNX operators on images -----------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Image.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

//===------------------------------------------------------------------------------------------------------------------===//
// Resize, Upsample
//===------------------------------------------------------------------------------------------------------------------===//

/// The numbers of a constant float vector.
static std::optional<SmallVector<double>> constantFloats(Value v) {
  DenseFPElementsAttr elements;
  if (!v || !matchPattern(v, m_Constant(&elements)) || elements.getNumElements() > 64)
    return std::nullopt;
  SmallVector<double> numbers;
  for (APFloat number : elements.getValues<APFloat>()) {
    bool losesInfo;
    number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
    numbers.push_back(number.convertToDouble());
  }
  return numbers;
}

/// floor(dim * scale) as an expression; null if `scale` is no small fraction over a power of two.
static DimExpr scaledDim(DimExpr dim, double scale) {
  if (auto size = dim.constant())
    return dim.node->context->constant(int64_t(std::floor(double(*size) * scale)));
  for (int64_t denominator = 1; denominator <= 1024; denominator *= 2)
    if (double numerator = scale * denominator; numerator == std::floor(numerator) && numerator < 1e9)
      return floorDiv(dim * int64_t(numerator), dim.node->context->constant(denominator));
  return {};
}

namespace {
struct Resizing {
  OnnxNode &n;
  Value x, roi, scales, sizes;
  SmallVector<int64_t> axes;
  std::string mode, coordinates, rounding, policy;
  bool antialias = false, excludeOutside = false;
  double cubicCoeff = -0.75, extrapolation = 0;

  explicit Resizing(OnnxNode &n) : n(n), x(n.input(0)) {}

  Value f64(Value v) { return n.cast(v, n.b.getF64Type()); }
  /// Element k of a vector as a vector of one element.
  Value pick(Value vector, int64_t k) {
    return n.sliceAxis(vector, 0, n.shapes.constant(k), n.shapes.constant(1));
  }
  Value dimAsF64(int64_t axis) { return f64(n.shapeTensor(n.dim(x, axis))); }

  void run() {
    if (mode == "bilinear" || mode == "trilinear")
      mode = "linear";
    if (mode == "bicubic")
      mode = "cubic";
    if (!scales && !sizes)
      n.fail("needs scales or sizes");
    int64_t count = axes.size();
    for (auto [value, what] : {std::pair{scales, "scales"}, {sizes, "sizes"}})
      if (auto length = value ? n.shapes.numElements(value).constant() : std::nullopt; length && *length != count)
        n.fail(Twine("there are ") + Twine(*length) + " " + what + " for " + Twine(count) + " axes");
    auto known = constantFloats(scales);
    // One common scale for all axes: the least or greatest that the sizes ask for.
    Value common;
    if (sizes && policy != "stretch") {
      if (policy != "not_larger" && policy != "not_smaller")
        n.fail("keep_aspect_ratio_policy is \"" + policy + "\"; it must be stretch, not_larger or not_smaller");
      for (auto [k, axis] : llvm::enumerate(axes)) {
        Value ratio = n.div(f64(pick(sizes, k)), dimAsF64(axis));
        common = !common ? ratio : policy == "not_larger" ? n.min(common, ratio) : n.max(common, ratio);
      }
    }
    Value input = x, result = mode == "nearest" ? x : asReal(x);
    for (auto [k, axis] : llvm::enumerate(axes)) {
      DimExpr dim = n.dim(input, axis), size;
      Value scale;
      if (common) {
        scale = common;
        size = sizeFrom(n.add(n.mul(common, dimAsF64(axis)), n.scalar(n.b.getF64Type(), 0.5)));
      } else if (sizes) {
        size = n.shapes.element(sizes, k, /*nonNegative=*/true);
        if (roi) // A transform has to say the scale.
          scale = n.div(f64(n.shapeTensor(size)), dimAsF64(axis));
      } else {
        scale = f64(pick(scales, k));
        if (known && !((*known)[k] > 0 && (*known)[k] < 1e9))
          n.fail("scale " + Twine(k) + " must be positive, is " + std::to_string((*known)[k]));
        if (known)
          size = scaledDim(dim, (*known)[k]);
        if (!size)
          size = sizeFrom(n.mul(scale, dimAsF64(axis)));
      }
      bool crops = coordinates == "tf_crop_and_resize";
      if (!crops && size == dim && ((known && (*known)[k] == 1) || (sizes && !common)))
        continue;
      if (crops) {
        if (!roi)
          n.fail("tf_crop_and_resize needs the roi input");
        scale = n.concat({scale, f64(pick(roi, k)), f64(pick(roi, k + axes.size()))}, 0);
      }
      SmallVector<Value> operands{result, n.shapeTensor(size)};
      if (scale)
        operands.push_back(scale);
      result = n.op<ResizeOp>(operands, {n.attr("axis", axis), n.attrS("mode", mode),
                                         n.attrS("coordinates", coordinates), n.attrS("rounding", rounding),
                                         n.flag("antialias", antialias), n.flag("exclude_outside", excludeOutside),
                                         n.attrF("cubic_coeff", cubicCoeff), n.attrF("extrapolation", extrapolation)});
    }
    n.setOutput(0, fromReal(result));
  }

  /// Weighted sums of several axes are rounded once, at the end: integers and narrow floats are resampled in a wider type.
  Value asReal(Value v) {
    Type type = n.elementType(v);
    if (isa<FloatType>(type))
      return n.widen(v);
    return n.cast(v, type.getIntOrFloatBitWidth() > 16 ? Type(n.b.getF64Type()) : Type(n.b.getF32Type()));
  }
  Value fromReal(Value v) {
    Type type = n.elementType(x);
    if (n.elementType(v) != type && !isa<FloatType>(type))
      v = n.create("flame.round", v, {})->getResult(0);
    return n.cast(v, type);
  }

  /// A size computed from data: a float vector of one element, rounded down.
  DimExpr sizeFrom(Value number) {
    return n.shapes.element(n.cast(number, n.b.getI64Type()), 0, /*nonNegative=*/true);
  }
};
} // namespace

/// An input that is there and not known to be empty.
static Value nonEmpty(OnnxNode &n, unsigned i) {
  return n.hasInput(i) && !n.shapes.numElements(n.input(i)).isConstant(0) ? n.input(i) : Value();
}

static void resize(OnnxNode &n) {
  Resizing r(n);
  int64_t rank = n.rank(r.x);
  r.mode = n.stringAttr("mode", "nearest");
  if (n.opset < 11) {
    r.scales = n.input(1);
    r.coordinates = "asymmetric";
    r.rounding = "floor";
    r.policy = "stretch";
  } else {
    r.coordinates = n.stringAttr("coordinate_transformation_mode", "half_pixel");
    r.rounding = n.stringAttr("nearest_mode", "round_prefer_floor");
    r.policy = n.stringAttr("keep_aspect_ratio_policy", "stretch");
    r.antialias = n.intAttr("antialias", 0) != 0;
    r.excludeOutside = n.intAttr("exclude_outside", 0) != 0;
    r.cubicCoeff = n.floatAttr("cubic_coeff_a", -0.75);
    r.extrapolation = n.floatAttr("extrapolation_value", 0.0);
    if (r.coordinates == "tf_half_pixel_for_nn")
      n.fail("coordinate_transformation_mode tf_half_pixel_for_nn, which newer opsets have dropped, is not supported");
    r.roi = r.coordinates == "tf_crop_and_resize" ? nonEmpty(n, 1) : Value();
    r.scales = nonEmpty(n, 2);
    r.sizes = nonEmpty(n, 3);
  }
  if (r.antialias && r.mode == "nearest")
    n.fail("antialias needs mode linear or cubic");
  r.axes = n.hasAttr("axes") ? n.axes(n.intsAttr("axes"), rank) : llvm::to_vector(llvm::seq<int64_t>(0, rank));
  r.run();
}

static void upsample(OnnxNode &n) {
  Resizing r(n);
  r.mode = n.stringAttr("mode", "nearest");
  r.coordinates = "asymmetric";
  r.rounding = "floor";
  r.policy = "stretch";
  SmallVector<double> numbers;
  if (n.hasInput(1))
    r.scales = n.input(1);
  else if (n.hasAttr("scales"))
    numbers = n.floatsAttr("scales");
  else
    numbers = {1, 1, n.floatAttr("height_scale"), n.floatAttr("width_scale")};
  if (!r.scales) {
    SmallVector<float> narrow(numbers.begin(), numbers.end());
    r.scales = n.constant(DenseElementsAttr::get(
        RankedTensorType::get({int64_t(narrow.size())}, n.b.getF32Type()), ArrayRef<float>(narrow)));
  }
  r.axes = llvm::to_vector(llvm::seq<int64_t>(0, n.rank(r.x)));
  r.run();
}

//===------------------------------------------------------------------------------------------------------------------===//
// Sampling
//===------------------------------------------------------------------------------------------------------------------===//

static void gridSample(OnnxNode &n) {
  std::string mode = n.stringAttr("mode", "linear");
  if (mode == "bilinear" || mode == "bicubic")
    mode = mode.substr(2);
  n.setOutput(0, n.op<GridSampleOp>({n.input(0), n.input(1)},
                                    {n.attrS("mode", mode), n.attrS("padding", n.stringAttr("padding_mode", "zeros")),
                                     n.flag("align_corners", n.intAttr("align_corners", 0) != 0)}));
}

/// grid[n, …, :] = theta[n] · (x, y[, z], 1), a broadcast sum.
static void affineGrid(OnnxNode &n) {
  Value theta = n.widen(n.input(0)), size = n.input(1);
  Type type = n.elementType(theta);
  int64_t spatial;
  if (auto length = n.dim(size, 0).constant())
    spatial = *length - 2;
  else if (auto rows = n.dim(theta, 1).constant())
    spatial = *rows;
  else
    n.fail("neither the length of size nor the shape of theta is known");
  if (n.rank(theta) != 3 || (spatial != 2 && spatial != 3))
    n.fail("theta must be [N, 2, 3] or [N, 3, 4] and size have 4 or 5 elements");
  bool align = n.intAttr("align_corners", 0) != 0;
  DimExpr one = n.shapes.constant(1), batch = n.dim(theta, 0), rows = n.shapes.constant(spatial);
  auto column = [&](int64_t j) {
    SmallVector<DimExpr> dims(spatial + 2, one);
    dims.front() = batch;
    dims.back() = rows;
    return n.reshape(n.sliceAxis(theta, 2, n.shapes.constant(j), one), dims); // [N, 1…, rows]
  };
  Value result = column(spatial);
  for (int64_t j = 0; j < spatial; ++j) {
    // Coordinate j belongs to the j-th dimension from the last.
    int64_t d = spatial - 1 - j;
    DimExpr extent = n.shapes.element(size, d + 2, /*nonNegative=*/true);
    Value i = n.iota(extent, type), count = n.cast(n.shapeTensor(extent), type);
    Value unit = n.scalar(type, 1), two = n.scalar(type, 2);
    Value at = align ? n.sub(n.div(n.mul(i, two), n.max(n.sub(count, unit), unit)), unit)
                     : n.sub(n.div(n.add(n.mul(i, two), unit), count), unit);
    SmallVector<DimExpr> along(spatial + 2, one);
    along[d + 1] = extent;
    result = n.add(result, n.mul(column(j), n.reshape(at, along)));
  }
  n.setOutput(0, n.cast(result, n.elementType(n.input(0))));
}

static void roiAlign(OnnxNode &n) {
  // Before opset 16 regions were never shifted.
  std::string mode =
      n.stringAttr("coordinate_transformation_mode", n.opset >= 16 ? "half_pixel" : "output_half_pixel");
  if (mode != "half_pixel" && mode != "output_half_pixel")
    n.fail("coordinate_transformation_mode is \"" + mode + "\"; it must be half_pixel or output_half_pixel");
  n.setOutput(0, n.op<RoiAlignOp>({n.input(0), n.input(1), n.input(2)},
                                  {n.attrS("mode", n.stringAttr("mode", "avg")),
                                   n.attr("output_height", n.intAttr("output_height", 1)),
                                   n.attr("output_width", n.intAttr("output_width", 1)),
                                   n.attr("sampling_ratio", n.intAttr("sampling_ratio", 0)),
                                   n.attrF("spatial_scale", n.floatAttr("spatial_scale", 1.0)),
                                   n.flag("half_pixel", mode == "half_pixel")}));
}

static void maxRoiPool(OnnxNode &n) {
  SmallVector<int64_t> shape = n.intsAttr("pooled_shape");
  if (shape.size() != 2)
    n.fail("pooled_shape must have 2 elements, has " + Twine(shape.size()));
  n.setOutput(0, n.op<MaxRoiPoolOp>({n.input(0), n.input(1)},
                                    {n.attr("output_height", shape[0]), n.attr("output_width", shape[1]),
                                     n.attrF("spatial_scale", n.floatAttr("spatial_scale", 1.0))}));
}

static void col2Im(OnnxNode &n) {
  Value image = n.cast(n.input(1), n.b.getI64Type()), block = n.cast(n.input(2), n.b.getI64Type());
  auto spatial = n.dim(image, 0).constant();
  if (!spatial)
    spatial = n.dim(block, 0).constant();
  if (!spatial)
    n.fail("the number of spatial dimensions is not known: give image_shape or block_shape a static length");
  auto numbers = [&](StringRef name, int64_t count, int64_t otherwise) {
    SmallVector<int64_t> list = n.intsAttr(name);
    if (list.empty())
      list.assign(count, otherwise);
    return n.b.getDenseI64ArrayAttr(list);
  };
  n.setOutput(0, n.op<Col2ImOp>({n.input(0), image, block}, {n.attr("strides", numbers("strides", *spatial, 1)),
                                                             n.attr("dilations", numbers("dilations", *spatial, 1)),
                                                             n.attr("pads", numbers("pads", 2 * *spatial, 0))}));
}

static void det(OnnxNode &n) {
  Value x = n.widen(n.input(0));
  n.setOutput(0, n.cast(n.create<DetOp>(x, {}, 2).getResult(), n.elementType(n.input(0))));
}

void flame::registerImageOnnx(OnnxRegistry &registry) {
  registry.add("Resize", resize, 10, "", "numeric");
  registry.add("Upsample", upsample, 1, "", "numeric");
  registry.add("GridSample", gridSample, 16, "", "numeric");
  registry.add("AffineGrid", affineGrid, 20, "", "float");
  registry.add("RoiAlign", roiAlign, 10, "", "float");
  registry.add("MaxRoiPool", maxRoiPool, 1, "", "float");
  registry.add("Col2Im", col2Im, 18, "", "numeric");
  registry.add("Det", det, 11, "", "float");
}
