//===- ModelImporter.cpp - walks a model and calls the operators' importers -------------------------------------------===//
#include "ModelImporter.h"
#include "flame/Ops/Constant.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;
using namespace flame::onnx;
using google::protobuf::RepeatedPtrField;

namespace {
constexpr int64_t kNewestOpset = 27, kNewestIr = 13;

StringRef domainOf(StringRef domain) { return domain == "ai.onnx" ? StringRef() : domain; }

std::string labelOf(const NodeProto &node) {
  std::string op = (node.domain().empty() ? "" : node.domain() + ".") + node.op_type();
  if (!node.name().empty())
    return "node '" + node.name() + "' (" + op + ")";
  for (const std::string &output : node.output())
    if (!output.empty())
      return "the " + op + " node that makes '" + output + "'";
  return "an " + op + " node without outputs";
}
} // namespace

ModelImporter::ModelImporter(MLIRContext *context, const ModelProto &model, StringRef modelBytes, StringRef fileName,
                             ModelFolder &folder, const OnnxImportOptions &options, OnnxImportResult &result)
    : FunctionBuilder(context), tensors(context, modelBytes, fileName, folder), context(context), model(model),
      fileName(fileName), options(options), result(result) {}

//===--- what the model says of itself ---===//

void ModelImporter::readOpsets(const RepeatedPtrField<OperatorSetIdProto> &imports, Frame &frame) {
  for (const OperatorSetIdProto &import : imports) {
    StringRef domain = domainOf(import.domain());
    checkName(domain, "operator domain");
    if (import.version() < 1)
      throw BuildError("opset_import names version " + std::to_string(import.version()) + " of domain '" + domain.str() +
                       "'; versions start at 1");
    if (domain.empty() && import.version() > kNewestOpset)
      throw NodeError("the model uses opset " + std::to_string(import.version()) + ", flame knows opsets up to " +
                          std::to_string(kNewestOpset) + "; export it with an older opset",
                      ImportStatus::Unsupported);
    frame.opsets[domain] = import.version();
  }
  if (frame.opsets.empty())
    frame.opsets[""] = 1;
}

int64_t ModelImporter::opsetOf(const NodeProto &node, const Frame &frame) {
  auto found = frame.opsets.find(domainOf(node.domain()));
  return found == frame.opsets.end() ? 0 : found->second;
}

const FunctionProto *ModelImporter::functionOf(const NodeProto &node) {
  if (functions.empty())
    return nullptr;
  auto found = functions.find({(domainOf(node.domain()) + ":" + node.op_type()).str(), node.overload()});
  return found == functions.end() ? nullptr : found->second;
}

template <typename Nodes>
void ModelImporter::checkSupport(const Nodes &nodes, Frame &frame, unsigned level,
                                 std::map<std::string, Unsupported> &found,
                                 std::map<const FunctionProto *, bool> &visited) {
  if (level > options.maxDepth)
    throw BuildError("subgraphs and local functions are nested more than " + std::to_string(options.maxDepth) +
                     " deep; flatten the control flow");
  const OnnxRegistry &registry = OnnxRegistry::get();
  for (const NodeProto &node : nodes) {
    checkName(node.name(), "node");
    checkName(node.op_type(), "operator");
    checkName(node.domain(), "operator domain");
    if (node.op_type().empty())
      throw BuildError(labelOf(node) + ": has no operator type; the model is damaged");
    for (const AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        checkSupport(attribute.g().node(), frame, level + 1, found, visited);
      for (const GraphProto &graph : attribute.graphs())
        checkSupport(graph.node(), frame, level + 1, found, visited);
    }
    if (const FunctionProto *function = functionOf(node)) {
      if (visited.emplace(function, true).second) {
        Frame inner;
        inner.function = function;
        readOpsets(function->opset_import(), inner);
        checkSupport(function->node(), inner, level + 1, found, visited);
      }
      continue;
    }
    StringRef domain = domainOf(node.domain());
    int64_t opset = opsetOf(node, frame);
    if (opset && registry.find(domain, node.op_type(), opset))
      continue;
    std::string remedy;
    if (!opset && registry.find(domain, node.op_type(), INT64_MAX))
      remedy = ("the model's opset_import lacks the domain '" + domain + "'; add it").str();
    else if (registry.find(domain, node.op_type(), INT64_MAX))
      remedy = "supported from a later opset on than " + std::to_string(opset) + "; convert the model with onnx.version_converter";
    else if (std::string nearest = registry.nearest(domain, node.op_type()); !nearest.empty())
      remedy = "nearest supported operator: " + nearest;
    else
      remedy = "no supported operator has a name like it; replace it by others before the export";
    Unsupported &entry = found[(domain.empty() ? "" : domain + ".").str() + node.op_type()];
    entry.remedy = remedy;
    if (entry.count++ < 3)
      entry.nodes.push_back(!node.name().empty()      ? "'" + node.name() + "'"
                            : node.output_size() > 0 ? "the one that makes '" + node.output(0) + "'"
                                                     : "one without a name");
  }
}

