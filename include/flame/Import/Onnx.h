//===- Onnx.h - an ONNX file as a flame module ------------------------------------------------------------------------===//
//
// The result is one `func.func @main`. Its arguments are the graph's inputs (those without an initializer), its results the
// graph's outputs. Argument attributes: `flame.name`, and for tensors `flame.dims`, one entry a dim: a number, the model's
// name for a symbolic dim, or "<input>.dim<d>" for an unknown one; equal names mean equal sizes. Result attributes:
// `flame.name`. Every op's location is a NameLoc of the node it came from.
//
// Weights stay in their files, which the module names relative to the model's folder (`flame.weight`).
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_ONNX_H
#define FLAME_IMPORT_ONNX_H

#include "flame/Import/ImportStatus.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>
#include <vector>

namespace flame {

struct OnnxImportOptions {
  /// Initializers and constants of more bytes become weights, which stay in the file; others are part of the IR.
  uint64_t constantLimit = 1024;
  /// Nesting of subgraphs and calls of local functions.
  unsigned maxDepth = 100;
  /// Nodes after local functions are inlined and loop bodies are built: a bound on what a tiny hostile file can cost.
  uint64_t maxNodes = 2'000'000;
  /// Every named tensor that a node of the model's graph makes becomes a result of @main, behind the graph's outputs.
  bool keepIntermediates = false;
};

/// A node of the model's graph (not of subgraphs and local functions) by names alone.
struct SourceNode {
  std::string name, opType;
  std::vector<std::string> inputs, outputs;
};

struct OnnxImportResult {
  mlir::OwningOpRef<mlir::ModuleOp> module; // null unless Ok
  ImportStatus status = ImportStatus::Ok;
  /// Complete messages, each naming the file, where it applies the node, the cause and the remedy.
  std::vector<std::string> errors;

  // For progress messages.
  uint64_t numNodes = 0;
  int64_t irVersion = 0, opset = 0;
  uint64_t weightBytes = 0;         // left in files
  uint64_t externalBytes = 0;       // the part of them that lies outside the model file
  std::vector<std::string> weightFiles; // relative to the model's folder

  // With keepIntermediates: the graph's nodes in the order in which they are computed.
  std::vector<SourceNode> graph;
  size_t intermediates = 0; // results of @main that were added
};

/// Reads a model file. External data is looked for in the folder of `path`: regular files in it or below it.
OnnxImportResult importOnnx(mlir::MLIRContext *context, llvm::StringRef path, const OnnxImportOptions &options = {});

/// Reads a model from memory that need not outlive the call. Weights refer to `fileName` in `folder`.
OnnxImportResult importOnnxBuffer(mlir::MLIRContext *context, llvm::StringRef bytes, llvm::StringRef fileName,
                                  llvm::StringRef folder, const OnnxImportOptions &options = {});

/// A copy of the model in `path` whose large tensors are external data in a file "weights.bin", as many zeros as
/// `weightBytes` says: what reproduces an error of the compiler without giving weights away. Empty, and an error message,
/// where the file can't be read.
std::string stripOnnxWeights(llvm::StringRef path, uint64_t &weightBytes, std::string &error);

/// The tensor in an ONNX `.pb` file (a serialized TensorProto with its data inside), as a constant; null and an error
/// message if it is malformed. `name` receives the tensor's name.
mlir::ElementsAttr readOnnxTensor(mlir::MLIRContext *context, llvm::StringRef bytes, std::string &name,
                                  std::string &error);

} // namespace flame

#endif // FLAME_IMPORT_ONNX_H
