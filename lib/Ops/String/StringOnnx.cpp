//===- StringOnnx.cpp - ONNX operators on strings and labels ----------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/String.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

namespace {

Attribute stringArray(OnnxNode &n, ArrayRef<std::string> values) {
  SmallVector<StringRef> refs(values.begin(), values.end());
  return n.b.getStrArrayAttr(refs);
}

void stringConcat(OnnxNode &n) { n.setOutput(0, n.op<StringConcatOp>({n.input(0), n.input(1)})); }

void stringSplit(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = {n.attr("delimiter", n.b.getStringAttr(n.stringAttr("delimiter", "")))};
  if (n.hasAttr("maxsplit"))
    attributes.push_back(n.attr("maxsplit", n.intAttr("maxsplit")));
  Operation *split = n.create<StringSplitOp>(n.input(0), attributes, 2);
  n.setOutput(0, split->getResult(0));
  n.setOutput(1, split->getResult(1));
}

void stringNormalizer(OnnxNode &n) {
  // The locale is not looked at: case mapping is the same everywhere.
  n.setOutput(0, n.op<StringNormalizerOp>(
                     n.input(0), {n.attr("case_change_action", n.b.getStringAttr(n.stringAttr("case_change_action", "NONE"))),
                                  n.flag("is_case_sensitive", n.intAttr("is_case_sensitive", 0) != 0),
                                  n.attr("stopwords", stringArray(n, n.stringsAttr("stopwords")))}));
}

void regexFullMatch(OnnxNode &n) {
  n.setOutput(0, n.op<RegexFullMatchOp>(n.input(0), n.attr("pattern", n.b.getStringAttr(n.stringAttr("pattern")))));
}

void tfidfVectorizer(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = {
      n.attr("mode", n.b.getStringAttr(n.stringAttr("mode"))),
      n.attr("min_gram_length", n.intAttr("min_gram_length")),
      n.attr("max_gram_length", n.intAttr("max_gram_length")),
      n.attr("max_skip_count", n.intAttr("max_skip_count")),
      n.attr("ngram_counts", n.intsAttr("ngram_counts")),
      n.attr("ngram_indexes", n.intsAttr("ngram_indexes")),
  };
  if (n.hasAttr("pool_int64s"))
    attributes.push_back(n.attr("pool_int64s", n.intsAttr("pool_int64s")));
  if (n.hasAttr("pool_strings"))
    attributes.push_back(n.attr("pool_strings", stringArray(n, n.stringsAttr("pool_strings"))));
  if (n.hasAttr("weights"))
    attributes.push_back(n.attr("weights", n.b.getDenseF64ArrayAttr(n.floatsAttr("weights"))));
  n.setOutput(0, n.op<TfIdfVectorizerOp>(n.input(0), attributes));
}

/// One list of a LabelEncoder: from an attribute per kind, or from a tensor.
struct Labels {
  Type dtype;
  SmallVector<int64_t> ints;
  SmallVector<double> floats;
  std::vector<std::string> strings;

