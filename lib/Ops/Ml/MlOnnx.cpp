//===- MlOnnx.cpp - ai.onnx.ml: preprocessing and linear models as compositions ---------------------------------------===//
#include "MlOnnx.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

//===--- shared ---===//

Value flame::floatTensor(OnnxNode &n, Type elementType, ArrayRef<double> values, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, elementType);
  if (elementType.isF64())
    return n.constant(DenseElementsAttr::get(type, values));
  SmallVector<float> narrow(values.begin(), values.end());
  return n.constant(DenseElementsAttr::get(type, ArrayRef<float>(narrow)));
}

Value flame::floatVector(OnnxNode &n, Type elementType, ArrayRef<double> values) {
  return floatTensor(n, elementType, values, int64_t(values.size()));
}

Value flame::featureMatrix(OnnxNode &n, Value x) {
  if (!n.elementType(x).isF64())
    x = n.cast(x, n.b.getF32Type());
  if (n.rank(x) == 1)
    x = n.unsqueeze(x, {0});
  if (n.rank(x) != 2)
    n.fail("input 0 must have the shape [samples, features], has rank " + Twine(n.rank(x)));
  return x;
}

Value flame::postTransform(OnnxNode &n, Value scores, StringRef kind) {
  auto number = [&](double value) { return n.scalarLike(scores, value); };
  int64_t last = n.rank(scores) - 1;
  if (kind == "NONE")
    return scores;
  if (kind == "LOGISTIC")
    return n.sigmoid(scores);
  if (kind == "SOFTMAX")
    return n.softmax(scores, last);
  if (kind == "SOFTMAX_ZERO") { // zeros stay zeros
    Value largest = n.reduce("max", scores, {last}, true);
    Value powers = n.where(n.greater(n.abs(scores), number(1e-7)), n.exp(n.sub(scores, largest)),
                           n.mul(scores, n.exp(n.neg(largest))));
    Value total = n.sum(powers, {last});
    return n.where(n.equal(total, number(0)), number(0.5), n.div(powers, total));
  }
  if (kind == "PROBIT") { // sqrt(2) * erfinv(2 x - 1), by Winitzki's approximation
    Value t = n.sub(n.mul(scores, number(2)), number(1));
    Value log = n.log(n.mul(n.sub(number(1), t), n.add(number(1), t)));
    Value v = n.add(number(2 / (3.14159265358979323846 * 0.147)), n.mul(log, number(0.5)));
    Value root = n.sqrt(n.sub(n.sqrt(n.sub(n.mul(v, v), n.div(log, number(0.147)))), v));
    return n.mul(n.where(n.less(t, number(0)), n.neg(root), root), number(1.41421356));
  }
  n.fail("post_transform '" + kind + "' is unknown; it must be NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT");
}

Value flame::labelsAt(OnnxNode &n, Value positions, ArrayRef<int64_t> ints, ArrayRef<std::string> strings) {
  if (strings.empty())
    return n.gather(n.i64(ints), positions, 0);
  SmallVector<StringRef> values(strings.begin(), strings.end());
  SmallVector<int64_t> keys(strings.size());
  for (size_t i = 0; i < keys.size(); ++i)
    keys[i] = i;
  return n.create("flame.label_encoder", positions,
                  {n.attr("dtype", TypeAttr::get(StringType::get(n.b.getContext()))), n.attr("keys_int64s", keys),
                   n.attr("values_strings", n.b.getStrArrayAttr(values))})
      ->getResult(0);
}

