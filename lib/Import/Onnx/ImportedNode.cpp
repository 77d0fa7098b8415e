//===- ImportedNode.cpp - attributes and subgraphs of a node ----------------------------------------------------------===//
#include "ModelImporter.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;
using namespace flame::onnx;

namespace {
enum AttributeType {
  kFloat = 1, kInt, kString, kTensor, kGraph, kFloats, kInts, kStrings, kTensors, kGraphs, kSparseTensor,
  kSparseTensors, kTypeProto, kTypeProtos
};
const char *const typeNames[] = {"undefined", "a float",       "an int",         "a string", "a tensor",
                                 "a graph",   "floats",        "ints",           "strings",  "tensors",
                                 "graphs",    "a sparse tensor", "sparse tensors", "a type",   "types"};

/// The type of an attribute; files from before IR version 2 don't state it.
int typeOf(const AttributeProto &attribute) {
  if (attribute.type())
    return attribute.type();
  return attribute.has_f()               ? kFloat
         : attribute.has_i()             ? kInt
         : attribute.has_s()             ? kString
         : attribute.has_t()             ? kTensor
         : attribute.has_g()             ? kGraph
         : attribute.floats_size()       ? kFloats
         : attribute.ints_size()         ? kInts
         : attribute.strings_size()      ? kStrings
         : attribute.tensors_size()      ? kTensors
         : attribute.graphs_size()       ? kGraphs
         : attribute.has_sparse_tensor() ? kSparseTensor
         : attribute.has_tp()            ? kTypeProto
                                         : 0;
}
} // namespace

ImportedNode::ImportedNode(ModelImporter &importer, const NodeProto &proto, Frame &frame, Scope &scope, Location loc)
    : OnnxNode(importer.builder, loc, importer.shapes), importer(importer), proto(proto), frame(frame), scope(scope) {
  for (const AttributeProto &attribute : proto.attribute()) {
    checkName(attribute.name(), "attribute");
    BoundAttribute bound = importer.bind(attribute, frame, scope);
    if (bound.proto && !attributes.try_emplace(attribute.name(), bound).second)
      fail("attribute '" + attribute.name() + "' is given twice");
  }
}

const AttributeProto *ImportedNode::find(StringRef attribute, int type, StringRef expected, int alternative) {
  auto found = attributes.find(attribute);
  if (found == attributes.end())
    return nullptr;
  int actual = typeOf(*found->second.proto);
  // An empty list of an old file has no type at all.
  if (actual != type && actual != alternative && actual != 0)
    fail("attribute '" + attribute + "' is " +
         (actual > 0 && actual <= kTypeProtos ? StringRef(typeNames[actual]) : StringRef("of an unknown type")) + ", it must be " + expected);
  bool list = type == kFloats || type == kInts || type == kStrings || type == kTensors || type == kGraphs;
  if (actual == 0 && !list)
    fail("attribute '" + attribute + "' has no value, it must be " + expected);
  return found->second.proto;
}

Type ImportedNode::statedOutputType(unsigned i) {
  if (i >= outputNames.size())
    return {};
  auto found = scope.stated.find(outputNames[i]);
  return found == scope.stated.end() ? Type() : importer.tensors.typeOf(*found->second);
}

bool ImportedNode::hasAttr(StringRef attribute) { return attributes.contains(attribute); }

int64_t ImportedNode::intAttr(StringRef attribute, std::optional<int64_t> otherwise) {
  if (const AttributeProto *found = find(attribute, kInt, "an int"))
    return found->i();
  if (!otherwise)
    fail("attribute '" + attribute + "' is missing; the operator needs it");
  return *otherwise;
}

double ImportedNode::floatAttr(StringRef attribute, std::optional<double> otherwise) {
  if (const AttributeProto *found = find(attribute, kFloat, "a float", kInt))
    return typeOf(*found) == kInt ? double(found->i()) : double(found->f());
  if (!otherwise)
    fail("attribute '" + attribute + "' is missing; the operator needs it");
  return *otherwise;
}

std::string ImportedNode::stringAttr(StringRef attribute, std::optional<std::string> otherwise) {
  if (const AttributeProto *found = find(attribute, kString, "a string"))
    return found->s();
  if (!otherwise)
    fail("attribute '" + attribute + "' is missing; the operator needs it");
  return *otherwise;
}

SmallVector<int64_t> ImportedNode::intsAttr(StringRef attribute) {
  const AttributeProto *found = find(attribute, kInts, "ints");
  return found ? SmallVector<int64_t>(found->ints().begin(), found->ints().end()) : SmallVector<int64_t>();
}

SmallVector<double> ImportedNode::floatsAttr(StringRef attribute) {
  const AttributeProto *found = find(attribute, kFloats, "floats");
  return found ? SmallVector<double>(found->floats().begin(), found->floats().end()) : SmallVector<double>();
}

std::vector<std::string> ImportedNode::stringsAttr(StringRef attribute) {
  const AttributeProto *found = find(attribute, kStrings, "strings");
  return found ? std::vector<std::string>(found->strings().begin(), found->strings().end()) : std::vector<std::string>();
}

ElementsAttr ImportedNode::tensorAttr(StringRef attribute) {
  const AttributeProto *found = find(attribute, kTensor, "a tensor", kSparseTensor);
  if (!found)
    return {};
  return found->has_sparse_tensor() ? importer.tensors.elements(found->sparse_tensor())
                                    : importer.tensors.elements(found->t());
}

Value ImportedNode::tensorValue(StringRef attribute) {
  const AttributeProto *found = find(attribute, kTensor, "a tensor", kSparseTensor);
  if (!found)
    return {};
  if (found->has_sparse_tensor())
    return importer.constant(importer.tensors.elements(found->sparse_tensor()), loc);
  std::string weightName = name + "." + attribute.str();
  if (!found->t().name().empty())
    weightName = found->t().name();
  return importer.tensorValue(found->t(), weightName, loc);
}

Type ImportedNode::typeAttr(StringRef attribute) {
  const AttributeProto *found = find(attribute, kTypeProto, "a type");
  return found ? importer.tensors.typeOf(found->tp()) : Type();
}

const AttributeProto &ImportedNode::graphOf(StringRef attribute) {
  const AttributeProto *found = find(attribute, kGraph, "a graph");
  if (!found || !found->has_g())
    fail("attribute '" + attribute + "' is missing; the operator needs a graph there");
  return *found;
}

std::vector<std::string> ImportedNode::graphOutputs(StringRef attribute) {
  std::vector<std::string> names;
  for (const ValueInfoProto &output : graphOf(attribute).g().output())
    names.push_back(output.name());
  return names;
}

unsigned ImportedNode::graphInputCount(StringRef attribute) { return graphOf(attribute).g().input_size(); }

SmallVector<Type> ImportedNode::graphInputTypes(StringRef attribute) {
  SmallVector<Type> types;
  for (const ValueInfoProto &input : graphOf(attribute).g().input())
    types.push_back(importer.tensors.typeOf(input.type()));
  return types;
}

SmallVector<Value> ImportedNode::inlineGraph(StringRef attribute, ArrayRef<Value> arguments) {
  const AttributeProto &found = graphOf(attribute);
  const BoundAttribute &bound = attributes.find(attribute)->second;
  return importer.importSubgraph(found.g(), *bound.frame, *bound.scope, arguments);
}
