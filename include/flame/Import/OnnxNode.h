//===- OnnxNode.h - one ONNX node, as op families see it --------------------------------------------------------------===//
//
// lib/Import/Onnx walks the model; the importers of the ops are in lib/Ops/<Family>/<Family>Onnx.cpp and are registered by
// `void register<Family>Onnx(OnnxRegistry &)`. An importer reads inputs and attributes, builds ops and sets outputs; it
// reports any problem by `fail`, which throws BuildError (see GraphBuilder.h).
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_ONNXNODE_H
#define FLAME_IMPORT_ONNXNODE_H

#include "flame/Builder/ControlBuilder.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <string>
#include <vector>

namespace flame {

class OnnxNode : public GraphBuilder {
public:
  using GraphBuilder::GraphBuilder;
  virtual ~OnnxNode() = default;

  std::string opType, name, domain;
  int64_t opset = 0; // version of the node's domain that the model imports

  // Inputs. An omitted optional input is a null Value.
  unsigned numInputs() const { return inputs.size(); }
  bool hasInput(unsigned i) const { return i < inputs.size() && inputs[i]; }
  /// Throws if the input is absent.
  Value input(unsigned i);
  Value inputOr(unsigned i, Value otherwise) { return hasInput(i) ? inputs[i] : otherwise; }
  /// The numbers of an integer input or, in older opsets, of the attribute of that name. Null if they are known only at
  /// run time; `present` tells whether the input or attribute is there at all.
  std::optional<llvm::SmallVector<int64_t>> intsInputOrAttr(unsigned i, llvm::StringRef attribute, bool &present);

  // Outputs.
  unsigned numOutputs() const { return outputNames.size(); }
  /// True if the model uses output `i`.
  bool wantsOutput(unsigned i) const { return i < outputNames.size() && !outputNames[i].empty(); }
  void setOutput(unsigned i, Value value);
  /// The type that the model states for output `i` (graph output or value_info); null if none.
  virtual Type statedOutputType(unsigned i) { return {}; }
  /// The rank that the model states for output 0; throws, naming the reason `why` inference can't tell, if it states none.
  int64_t statedRank(llvm::StringRef why);

  // Attributes. A wrong attribute type throws.
  virtual bool hasAttr(llvm::StringRef name) = 0;
  virtual int64_t intAttr(llvm::StringRef name, std::optional<int64_t> otherwise = std::nullopt) = 0;
  virtual double floatAttr(llvm::StringRef name, std::optional<double> otherwise = std::nullopt) = 0;
  virtual std::string stringAttr(llvm::StringRef name, std::optional<std::string> otherwise = std::nullopt) = 0;
  virtual llvm::SmallVector<int64_t> intsAttr(llvm::StringRef name) = 0; // empty if absent
  virtual llvm::SmallVector<double> floatsAttr(llvm::StringRef name) = 0;
  virtual std::vector<std::string> stringsAttr(llvm::StringRef name) = 0;
  virtual mlir::ElementsAttr tensorAttr(llvm::StringRef name) = 0; // null if absent
  /// The tensor as a value: a constant, or a weight that stays in the file if it is large. Null if absent.
  virtual Value tensorValue(llvm::StringRef name) = 0;
  virtual Type typeAttr(llvm::StringRef name) = 0;                 // TypeProto → MLIR type; null if absent
  /// An element type from an attribute that holds a TensorProto.DataType number; null if absent.
  Type dtypeAttr(llvm::StringRef name);

  // Subgraphs (If, Loop, Scan, SequenceMap). Names of outer values are visible inside.
  virtual std::vector<std::string> graphOutputs(llvm::StringRef attribute) = 0;
  virtual unsigned graphInputCount(llvm::StringRef attribute) = 0;
  /// The types that the subgraph states for its inputs; null entries where it states none.
  virtual llvm::SmallVector<Type> graphInputTypes(llvm::StringRef attribute) = 0;
  /// Imports the subgraph at the builder's insertion point with these values as its inputs; returns its outputs.
  virtual llvm::SmallVector<Value> inlineGraph(llvm::StringRef attribute, llvm::ArrayRef<Value> arguments) = 0;

  /// What building a loop for this node has taught; shared by all imports of one node of the file (in a loop body that is
  /// built twice, a function that is called twice).
  virtual LoopMemory &loopMemory() = 0;

  std::vector<Value> inputs;
  std::vector<std::string> outputNames;
  std::vector<Value> outputs;
};

/// What the importer can read; the source of the coverage table.
class OnnxRegistry {
public:
  using Import = std::function<void(OnnxNode &)>;
  struct Entry {
    std::string domain, opType;
    int64_t sinceOpset; // the first opset version with these semantics here
    Import import;
    std::string dtypes; // for the coverage table: "float", "numeric", "all", "string" …
  };
  /// One op; later registrations for a higher `since` apply from that opset on.
  void add(llvm::StringRef opType, Import import, int64_t since = 1, llvm::StringRef domain = "",
           llvm::StringRef dtypes = "numeric");
  const Entry *find(llvm::StringRef domain, llvm::StringRef opType, int64_t opset) const;
  const std::vector<Entry> &entries() const { return table; }
  /// The registered op names nearest to a misspelt or unsupported one.
  std::string nearest(llvm::StringRef domain, llvm::StringRef opType) const;
  static const OnnxRegistry &get();

private:
  std::vector<Entry> table;
  llvm::StringMap<std::vector<unsigned>> index;
};

/// Every family with ONNX operators registers them here.
#define FLAME_FAMILY(Name) void register##Name##Onnx(OnnxRegistry &registry);
#include "flame/Ops/OnnxFamilies.inc"
#undef FLAME_FAMILY

} // namespace flame

#endif // FLAME_IMPORT_ONNXNODE_H
