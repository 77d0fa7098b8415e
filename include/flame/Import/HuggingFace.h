//===- HuggingFace.h - a folder of diffusers or transformers as a flame module
//----------------------------------------===//
//
// A model folder holds config.json and safetensors files, one or many with an index; a pipeline folder holds
// model_index.json and a model folder for each part. The module is as in flame/Import/Onnx.h; weights stay in their
// files, which the module names relative to the folder. Of a pipeline, weights and ops are named behind the model that
// they belong to: "transformer.x_embedder.weight". Files may be symbolic links, as in the hub's cache.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_HUGGINGFACE_H
#define FLAME_IMPORT_HUGGINGFACE_H

#include "flame/Import/ImportStatus.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>
#include <utility>
#include <vector>

namespace flame {

struct HuggingFaceOptions {
  /// The element type to compute in, "f32", "bf16" or "f16"; empty: that of the weights.
  std::string dtype;
  /// Of a class with several parts (AutoencoderKL: "decoder", "encoder"), the one to build; empty: the first.
  std::string part;
};

struct HuggingFaceResult {
  mlir::OwningOpRef<mlir::ModuleOp> module; // null unless Ok
  ImportStatus status = ImportStatus::Ok;
  /// Complete messages, each naming the file, the cause and the remedy.
  std::vector<std::string> errors;

  std::string className, dtype; // "FluxTransformer2DModel"; "bf16", or several
  std::string part;             // of a class with several parts
  uint64_t numNodes = 0, numWeights = 0, numParameters = 0;
  uint64_t weightBytes = 0;
  std::vector<std::string> weightFiles; // relative to the folder
};

/// Reads a model folder, or a pipeline folder as one program.
HuggingFaceResult importHuggingFace(mlir::MLIRContext *context, const std::string &folder,
                                    const HuggingFaceOptions &options = {});

/// A part of a pipeline, as model_index.json lists it.
struct PipelinePart {
  std::string name, library, className; // "text_encoder", "transformers", "CLIPTextModel"
  bool isModel;                         // a class that importHuggingFace knows
};

struct PipelineIndex {
  std::string className; // "FluxPipeline"
  std::vector<PipelinePart> parts;
};

/// True if the folder has a model_index.json.
bool isPipelineFolder(const std::string &folder);
/// Reads a pipeline's model_index.json. Throws ImportError.
PipelineIndex readPipelineIndex(const std::string &folder);

} // namespace flame

#endif // FLAME_IMPORT_HUGGINGFACE_H