namespace {

/// A vector that has one number for all features or one for each.
Value perFeature(OnnxNode &n, Value x, StringRef name, ArrayRef<double> values, Type elementType) {
  DimExpr features = n.dim(x, -1);
  if (values.size() != 1 && features.constant() && *features.constant() != int64_t(values.size()))
    n.fail("attribute '" + name + "' has " + Twine(values.size()) + " entries for " + features.str() + " features");
  return floatVector(n, elementType, values);
}

//===--- preprocessing ---===//

void arrayFeatureExtractor(OnnxNode &n) {
  Value x = n.input(0), indices = n.reshape(n.input(1), ArrayRef<DimExpr>{n.shapes.numElements(n.input(1))});
  if (n.rank(x) == 0)
    n.fail("input 0 must have features along its last axis, has rank 0");
  Value result = n.gather(x, indices, n.rank(x) - 1);
  n.setOutput(0, n.rank(x) == 1 ? n.unsqueeze(result, {0}) : result);
}

void binarizer(OnnxNode &n) {
  Value x = n.input(0);
  Type type = n.elementType(x);
  Value above = n.greater(isa<FloatType>(type) ? x : n.cast(x, n.b.getF32Type()),
                          n.scalar(isa<FloatType>(type) ? type : Type(n.b.getF32Type()), n.floatAttr("threshold", 0)));
  n.setOutput(0, n.cast(above, type));
}

void scaler(OnnxNode &n) {
  Value x = n.cast(n.input(0), n.b.getF32Type());
  SmallVector<double> offset = n.floatsAttr("offset"), scale = n.floatsAttr("scale");
  if (!offset.empty())
    x = n.sub(x, perFeature(n, x, "offset", offset, n.b.getF32Type()));
  if (!scale.empty())
    x = n.mul(x, perFeature(n, x, "scale", scale, n.b.getF32Type()));
  n.setOutput(0, x);
}

void normalizer(OnnxNode &n) {
  Value x = n.cast(n.input(0), n.b.getF32Type()), size;
  int64_t axis = n.rank(x) - 1;
  std::string norm = n.stringAttr("norm", "MAX");
  if (n.rank(x) < 1 || n.rank(x) > 2)
    n.fail("input 0 must have the shape [features] or [samples, features], has rank " + Twine(n.rank(x)));
  if (norm == "MAX")
    size = n.reduce("max", n.abs(x), {axis}, true);
  else if (norm == "L1")
    size = n.sum(n.abs(x), {axis});
  else if (norm == "L2")
    size = n.sqrt(n.sum(n.mul(x, x), {axis}));
  else
    n.fail("attribute 'norm' is \"" + norm + "\"; it must be MAX, L1 or L2");
  n.setOutput(0, n.div(x, n.max(size, n.scalarLike(size, 1e-30))));
}

void imputer(OnnxNode &n) {
  Value x = n.input(0), values, missing;
  Type type = n.elementType(x);
  if (isa<FloatType>(type)) {
    SmallVector<double> numbers = n.floatsAttr("imputed_value_floats");
    if (numbers.empty())
      n.fail("attribute 'imputed_value_floats' is missing; the input is " + dtypeName(type));
    values = n.cast(perFeature(n, x, "imputed_value_floats", numbers, n.b.getF32Type()), type);
    double replaced = n.floatAttr("replaced_value_float", 0);
    missing = replaced != replaced ? n.logicalNot(n.equal(x, x)) : n.equal(x, n.scalarLike(x, replaced));
  } else {
    SmallVector<int64_t> numbers = n.intsAttr("imputed_value_int64s");
    if (numbers.empty())
      n.fail("attribute 'imputed_value_int64s' is missing; the input is " + dtypeName(type));
    values = n.cast(n.i64(numbers), type);
    missing = n.equal(x, n.scalarInt(type, n.intAttr("replaced_value_int64", 0)));
  }
  n.setOutput(0, n.where(missing, values, x));
}

void oneHotEncoder(OnnxNode &n) {
  Value x = n.input(0);
  std::vector<std::string> strings = n.stringsAttr("cats_strings");
  SmallVector<int64_t> ints = n.intsAttr("cats_int64s");
  Type type = n.elementType(x);
  // Categories that are absent give zeros; that they are an error if `zeros` is 0 can't be seen from shapes.
  if (isa<StringType>(type)) {
    SmallVector<StringRef> keys(strings.begin(), strings.end());
    SmallVector<int64_t> positions(strings.size());
    for (size_t i = 0; i < positions.size(); ++i)
      positions[i] = i;
    ints = positions;
    x = n.create("flame.label_encoder", x,
                 {n.attr("dtype", TypeAttr::get(n.b.getI64Type())), n.attr("keys_strings", n.b.getStrArrayAttr(keys)),
                  n.attr("values_int64s", positions), n.attr("default_int64", int64_t(-1))})
            ->getResult(0);
  }
  if (ints.empty())
    n.fail("needs categories of the input's element type " + dtypeName(type) + " in cats_int64s or cats_strings");
  x = n.cast(x, n.b.getI64Type());
  n.setOutput(0, n.cast(n.equal(n.unsqueeze(x, {n.rank(x)}), n.i64(ints)), n.b.getF32Type()));
}

void featureVectorizer(OnnxNode &n) {
  SmallVector<Value> parts;
  for (unsigned i = 0; i < n.numInputs(); ++i)
    parts.push_back(featureMatrix(n, n.cast(n.input(i), n.b.getF32Type())));
  if (parts.empty())
    n.fail("needs an input");
  n.setOutput(0, n.concat(parts, 1));
}

void categoryMapper(OnnxNode &n) {
  std::vector<std::string> strings = n.stringsAttr("cats_strings");
  SmallVector<int64_t> ints = n.intsAttr("cats_int64s");
  SmallVector<StringRef> texts(strings.begin(), strings.end());
  bool toInts = isa<StringType>(n.elementType(n.input(0)));
  StringRef keys = toInts ? "keys_" : "values_", values = toInts ? "values_" : "keys_";
  SmallVector<NamedAttribute> attributes = {
      n.attr((keys + "strings").str(), n.b.getStrArrayAttr(texts)), n.attr((values + "int64s").str(), ints),
      n.attr("dtype", TypeAttr::get(toInts ? Type(n.b.getI64Type()) : Type(StringType::get(n.b.getContext()))))};
  if (toInts)
    attributes.push_back(n.attr("default_int64", n.intAttr("default_int64", -1)));
  else
    attributes.push_back(n.attr("default_string", n.b.getStringAttr(n.stringAttr("default_string", "_Unused"))));
  n.setOutput(0, n.create("flame.label_encoder", n.input(0), attributes)->getResult(0));
}

//===--- linear models ---===//

/// x · coefficientsᵀ + intercepts, with `rows` outputs.
Value linear(OnnxNode &n, Value x, int64_t rows) {
  SmallVector<double> coefficients = n.floatsAttr("coefficients"), intercepts = n.floatsAttr("intercepts");
  if (rows < 1 || coefficients.empty() || coefficients.size() % rows != 0)
    n.fail("attribute 'coefficients' has " + Twine(coefficients.size()) + " entries, not a multiple of " + Twine(rows) + " outputs");
  Type type = n.elementType(x);
  Value weights = floatTensor(n, type, coefficients, {rows, int64_t(coefficients.size()) / rows});
  Value y = n.matmul(x, n.transpose(weights, {1, 0}));
  if (!intercepts.empty()) {
    if (int64_t(intercepts.size()) != rows && intercepts.size() != 1)
      n.fail("attribute 'intercepts' has " + Twine(intercepts.size()) + " entries for " + Twine(rows) + " outputs");
    y = n.add(y, floatVector(n, type, intercepts));
  }
  return y;
}

void linearRegressor(OnnxNode &n) {
  Value y = linear(n, featureMatrix(n, n.input(0)), n.intAttr("targets", 1));
  n.setOutput(0, n.cast(postTransform(n, y, n.stringAttr("post_transform", "NONE")), n.b.getF32Type()));
}

void linearClassifier(OnnxNode &n) {
  Value x = featureMatrix(n, n.input(0));
  SmallVector<int64_t> ints = n.intsAttr("classlabels_ints");
  std::vector<std::string> strings = n.stringsAttr("classlabels_strings");
  int64_t classes = std::max(ints.size(), strings.size());
  std::string transform = n.stringAttr("post_transform", "NONE");
  // Two classes may share one row of coefficients: its negative is the first one's score.
  DimExpr features = n.dim(x, 1);
  int64_t rows = std::max<int64_t>(classes, 1);
  if (classes == 2 && features.constant() && int64_t(n.floatsAttr("coefficients").size()) == *features.constant())
    rows = 1;
  Value scores = linear(n, x, rows);
  if (rows == 1 && classes == 2)
    scores = n.concat({n.neg(scores), scores}, 1);
  scores = postTransform(n, scores, transform);
  if (classes < 2)
    n.fail("needs two class labels at least");
  n.setOutput(0, labelsAt(n, n.argReduce("max", scores, 1, false), ints, strings));
  n.setOutput(1, n.cast(scores, n.b.getF32Type()));
}

} // namespace

void flame::registerMlOnnx(OnnxRegistry &registry) {
  auto add = [&](StringRef name, OnnxRegistry::Import import, StringRef dtypes) {
    registry.add(name, std::move(import), 1, "ai.onnx.ml", dtypes);
  };
  add("ArrayFeatureExtractor", arrayFeatureExtractor, "numeric");
  add("Binarizer", binarizer, "numeric");
  add("CategoryMapper", categoryMapper, "string, int64");
  add("FeatureVectorizer", featureVectorizer, "numeric");
  add("Imputer", imputer, "float, int64");
  add("LinearClassifier", linearClassifier, "numeric");
  add("LinearRegressor", linearRegressor, "float");
  add("Normalizer", normalizer, "numeric");
  add("OneHotEncoder", oneHotEncoder, "string, numeric");
  add("Scaler", scaler, "numeric");
  registerMlTrees(registry);
}