void ModelImporter::run() {
  result.irVersion = model.ir_version();
  if (model.ir_version() < 1)
    throw BuildError("the model states no IR version; it is not an ONNX model, or damaged");
  if (model.ir_version() > kNewestIr)
    throw NodeError("the model has IR version " + std::to_string(model.ir_version()) + ", flame knows versions up to " +
                        std::to_string(kNewestIr) + "; export it with an older version of onnx",
                    ImportStatus::Unsupported);
  if (!model.has_graph())
    throw BuildError("the model has no graph; it is not an ONNX model, or damaged");
  for (const FunctionProto &function : model.functions()) {
    checkName(function.name(), "function");
    checkName(function.domain(), "function domain");
    checkName(function.overload(), "function overload");
    FunctionKey key{(domainOf(function.domain()) + ":" + function.name()).str(), function.overload()};
    if (!functions.emplace(key, &function).second)
      throw BuildError("the model defines function '" + function.name() + "' of domain '" + function.domain() + "' twice");
  }
  Frame frame;
  readOpsets(model.opset_import(), frame);
  result.opset = frame.opsets.lookup("");
  if (model.ir_version() >= 3 && model.opset_import_size() == 0)
    throw BuildError("the model does not say which opset it uses (opset_import is empty); export it again, or add the "
                     "entry with onnx.helper.make_opsetid");

  std::map<std::string, Unsupported> found;
  std::map<const FunctionProto *, bool> visited;
  checkSupport(model.graph().node(), frame, 0, found, visited);
  if (!found.empty()) {
    std::string text = std::to_string(found.size()) + (found.size() == 1 ? " operator is" : " operators are") + " not supported:";
    for (auto &[op, entry] : found) {
      text += "\n  " + op + ", " + std::to_string(entry.count) + (entry.count == 1 ? " node (" : " nodes (") +
              llvm::join(entry.nodes, ", ") + (entry.count > entry.nodes.size() ? ", …" : "") + "); " + entry.remedy;
    }
    throw NodeError(text, ImportStatus::Unsupported);
  }
  importMain();
}

//===--- names ---===//

void ModelImporter::define(Scope &scope, StringRef name, Value value) {
  checkName(name, "value");
  if (scope.initializers.contains(name) || scope.sparseInitializers.contains(name) ||
      !scope.values.try_emplace(name, value).second)
    throw BuildError(("the value '" + name + "' is defined twice; give every input, initializer and output a name of its own").str());
}

Value ModelImporter::lookup(Scope &scope, StringRef name) {
  for (Scope *at = &scope; at; at = at->parent) {
    if (auto found = at->values.find(name); found != at->values.end())
      return found->second;
    Value value;
    Location loc = NameLoc::get(builder.getStringAttr(name));
    if (auto found = at->initializers.find(name); found != at->initializers.end())
      value = tensorValue(*found->second, name, loc);
    else if (auto sparse = at->sparseInitializers.find(name); sparse != at->sparseInitializers.end())
      value = constant(tensors.elements(*sparse->second), loc);
    if (value) {
      at->values[name] = value;
      return value;
    }
  }
  return {};
}

std::string ModelImporter::nearestName(Scope &scope, StringRef name) {
  std::string best;
  unsigned distance = std::max<unsigned>(2, name.size() / 3) + 1, seen = 0;
  auto consider = [&](StringRef candidate) {
    if (++seen > 10000)
      return;
    unsigned edits = candidate.edit_distance(name, true, distance);
    if (edits < distance || (edits == distance && !best.empty() && candidate < best)) {
      best = candidate.str();
      distance = edits;
    }
  };
  for (Scope *at = &scope; at; at = at->parent) {
    for (auto &entry : at->values)
      consider(entry.first());
    for (auto &entry : at->initializers)
      consider(entry.first());
    if (at->nodes)
      for (const NodeProto &node : *at->nodes)
        for (const std::string &output : node.output())
          consider(output);
  }
  return best;
}

