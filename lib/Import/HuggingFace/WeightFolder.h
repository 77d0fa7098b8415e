//===- WeightFolder.h - the weights of a model folder
//-----------------------------------------------------------------===//
//
// Finds the safetensors files, reads their descriptions, and notes what a model asks for that isn't there, has another
// shape, or is there and never asked for.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_HUGGINGFACE_WEIGHTFOLDER_H
#define FLAME_LIB_IMPORT_HUGGINGFACE_WEIGHTFOLDER_H

#include "flame/Import/Safetensors.h"
#include "flame/Models/ModelClass.h"
#include "llvm/ADT/StringMap.h"
#include <map>

namespace flame {

/// What was asked for in vain, and what nobody asked for, of one folder or several.
struct WeightProblems {
  std::vector<std::string> missing, misshapen, extra;
  /// A line each, or nothing.
  std::string text() const;
};

class WeightFolder : public models::ModelWeights {
public:
  /// Reads the descriptions. `isDiffusers`: the files have the names that diffusers gives them, otherwise
  /// transformers'. `model`: its name among the models of a pipeline, which is that of its folder in the pipeline's;
  /// empty for a model alone. Throws ImportError.
  WeightFolder(const std::string &folder, bool isDiffusers, const std::string &model = "");

  /// The element type that most of the floating-point elements have; empty if there are none.
  std::string commonType() const;
  void addProblems(WeightProblems &problems) const;
  /// Weights are made in this function.
  void setFunction(FunctionBuilder &builder) { function = &builder; }

  bool has(const std::string &name) const override { return tensors.contains(name); }
  mlir::Value weight(GraphBuilder &g, const std::string &name, llvm::ArrayRef<int64_t> shape, mlir::Type type) override;
  int64_t numBlocks(const std::string &prefix) const override;
  void ignore(const std::string &prefix) override { ignored.push_back(prefix); }

  // Of what was asked for.
  uint64_t numWeights = 0, numParameters = 0, numBytes = 0;
  std::vector<std::string> usedFiles() const;

private:
  struct Tensor {
    SafetensorsTensor description;
    unsigned file;
    mlir::Value value; // once it was asked for
  };
  void readVariant(const std::string &stem);
  void readIndex(const std::string &name);
  void readShard(const std::string &name, const std::map<std::string, std::string> *index);
  void noSafetensors() const;
  /// The name of a tensor among those of all models.
  std::string named(llvm::StringRef tensor) const { return model.empty() ? tensor.str() : model + "." + tensor.str(); }
  /// The name of a file for the artifact.
  std::string path(unsigned file) const { return model.empty() ? files[file] : model + "/" + files[file]; }

  std::string folder, model;
  bool isDiffusers;
  std::vector<std::string> files;
  llvm::StringMap<Tensor> tensors;
  std::vector<std::string> ignored, missing, misshapen;
  FunctionBuilder *function = nullptr;
};

} // namespace flame

#endif // FLAME_LIB_IMPORT_HUGGINGFACE_WEIGHTFOLDER_H