  size_t size() const { return ints.size() + floats.size() + strings.size(); }
};

Labels labelsOf(OnnxNode &n, const std::string &prefix) {
  Labels labels;
  if (ElementsAttr tensor = n.tensorAttr(prefix + "tensor")) {
    labels.dtype = tensor.getElementType();
    if (auto strings = dyn_cast<DenseStringElementsAttr>(tensor)) {
      for (StringRef text : strings.getRawStringData())
        labels.strings.push_back(text.str());
    } else if (isa<FloatType>(labels.dtype)) {
      for (const APFloat &number : cast<DenseElementsAttr>(tensor).getValues<APFloat>()) {
        APFloat wide = number;
        bool lost;
        wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
        labels.floats.push_back(wide.convertToDouble());
      }
    } else if (isa<IntegerType>(labels.dtype)) {
      for (const APInt &number : cast<DenseElementsAttr>(tensor).getValues<APInt>())
        labels.ints.push_back(labels.dtype.isUnsignedInteger() ? number.getZExtValue() : number.getSExtValue());
    } else {
      n.fail("attribute '" + prefix + "tensor' has element type " + dtypeName(labels.dtype));
    }
  } else if (n.hasAttr(prefix + "strings")) {
    labels.dtype = StringType::get(n.b.getContext());
    labels.strings = n.stringsAttr(prefix + "strings");
  } else if (n.hasAttr(prefix + "int64s")) {
    labels.dtype = n.b.getI64Type();
    labels.ints = n.intsAttr(prefix + "int64s");
  } else if (n.hasAttr(prefix + "floats")) {
    labels.dtype = n.b.getF32Type();
    labels.floats = n.floatsAttr(prefix + "floats");
  } else {
    n.fail("needs an attribute " + prefix + "int64s, " + prefix + "floats, " + prefix + "strings or " + prefix + "tensor");
  }
  return labels;
}

void addLabels(OnnxNode &n, const std::string &prefix, const Labels &labels, SmallVectorImpl<NamedAttribute> &attributes) {
  if (isa<StringType>(labels.dtype))
    attributes.push_back(n.attr(prefix + "strings", stringArray(n, labels.strings)));
  else if (isa<FloatType>(labels.dtype))
    attributes.push_back(n.attr(prefix + "floats", n.b.getDenseF64ArrayAttr(labels.floats)));
  else
    attributes.push_back(n.attr(prefix + "int64s", labels.ints));
}

void labelEncoder(OnnxNode &n) {
  Labels keys = labelsOf(n, "keys_"), values = labelsOf(n, "values_");
  SmallVector<NamedAttribute> attributes = {n.attr("dtype", TypeAttr::get(values.dtype))};
  addLabels(n, "keys_", keys, attributes);
  addLabels(n, "values_", values, attributes);
  Labels fallback;
  if (n.hasAttr("default_tensor"))
    fallback = labelsOf(n, "default_");
  if (isa<StringType>(values.dtype))
    attributes.push_back(n.attr("default_string", n.b.getStringAttr(fallback.strings.empty() ? n.stringAttr("default_string", "_Unused")
                                                                                             : fallback.strings[0])));
  else if (isa<FloatType>(values.dtype))
    attributes.push_back(n.attrF("default_float", fallback.floats.empty() ? n.floatAttr("default_float", -0.0) : fallback.floats[0]));
  else
    attributes.push_back(n.attr("default_int64", fallback.ints.empty() ? n.intAttr("default_int64", -1) : fallback.ints[0]));
  n.setOutput(0, n.op<LabelEncoderOp>(n.input(0), attributes));
}

/// Opset 1 of ai.onnx.ml: one list of strings; integers are positions in it.
void labelEncoder1(OnnxNode &n) {
  Labels classes, positions;
  classes.dtype = StringType::get(n.b.getContext());
  classes.strings = n.stringsAttr("classes_strings");
  positions.dtype = n.b.getI64Type();
  for (size_t i = 0; i < classes.strings.size(); ++i)
    positions.ints.push_back(i);
  bool toNumbers = isa<StringType>(n.elementType(n.input(0)));
  const Labels &keys = toNumbers ? classes : positions, &values = toNumbers ? positions : classes;
  SmallVector<NamedAttribute> attributes = {n.attr("dtype", TypeAttr::get(values.dtype))};
  addLabels(n, "keys_", keys, attributes);
  addLabels(n, "values_", values, attributes);
  if (toNumbers)
    attributes.push_back(n.attr("default_int64", n.intAttr("default_int64", -1)));
  else
    attributes.push_back(n.attr("default_string", n.b.getStringAttr(n.stringAttr("default_string", "_Unused"))));
  n.setOutput(0, n.op<LabelEncoderOp>(n.input(0), attributes));
}

} // namespace

void flame::registerStringOnnx(OnnxRegistry &registry) {
  registry.add("StringConcat", stringConcat, 20, "", "string");
  registry.add("StringSplit", stringSplit, 20, "", "string");
  registry.add("StringNormalizer", stringNormalizer, 10, "", "string");
  registry.add("RegexFullMatch", regexFullMatch, 20, "", "string");
  registry.add("TfIdfVectorizer", tfidfVectorizer, 9, "", "string, int32, int64");
  registry.add("LabelEncoder", labelEncoder1, 1, "ai.onnx.ml", "string, int64");
  registry.add("LabelEncoder", labelEncoder, 2, "ai.onnx.ml", "string, int64, float");
}
