//===- ConstantOnnx.cpp - ONNX operators that make tensors ------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Constant.h"
#include "flame/Support/DimMath.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

static void constant(OnnxNode &n) {
  auto *context = n.b.getContext();
  auto vector = [&](size_t size, Type type) { return RankedTensorType::get({int64_t(size)}, type); };
  auto strings = [&](RankedTensorType type, ArrayRef<std::string> values) {
    SmallVector<StringRef> refs(values.begin(), values.end());
    return n.constant(DenseStringElementsAttr::get(type, refs));
  };
  Type string = StringType::get(context);
  Value value;
  if (n.hasAttr("value"))
    value = n.tensorValue("value");
  else if (n.hasAttr("value_float"))
    value = n.scalar(n.b.getF32Type(), n.floatAttr("value_float"));
  else if (n.hasAttr("value_int"))
    value = n.i64Scalar(n.intAttr("value_int"));
  else if (n.hasAttr("value_ints"))
    value = n.i64(n.intsAttr("value_ints"));
  else if (n.hasAttr("value_floats")) {
    SmallVector<double> numbers = n.floatsAttr("value_floats");
    SmallVector<float> narrow(numbers.begin(), numbers.end());
    value = n.constant(DenseElementsAttr::get(vector(narrow.size(), n.b.getF32Type()), ArrayRef<float>(narrow)));
  } else if (n.hasAttr("value_string"))
    value = strings(RankedTensorType::get({}, string), n.stringAttr("value_string"));
  else if (n.hasAttr("value_strings")) {
    std::vector<std::string> values = n.stringsAttr("value_strings");
    value = strings(vector(values.size(), string), values);
  } else if (n.hasAttr("sparse_value"))
    n.fail("attribute 'sparse_value' is not supported; store the constant as a dense tensor in 'value'");
  else
    n.fail("needs one of the attributes value, value_float(s), value_int(s), value_string(s)");
  n.setOutput(0, value);
}

static void constantOfShape(OnnxNode &n) {
  Value shape = n.input(0), value;
  if (n.hasAttr("value")) {
    value = n.tensorValue("value");
    DimExpr count = n.shapes.numElements(value);
    if (!count.isConstant(1))
      n.fail("attribute 'value' must have one element, has " + count.str());
    value = n.reshape(value, GraphBuilder::Axes{});
  } else
    value = n.scalar(n.b.getF32Type(), 0);
  if (n.rank(shape) != 1)
    n.fail("the input must be a vector of sizes, has rank " + Twine(n.rank(shape)));
  auto rank = n.dim(shape, 0).constant();
  if (!rank)
    rank = n.statedRank("the input has no static length");
  SmallVector<DimExpr> dims;
  for (int64_t d = 0; d < *rank; ++d)
    dims.push_back(n.shapes.element(shape, d, /*nonNegative=*/true));
  n.setOutput(0, n.fill(dims, value));
}

/// The number that a scalar constant holds.
static std::optional<APFloat> constantFloat(Value v) {
  while (auto inner = v.getDefiningOp())
    if (inner->getName().getStringRef() == "flame.reshape")
      v = inner->getOperand(0);
    else
      break;
  DenseFPElementsAttr numbers;
  if (!matchPattern(v, m_Constant(&numbers)) || numbers.getNumElements() != 1)
    return std::nullopt;
  return *numbers.value_begin<APFloat>();
}