void ModelImporter::addInitializers(const GraphProto &graph, Scope &scope) {
  auto checkFresh = [&](const std::string &name) {
    checkName(name, "initializer");
    if (name.empty())
      throw BuildError("an initializer has no name");
    if (scope.initializers.contains(name) || scope.sparseInitializers.contains(name))
      throw BuildError("the initializer '" + name + "' is defined twice");
  };
  for (const TensorProto &tensor : graph.initializer()) {
    checkFresh(tensor.name());
    scope.initializers[tensor.name()] = &tensor;
  }
  for (const SparseTensorProto &tensor : graph.sparse_initializer()) {
    checkFresh(tensor.values().name());
    scope.sparseInitializers[tensor.values().name()] = &tensor;
  }
}

void ModelImporter::addStated(const RepeatedPtrField<ValueInfoProto> &infos, Scope &scope) {
  for (const ValueInfoProto &info : infos)
    if (info.has_type())
      scope.stated[info.name()] = &info.type();
}

//===--- constants and weights ---===//

Value ModelImporter::tensorValue(const TensorProto &tensor, StringRef name, Location loc) {
  std::optional<FilePiece> piece = tensors.piece(tensor, options.constantLimit);
  if (!piece)
    return constant(tensors.elements(tensor), loc);
  std::string unique = name.str();
  for (unsigned i = 2; !weightNames.insert(unique).second; ++i)
    unique = (name + "#" + Twine(i)).str();
  result.weightBytes += piece->length;
  if (piece->file != fileName)
    result.externalBytes += piece->length;
  if (weightFiles.insert(piece->file).second)
    result.weightFiles.push_back(piece->file);
  return weight(unique, WeightRefAttr::get(context, piece->file, piece->offset, piece->length), tensors.type(tensor),
                loc);
}

//===--- the graph ---===//

