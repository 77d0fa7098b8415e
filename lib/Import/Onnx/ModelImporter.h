//===- ModelImporter.h - walks a model and calls the operators' importers ---------------------------------------------===//
//
// Names are resolved in scopes: a subgraph sees the names around it, a local function only its own. A frame is the call of
// a local function: it binds the attributes that nodes of the body refer to.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_ONNX_MODELIMPORTER_H
#define FLAME_LIB_IMPORT_ONNX_MODELIMPORTER_H

#include "TensorReader.h"
#include "flame/Builder/FunctionBuilder.h"
#include "flame/Import/Onnx.h"
#include "flame/Import/OnnxNode.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"
#include <map>

namespace flame::onnx {

/// A problem of a node, with its name in the text already.
struct NodeError : std::runtime_error {
  NodeError(const std::string &text, ImportStatus status) : std::runtime_error(text), status(status) {}
  ImportStatus status;
};

struct Scope {
  Scope *parent = nullptr;
  llvm::StringMap<mlir::Value> values;
  llvm::StringMap<const TensorProto *> initializers; // not materialised yet
  llvm::StringMap<const SparseTensorProto *> sparseInitializers;
  llvm::StringMap<const TypeProto *> stated;
  const google::protobuf::RepeatedPtrField<NodeProto> *nodes = nullptr; // for "did you mean"
};

struct Frame;

/// An attribute with the place its subgraphs' names belong to.
struct BoundAttribute {
  const AttributeProto *proto = nullptr;
  Frame *frame = nullptr;
  Scope *scope = nullptr;
};

struct Frame {
  const FunctionProto *function = nullptr; // null: the model's graph
  Frame *caller = nullptr;
  Scope *callerScope = nullptr;
  llvm::StringMap<BoundAttribute> attributes; // bound by the call, or defaults
  llvm::StringMap<int64_t> opsets;
  unsigned depth = 0;
};

class ModelImporter : FunctionBuilder {
public:
  ModelImporter(mlir::MLIRContext *context, const ModelProto &model, llvm::StringRef modelBytes, llvm::StringRef fileName,
                ModelFolder &folder, const OnnxImportOptions &options, OnnxImportResult &result);
  /// Fills the result; throws BuildError or NodeError.
  void run();

  // For ImportedNode.
  llvm::SmallVector<mlir::Value> importSubgraph(const GraphProto &graph, Frame &frame, Scope &parent,
                                                llvm::ArrayRef<mlir::Value> arguments);
  mlir::Value tensorValue(const TensorProto &tensor, llvm::StringRef name, mlir::Location loc);
  TensorReader tensors;

private:
  struct Unsupported {
    unsigned count = 0;
    std::vector<std::string> nodes;
    std::string remedy;
  };
  using FunctionKey = std::pair<std::string, std::string>; // "domain:name", overload

  void readOpsets(const google::protobuf::RepeatedPtrField<OperatorSetIdProto> &imports, Frame &frame);
  int64_t opsetOf(const NodeProto &node, const Frame &frame);
  const FunctionProto *functionOf(const NodeProto &node);
  template <typename Nodes>
  void checkSupport(const Nodes &nodes, Frame &frame, unsigned depth, std::map<std::string, Unsupported> &found,
                    std::map<const FunctionProto *, bool> &visited);

  void importMain();
  template <typename Nodes> void importNodes(const Nodes &nodes, Frame &frame, Scope &scope, llvm::StringRef where);
  template <typename Nodes> std::vector<int> sorted(const Nodes &nodes, llvm::StringRef where);
  const llvm::StringSet<> &freeNames(const GraphProto &graph);
  void namesUsed(const NodeProto &node, llvm::StringSet<> &names);
  void importNode(const NodeProto &node, int position, Frame &frame, Scope &scope);
  void callFunction(const FunctionProto &function, const NodeProto &node, Frame &frame, Scope &scope, mlir::Location loc);
  void addInitializers(const GraphProto &graph, Scope &scope);
  void addStated(const google::protobuf::RepeatedPtrField<ValueInfoProto> &infos, Scope &scope);
  void define(Scope &scope, llvm::StringRef name, mlir::Value value);
  /// Null if nothing has that name.
  mlir::Value lookup(Scope &scope, llvm::StringRef name);
  BoundAttribute bind(const AttributeProto &attribute, Frame &frame, Scope &scope);
  std::string nearestName(Scope &scope, llvm::StringRef name);

  mlir::MLIRContext *context;
  const ModelProto &model;
  std::string fileName;
  const OnnxImportOptions &options;
  OnnxImportResult &result;
  std::map<FunctionKey, const FunctionProto *> functions;
  llvm::DenseMap<const GraphProto *, std::unique_ptr<llvm::StringSet<>>> freeNamesOf;
  llvm::StringSet<> weightNames, weightFiles;

  unsigned depth = 0;
  std::map<const NodeProto *, LoopMemory> loopMemories;

  friend class ImportedNode;
};

/// A node as its importer sees it.
class ImportedNode : public OnnxNode {
public:
  ImportedNode(ModelImporter &importer, const NodeProto &proto, Frame &frame, Scope &scope, mlir::Location loc);

  Type statedOutputType(unsigned i) override;
  bool hasAttr(llvm::StringRef name) override;
  int64_t intAttr(llvm::StringRef name, std::optional<int64_t> otherwise) override;
  double floatAttr(llvm::StringRef name, std::optional<double> otherwise) override;
  std::string stringAttr(llvm::StringRef name, std::optional<std::string> otherwise) override;
  llvm::SmallVector<int64_t> intsAttr(llvm::StringRef name) override;
  llvm::SmallVector<double> floatsAttr(llvm::StringRef name) override;
  std::vector<std::string> stringsAttr(llvm::StringRef name) override;
  mlir::ElementsAttr tensorAttr(llvm::StringRef name) override;
  Value tensorValue(llvm::StringRef name) override;
  Type typeAttr(llvm::StringRef name) override;
  std::vector<std::string> graphOutputs(llvm::StringRef attribute) override;
  unsigned graphInputCount(llvm::StringRef attribute) override;
  llvm::SmallVector<Type> graphInputTypes(llvm::StringRef attribute) override;
  llvm::SmallVector<Value> inlineGraph(llvm::StringRef attribute, llvm::ArrayRef<Value> arguments) override;
  LoopMemory &loopMemory() override { return importer.loopMemories[&proto]; }

private:
  /// Null if absent; throws if it has another type than one of these (AttributeProto.AttributeType).
  const AttributeProto *find(llvm::StringRef name, int type, llvm::StringRef expected, int alternative = -1);
  const AttributeProto &graphOf(llvm::StringRef name);

  ModelImporter &importer;
  const NodeProto &proto;
  Frame &frame;
  Scope &scope;
  llvm::StringMap<BoundAttribute> attributes;
};

} // namespace flame::onnx

#endif // FLAME_LIB_IMPORT_ONNX_MODELIMPORTER_H