static double asDouble(APFloat number) {
  bool losesInfo;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

static void range(OnnxNode &n) {
  GraphBuilder::Axes scalar;
  Value start = n.reshape(n.input(0), scalar), limit = n.reshape(n.input(1), scalar),
        delta = n.reshape(n.input(2), scalar);
  Type type = n.elementType(start), i64 = n.b.getI64Type();
  if (n.elementType(limit) != type || n.elementType(delta) != type)
    n.fail("start, limit and delta must have one element type; they have " + dtypeName(type) + ", " +
           dtypeName(n.elementType(limit)) + " and " + dtypeName(n.elementType(delta)));
  if (!isa<FloatType>(type)) {
    DimExpr first = n.shapes.element(start, 0), last = n.shapes.element(limit, 0), by = n.shapes.element(delta, 0);
    if (by.isConstant(0))
      n.fail("delta is zero");
    Value steps = n.iota(rangeLength(first, last, by), type);
    return n.setOutput(0, n.add(n.mul(steps, delta), start));
  }
  Type wide = type.isF64() ? type : Type(n.b.getF32Type());
  DimExpr count;
  auto first = constantFloat(start), last = constantFloat(limit), by = constantFloat(delta);
  if (first && last && by) {
    double steps = std::ceil((asDouble(*last) - asDouble(*first)) / asDouble(*by));
    if (!(std::abs(steps) < 1e15))
      n.fail("delta " + std::to_string(asDouble(*by)) + " gives no finite number of elements");
    count = n.shapes.constant(std::max<int64_t>(0, int64_t(steps)));
  } else {
    Type f64 = n.b.getF64Type();
    Value steps = n.div(n.sub(n.cast(limit, f64), n.cast(start, f64)), n.cast(delta, f64));
    // -floor(-x) is ceil(x).
    Value rounded = n.neg(n.create("flame.floor", n.neg(steps), {})->getResult(0));
    count = n.shapes.element(n.max(n.cast(rounded, i64), n.i64Scalar(0)), 0, /*nonNegative=*/true);
  }
  Value steps = n.mul(n.iota(count, wide), n.cast(delta, wide));
  n.setOutput(0, n.cast(n.add(steps, n.cast(start, wide)), type));
}

static void eyeLike(OnnxNode &n) {
  Value x = n.input(0);
  if (n.rank(x) != 2)
    n.fail("the input must have rank 2, has rank " + Twine(n.rank(x)));
  Type type = n.dtypeAttr("dtype"), i64 = n.b.getI64Type();
  DimExpr rows = n.dim(x, 0), columns = n.dim(x, 1);
  Value row = n.unsqueeze(n.iota(rows, i64), 1), column = n.iota(columns, i64);
  Value diagonal = n.equal(n.add(row, n.i64Scalar(n.intAttr("k", 0))), column);
  n.setOutput(0, n.cast(diagonal, type ? type : n.elementType(x)));
}

/// [on, off] of OneHot as scalars.
static void oneHot(OnnxNode &n) {
  Value indices = n.input(0), depth = n.input(1), values = n.input(2);
  Type i64 = n.b.getI64Type();
  if (n.rank(values) != 1)
    n.fail("values must be a vector [off, on]");
  depth = n.cast(n.reshape(depth, GraphBuilder::Axes{}), i64);
  indices = n.cast(indices, i64);
  int64_t rank = n.rank(indices) + 1, axis = n.axis(n.intAttr("axis", -1), rank);
  DimExpr one = n.shapes.constant(1), size = n.shapes.element(depth, 0, /*nonNegative=*/true);
  auto pick = [&](int64_t i) {
    return n.reshape(n.sliceAxis(values, 0, n.shapes.constant(i), one), GraphBuilder::Axes{});
  };
  Value off = pick(0), on = pick(1);
  // Negative indices count from the end; what is out of range equals no position.
  indices = n.where(n.less(indices, n.i64Scalar(0)), n.add(indices, depth), indices);
  SmallVector<DimExpr> along(rank, one);
  along[axis] = size;
  Value positions = n.reshape(n.iota(size, i64), along);
  n.setOutput(0, n.where(n.equal(n.unsqueeze(indices, axis), positions), on, off));
}

void flame::registerConstantOnnx(OnnxRegistry &registry) {
  registry.add("Constant", constant, 1, "", "all");
  registry.add("ConstantOfShape", constantOfShape, 9, "", "all");
  registry.add("Range", range, 11, "", "numeric");
  registry.add("EyeLike", eyeLike, 9, "", "numeric");
  registry.add("OneHot", oneHot, 9, "", "numeric");
}
