//===- RandomOnnx.cpp - random operators of ONNX ----------------------------------------------------------------------===//
//
// A node's numbers follow from its seed, or without one from its name: the same model gives the same numbers each time.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Random.h"
#include "llvm/ADT/Twine.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace flame;

static Value seedOf(OnnxNode &n) {
  if (n.hasAttr("seed"))
    return n.i64Scalar(llvm::bit_cast<uint32_t>(float(n.floatAttr("seed"))));
  std::string text = n.name;
  for (const std::string &output : n.outputNames)
    text += "\n" + output;
  return n.i64Scalar(int64_t(llvm::xxh3_64bits(text)));
}

/// Numbers of `distribution` in f32, or in f64 where the result is f64.
static Value draw(OnnxNode &n, StringRef distribution, ArrayRef<DimExpr> dims, Type resultType) {
  Type type = resultType.isF64() ? resultType : Type(n.b.getF32Type());
  return n.op<RandomOp>({n.shapeTensor(dims), seedOf(n)},
                        {n.attrS("distribution", distribution), n.attr("type", TypeAttr::get(type))});
}

static Value uniform(OnnxNode &n, ArrayRef<DimExpr> dims, Type type) {
  double low = n.floatAttr("low", 0), high = n.floatAttr("high", 1);
  Value x = draw(n, "uniform", dims, type);
  return n.cast(n.add(n.mul(x, n.scalarLike(x, high - low)), n.scalarLike(x, low)), type);
}
static Value normal(OnnxNode &n, ArrayRef<DimExpr> dims, Type type) {
  Value x = draw(n, "normal", dims, type);
  return n.cast(n.add(n.mul(x, n.scalarLike(x, n.floatAttr("scale", 1))), n.scalarLike(x, n.floatAttr("mean", 0))), type);
}

using Draw = Value (*)(OnnxNode &, ArrayRef<DimExpr>, Type);
template <Draw make> static void ofShape(OnnxNode &n) {
  SmallVector<DimExpr> dims;
  for (int64_t size : n.intsAttr("shape")) {
    if (size < 0)
      n.fail("attribute 'shape' has the negative size " + Twine(size));
    dims.push_back(n.shapes.constant(size));
  }
  Type type = n.dtypeAttr("dtype");
  n.setOutput(0, make(n, dims, type ? type : Type(n.b.getF32Type())));
}
template <Draw make> static void likeInput(OnnxNode &n) {
  Type type = n.dtypeAttr("dtype");
  SmallVector<DimExpr> dims(n.dims(n.input(0)));
  n.setOutput(0, make(n, dims, type ? type : n.elementType(n.input(0))));
}

static void bernoulli(OnnxNode &n) {
  Value p = n.input(0);
  Type asked = n.dtypeAttr("dtype");
  SmallVector<DimExpr> dims(n.dims(p));
  Value x = draw(n, "uniform", dims, n.elementType(p));
  n.setOutput(0, n.cast(n.less(x, n.cast(p, n.elementType(x))), asked ? asked : n.elementType(p)));
}

static void multinomial(OnnxNode &n) {
  Value logits = n.input(0);
  if (n.rank(logits) != 2)
    n.fail("the input has rank " + Twine(n.rank(logits)) + "; it must be [batch, class]");
  int64_t samples = n.intAttr("sample_size", 1);
  if (samples < 0)
    n.fail("sample_size is " + Twine(samples) + "; it must not be negative");
  Type type = n.dtypeAttr("dtype");
  // Gumbel's trick: the greatest of log-probability − log(−log(uniform)) falls on a class with its probability.
  Value u = draw(n, "uniform", {n.dim(logits, 0), n.shapes.constant(samples), n.dim(logits, 1)}, n.elementType(logits));
  Type wide = n.elementType(u);
  Value open = n.add(n.mul(u, n.scalar(wide, 1 - 1e-7)), n.scalar(wide, 5e-8));
  Value gumbel = n.neg(n.log(n.neg(n.log(open))));
  Value best = n.argReduce("max", n.add(n.unsqueeze(n.cast(logits, wide), 1), gumbel), 2, /*keepDims=*/false);
  n.setOutput(0, n.cast(best, type ? type : Type(n.b.getI32Type())));
}

static void dropout(OnnxNode &n) {
  Value x = n.input(0);
  Type boolean = n.b.getI1Type();
  SmallVector<DimExpr> dims(n.dims(x));
  std::optional<SmallVector<int64_t>> training;
  if (n.opset >= 12 && n.hasInput(2))
    training = n.shapes.constants(n.input(2));
  else
    training = SmallVector<int64_t>{0};
  if (training && training->size() == 1 && training->front() == 0) {
    n.setOutput(0, x);
    if (n.wantsOutput(1))
      n.setOutput(1, n.fill(dims, n.scalarInt(n.opset >= 10 ? boolean : n.elementType(x), 1)));
    return;
  }
  Value wide = n.widen(x), mode = n.input(2);
  Type type = n.elementType(wide);
  Value ratio = n.hasInput(1) ? n.cast(n.input(1), type) : n.scalar(type, 0.5);
  Value kept = n.greaterEqual(draw(n, "uniform", dims, type), ratio);
  Value mask = n.logicalOr(kept, n.logicalNot(mode));
  Value one = n.scalar(type, 1), factor = n.where(mode, n.reciprocal(n.sub(one, ratio)), one);
  n.setOutput(0, n.cast(n.where(mask, n.mul(wide, factor), n.scalar(type, 0)), n.elementType(x)));
  if (n.wantsOutput(1))
    n.setOutput(1, mask);
}

void flame::registerRandomOnnx(OnnxRegistry &r) {
  r.add("RandomUniform", ofShape<uniform>, 1, "", "float");
  r.add("RandomNormal", ofShape<normal>, 1, "", "float");
  r.add("RandomUniformLike", likeInput<uniform>, 1, "", "float");
  r.add("RandomNormalLike", likeInput<normal>, 1, "", "float");
  r.add("Bernoulli", bernoulli, 15, "", "numeric");
  r.add("Multinomial", multinomial, 7, "", "float");
  r.add("Dropout", dropout, 6, "", "float");
}