void ModelImporter::importMain() {
  const GraphProto &graph = model.graph();
  result.module = begin(fileName);

  Frame frame;
  readOpsets(model.opset_import(), frame);
  Scope scope;
  addInitializers(graph, scope);
  addStated(graph.value_info(), scope);
  addStated(graph.output(), scope);

  llvm::StringSet<> symbols;
  for (const ValueInfoProto &input : graph.input())
    for (const TensorShapeProto::Dimension &dim : input.type().tensor_type().shape().dim())
      symbols.insert(dim.dim_param());
  llvm::StringSet<> inputNames;
  for (const ValueInfoProto &input : graph.input()) {
    checkName(input.name(), "graph input");
    std::string who = "graph input '" + input.name() + "'";
    if (input.name().empty())
      throw BuildError("a graph input has no name");
    if (!inputNames.insert(input.name()).second)
      throw BuildError(who + " is defined twice");
    if (scope.initializers.contains(input.name()) || scope.sparseInitializers.contains(input.name()))
      continue;
    SmallVector<std::string> symbolic;
    Type type;
    try {
      type = tensors.typeOf(input.type(), &symbolic);
    } catch (const BuildError &error) {
      throw BuildError(who + ": " + error.what());
    }
    if (!type)
      throw BuildError(who + " has no type; state its element type and shape");
    if (isa<UnrankedTensorType>(type))
      throw BuildError(who + " has an unknown rank; state a shape, with symbolic dims where sizes vary");
    SmallVector<Attribute> dimAttrs;
    if (auto tensor = dyn_cast<RankedTensorType>(type)) {
      for (auto [d, size] : llvm::enumerate(tensor.getShape())) {
        if (!ShapedType::isDynamic(size)) {
          dimAttrs.push_back(builder.getI64IntegerAttr(size));
          continue;
        }
        std::string symbol = symbolic[d];
        for (unsigned i = 0; symbol.empty() || (symbolic[d].empty() && !symbols.insert(symbol).second); ++i)
          symbol = input.name() + ".dim" + std::to_string(d) + (i > 1 ? "#" + std::to_string(i) : "");
        dimAttrs.push_back(builder.getStringAttr(symbol));
      }
    }
    define(scope, input.name(), addInput(input.name(), type, dimAttrs));
  }

  importNodes(graph.node(), frame, scope, "the graph");

  llvm::StringSet<> outputNames;
  for (const ValueInfoProto &output : graph.output()) {
    checkName(output.name(), "graph output");
    if (!outputNames.insert(output.name()).second)
      throw BuildError("graph output '" + output.name() + "' is listed twice");
    Value value = lookup(scope, output.name());
    if (!value) {
      std::string nearest = nearestName(scope, output.name());
      throw BuildError("graph output '" + output.name() + "' is computed by no node" +
                       (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
    }
    if (output.has_type()) {
      auto stated = dyn_cast_or_null<TensorType>(tensors.typeOf(output.type()));
      auto actual = dyn_cast<TensorType>(value.getType());
      if (stated && actual && stated.getElementType() != actual.getElementType()) {
        std::string text;
        llvm::raw_string_ostream(text) << "graph output '" << output.name() << "' is declared with element type "
                                       << stated.getElementType() << ", the graph computes " << actual.getElementType()
                                       << "; correct the declaration or insert a Cast";
        throw BuildError(text);
      }
    }
    addResult(output.name(), value);
  }
  if (!numResults())
    throw BuildError("the graph has no outputs, so there is nothing to compute; list some");
  if (options.keepIntermediates)
    for (int i : sorted(graph.node(), "the graph")) {
      const NodeProto &node = graph.node(i);
      SourceNode source{node.name(), node.op_type(), {node.input().begin(), node.input().end()}, {}};
      for (const std::string &name : node.output()) {
        source.outputs.push_back(name);
        auto found = scope.values.find(name);
        if (name.empty() || found == scope.values.end() || !found->second ||
            !isa<TensorType>(found->second.getType()) || !outputNames.insert(name).second)
          continue;
        addResult(name, found->second);
        ++result.intermediates;
      }
      result.graph.push_back(std::move(source));
    }
  finish();
}

const llvm::StringSet<> &ModelImporter::freeNames(const GraphProto &graph) {
  std::unique_ptr<llvm::StringSet<>> &slot = freeNamesOf[&graph];
  if (slot)
    return *slot;
  auto names = std::make_unique<llvm::StringSet<>>();
  for (const NodeProto &node : graph.node())
    namesUsed(node, *names);
  for (const ValueInfoProto &output : graph.output())
    names->insert(output.name());
  for (const NodeProto &node : graph.node())
    for (const std::string &output : node.output())
      names->erase(output);
  for (const ValueInfoProto &input : graph.input())
    names->erase(input.name());
  for (const TensorProto &tensor : graph.initializer())
    names->erase(tensor.name());
  for (const SparseTensorProto &tensor : graph.sparse_initializer())
    names->erase(tensor.values().name());
  // The recursion may have moved the map's entries.
  return *(freeNamesOf[&graph] = std::move(names));
}

void ModelImporter::namesUsed(const NodeProto &node, llvm::StringSet<> &names) {
  for (const std::string &input : node.input())
    if (!input.empty())
      names.insert(input);
  for (const AttributeProto &attribute : node.attribute()) {
    if (attribute.has_g())
      for (auto &name : freeNames(attribute.g()))
        names.insert(name.first());
    for (const GraphProto &graph : attribute.graphs())
      for (auto &name : freeNames(graph))
        names.insert(name.first());
  }
}

/// The nodes in an order in which every value is made before it is used; the file's order where that is one.
template <typename Nodes> std::vector<int> ModelImporter::sorted(const Nodes &nodes, StringRef where) {
  llvm::StringMap<int> producers;
  for (int i = 0; i < nodes.size(); ++i)
    for (const std::string &output : nodes.Get(i).output())
      if (!output.empty() && !producers.try_emplace(output, i).second)
        throw BuildError("in " + where.str() + " the value '" + output + "' is made by two nodes, " +
                         labelOf(nodes.Get(producers[output])) + " and " + labelOf(nodes.Get(i)));
  std::vector<SmallVector<int, 2>> needs(nodes.size());
  bool inOrder = true;
  for (int i = 0; i < nodes.size(); ++i) {
    const NodeProto &node = nodes.Get(i);
    auto need = [&](StringRef name) {
      auto found = producers.find(name);
      if (found == producers.end())
        return;
      needs[i].push_back(found->second);
      inOrder &= found->second < i;
    };
    bool hasGraphs = llvm::any_of(node.attribute(), [](const AttributeProto &a) { return a.has_g() || a.graphs_size(); });
    if (!hasGraphs) {
      for (const std::string &input : node.input())
        need(input);
      continue;
    }
    llvm::StringSet<> names;
    namesUsed(node, names);
    for (auto &name : names)
      need(name.first());
    llvm::sort(needs[i]); // a set's order is not the file's
  }
  std::vector<int> order;
  if (inOrder) {
    for (int i = 0; i < nodes.size(); ++i)
      order.push_back(i);
    return order;
  }
  // Depth first, without recursion: 1 = on the stack, 2 = done.
  std::vector<char> state(nodes.size(), 0);
  SmallVector<std::pair<int, unsigned>> stack;
  for (int root = 0; root < nodes.size(); ++root) {
    if (state[root])
      continue;
    stack.push_back({root, 0});
    state[root] = 1;
    while (!stack.empty()) {
      auto &[node, next] = stack.back();
      if (next == needs[node].size()) {
        state[node] = 2;
        order.push_back(node);
        stack.pop_back();
        continue;
      }
      int needed = needs[node][next++];
      if (state[needed] == 1) {
        std::string cycle;
        for (size_t i = 0; i < stack.size(); ++i)
          if (stack[i].first == needed || !cycle.empty())
            cycle += (cycle.empty() ? "" : " ← ") + labelOf(nodes.Get(stack[i].first));
        if (cycle.size() > 600)
          cycle = cycle.substr(0, cycle.find("←", 500)) + "← …";
        throw BuildError("in " + where.str() + " the nodes form a cycle: " + cycle + " ← " + labelOf(nodes.Get(needed)) +
                         "; a graph must be acyclic, use Loop to iterate");
      }
      if (state[needed] == 0) {
        state[needed] = 1;
        stack.push_back({needed, 0});
      }
    }
  }
  return order;
}

template <typename Nodes>
void ModelImporter::importNodes(const Nodes &nodes, Frame &frame, Scope &scope, StringRef where) {
  scope.nodes = &nodes;
  for (int i : sorted(nodes, where))
    importNode(nodes.Get(i), i, frame, scope);
}

void ModelImporter::importNode(const NodeProto &node, int position, Frame &frame, Scope &scope) {
  if (++result.numNodes > options.maxNodes)
    throw BuildError("the model has more than " + std::to_string(options.maxNodes) +
                     " nodes once its local functions are inlined");
  std::string name = node.name();
  if (name.empty())
    name = node.output_size() && !node.output(0).empty() ? node.output(0) : node.op_type() + "_" + std::to_string(position);
  Location loc = NameLoc::get(builder.getStringAttr(name));
  auto explain = [&](const char *what) { return labelOf(node) + ": " + what; };
  try {
    if (const FunctionProto *function = functionOf(node))
      return callFunction(*function, node, frame, scope, loc);
    ImportedNode imported(*this, node, frame, scope, loc);
    imported.opType = node.op_type();
    imported.name = name;
    imported.domain = domainOf(node.domain()).str();
    imported.opset = opsetOf(node, frame);
    for (const std::string &input : node.input()) {
      Value value = input.empty() ? Value() : lookup(scope, input);
      if (!input.empty() && !value) {
        checkName(input, "input");
        std::string nearest = nearestName(scope, input);
        throw BuildError("its input '" + input + "' is defined nowhere" +
                         (nearest.empty() ? "; the model is damaged" : "; did you mean '" + nearest + "'?"));
      }
      imported.inputs.push_back(value);
    }
    imported.outputNames.assign(node.output().begin(), node.output().end());
    const OnnxRegistry::Entry *entry = OnnxRegistry::get().find(imported.domain, node.op_type(), imported.opset);
    if (!entry) // checkSupport has seen every node that can be reached
      throw BuildError("is not supported");
    entry->import(imported);
    for (unsigned i = 0; i < imported.outputNames.size(); ++i) {
      if (imported.outputNames[i].empty())
        continue;
      if (i >= imported.outputs.size() || !imported.outputs[i])
        throw BuildError("has no output " + std::to_string(i) + " ('" + imported.outputNames[i] +
                         "'); remove it or check the operator's type");
      define(scope, imported.outputNames[i], imported.outputs[i]);
    }
  } catch (const BuildError &error) {
    throw NodeError(explain(error.what()), ImportStatus::BadInput);
  }
}

//===--- subgraphs and functions ---===//

SmallVector<Value> ModelImporter::importSubgraph(const GraphProto &graph, Frame &frame, Scope &parent,
                                                 ArrayRef<Value> arguments) {
  if (depth >= options.maxDepth)
    throw BuildError("subgraphs and local functions are nested more than " + std::to_string(options.maxDepth) +
                     " deep; flatten the control flow");
  ++depth;
  llvm::scope_exit leave([&] { --depth; });
  Scope scope;
  scope.parent = &parent;
  addInitializers(graph, scope);
  addStated(graph.value_info(), scope);
  addStated(graph.output(), scope);
  std::string where = "the subgraph '" + graph.name() + "'";
  if (int(arguments.size()) != graph.input_size())
    throw BuildError(where + " has " + std::to_string(graph.input_size()) + " inputs, the operator gives it " +
                     std::to_string(arguments.size()));
  for (int i = 0; i < graph.input_size(); ++i)
    define(scope, graph.input(i).name(), arguments[i]);
  importNodes(graph.node(), frame, scope, where);
  SmallVector<Value> results;
  for (const ValueInfoProto &output : graph.output()) {
    checkName(output.name(), "subgraph output");
    results.push_back(lookup(scope, output.name()));
    if (!results.back()) {
      std::string nearest = nearestName(scope, output.name());
      throw BuildError(where + ": its output '" + output.name() + "' is computed by no node" +
                       (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
    }
  }
  return results;
}

BoundAttribute ModelImporter::bind(const AttributeProto &attribute, Frame &frame, Scope &scope) {
  if (attribute.ref_attr_name().empty())
    return {&attribute, &frame, &scope};
  if (!frame.function)
    throw BuildError("attribute '" + attribute.name() + "' refers to the function attribute '" + attribute.ref_attr_name() +
                     "', but the node is not in a function");
  return frame.attributes.lookup(attribute.ref_attr_name());
}

void ModelImporter::callFunction(const FunctionProto &function, const NodeProto &node, Frame &frame, Scope &scope,
                                 Location loc) {
  for (Frame *at = &frame; at; at = at->caller)
    if (at->function == &function)
      throw BuildError("the local function '" + function.name() + "' calls itself; functions can't be recursive, use Loop");
  if (depth >= options.maxDepth)
    throw BuildError("subgraphs and local functions are nested more than " + std::to_string(options.maxDepth) +
                     " deep; flatten the control flow");
  ++depth;
  llvm::scope_exit leave([&] { --depth; });
  Frame inner;
  inner.function = &function;
  inner.caller = &frame;
  inner.callerScope = &scope;
  readOpsets(function.opset_import(), inner);
  for (const AttributeProto &fallback : function.attribute_proto())
    inner.attributes[fallback.name()] = {&fallback, &frame, &scope};
  for (const AttributeProto &attribute : node.attribute()) {
    BoundAttribute bound = bind(attribute, frame, scope);
    if (bound.proto)
      inner.attributes[attribute.name()] = bound;
  }
  if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
    throw BuildError("is called with " + std::to_string(node.input_size()) + " inputs and " +
                     std::to_string(node.output_size()) + " outputs, the function has " +
                     std::to_string(function.input_size()) + " and " + std::to_string(function.output_size()));
  Scope body;
  addStated(function.value_info(), body);
  for (int i = 0; i < function.input_size(); ++i) {
    Value value;
    if (i < node.input_size() && !node.input(i).empty()) {
      value = lookup(scope, node.input(i));
      if (!value)
        throw BuildError("its input '" + node.input(i) + "' is defined nowhere");
    }
    // An omitted optional input: known, but null.
    define(body, function.input(i), value);
  }
  importNodes(function.node(), inner, body, "the function '" + function.name() + "'");
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    Value value = lookup(body, function.output(i));
    if (!value)
      throw BuildError("the function's output '" + function.output(i) + "' is computed by no node");
    define(scope, node.output(i), value);
  }
}
