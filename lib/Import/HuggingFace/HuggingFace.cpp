//===- HuggingFace.cpp - see HuggingFace.h
//----------------------------------------------------------------------------===//
#include "flame/Import/HuggingFace.h"
#include "WeightFolder.h"
#include "flame/Import/Json.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/InterleavedRange.h"
#include <filesystem>

using namespace mlir;
using namespace flame;
using namespace flame::models;
namespace fs = std::filesystem;

namespace {

template <typename Range> std::string listed(const Range &range) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::interleaved(range, ", ");
  return text;
}

/// The class that a configuration names: diffusers' in `_class_name`, transformers' in `architectures`.
std::string classNameOf(const ModelConfig &config, bool &isDiffusers) {
  isDiffusers = config.has("_class_name");
  if (isDiffusers)
    return config.text("_class_name");
  std::vector<std::string> architectures = config.texts("architectures", {});
  if (architectures.size() != 1)
    throw ImportError(config.file +
                      ": names no class: 'architectures' must be a list of one name, or '_class_name' a string");
  return architectures.front();
}

const ModelClass &classOf(const std::string &name, const std::string &file) {
  const ModelClass *found = findModelClass(name);
  if (found)
    return *found;
  std::string nearest;
  unsigned best = 3; // classes are told apart by less than misspellings are
  for (const ModelClass &one : modelClasses())
    if (unsigned distance = StringRef(one.name).edit_distance(name, true, best); distance < best) {
      best = distance;
      nearest = one.name;
    }
  throw ImportError(file + ": the class '" + name + "' is not supported" +
                        (nearest.empty() ? "" : "; did you mean '" + nearest + "'?") + "; supported are " +
                        listed(llvm::map_range(modelClasses(), [](const ModelClass &one) { return one.name; })),
                    ImportStatus::Unsupported);
}

/// The element type to compute in.
Type computeType(MLIRContext *context, const std::string &asked, const WeightFolder &weights,
                 const std::string &folder) {
  std::string stored = weights.commonType();
  if (asked.empty() && stored.empty())
    throw ImportError(folder + ": has no weights of type F32, F16 or BF16; quantised weights can't be read yet",
                      ImportStatus::Unsupported);
  std::string name = asked.empty() ? stored : llvm::StringRef(asked).upper();
  if (name != "F32" && name != "F16" && name != "BF16")
    throw ImportError(folder + ": can't compute in the element type '" + name + "'; f32, f16 and bf16 are there",
                      ImportStatus::Unsupported);
  return safetensorsType(context, name);
}

void importFolder(MLIRContext *context, const std::string &folder, const HuggingFaceOptions &options,
                  HuggingFaceResult &result) {
  std::error_code error;
  const std::string path = folder + "/config.json";
  if (isPipelineFolder(folder) && fs::symlink_status(path, error).type() == fs::file_type::not_found) {
    std::string parts;
    for (const PipelinePart &part : readPipelineIndex(folder).parts)
      if (part.isModel)
        parts += (parts.empty() ? "" : ", ") + folder + "/" + part.name;
    throw ImportError(folder + ": is a pipeline of several models; name one of them: " +
                      (parts.empty() ? "none is supported" : parts));
  }
  ModelConfig config(readJson(path), path);
  if (!config.json.is_object())
    throw ImportError(path + ": is no JSON object");
  bool isDiffusers;
  result.className = classNameOf(config, isDiffusers);
  const ModelClass &model = classOf(result.className, path);
  if (config.has("quantization_config"))
    config.fail("quantization_config", "quantised weights can't be read yet", ImportStatus::Unsupported);
  result.part = !options.part.empty() ? options.part : model.parts.empty() ? "" : model.parts.front();
  if (!options.part.empty() && llvm::none_of(model.parts, [&](const char *part) { return options.part == part; }))
    throw ImportError(folder + ": a " + result.className + " has no part '" + options.part + "'" +
                      (model.parts.empty() ? "; it is one whole" : "; its parts are " + listed(model.parts)));

  WeightFolder weights(folder, isDiffusers);
  Type type = computeType(context, options.dtype, weights, folder);
  result.dtype = type.isF32() ? "f32" : type.isF16() ? "f16" : "bf16";
  FunctionBuilder function(context);
  result.module = function.begin(fs::path(folder).filename().string());
  weights.setFunction(function);
  ModelContext build(config, weights, function, type, result.part);
  try {
    model.build(build);
  } catch (const BuildError &problem) {
    // Most often the consequence of a tensor that is wrong; those come first.
    std::string list = weights.problems();
    throw ImportError(path + ": " + problem.what() + list);
  }
  function.finish();
  if (std::string list = weights.problems(); !list.empty())
    throw ImportError(folder + ": weights and config.json don't belong together" + list);
  function.entry->walk([&](Operation *) { ++result.numNodes; });
  result.numWeights = weights.numWeights;
  result.numParameters = weights.numParameters;
  result.weightBytes = weights.numBytes;
  result.weightFiles = weights.usedFiles();
}

} // namespace

HuggingFaceResult flame::importHuggingFace(MLIRContext *context, const std::string &folder,
                                           const HuggingFaceOptions &options) {
  context->loadDialect<FlameDialect, func::FuncDialect>();
  HuggingFaceResult result;
  std::string path = folder;
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  try {
    importFolder(context, path, options, result);
  } catch (const ImportError &error) {
    result.module = nullptr;
    result.status = error.status;
    result.errors.push_back(error.what());
  }
  return result;
}

bool flame::isPipelineFolder(const std::string &folder) {
  std::error_code error;
  return fs::symlink_status(fs::path(folder) / "model_index.json", error).type() != fs::file_type::not_found && !error;
}

PipelineIndex flame::readPipelineIndex(const std::string &folder) {
  const std::string path = folder + "/model_index.json";
  Json json = readJson(path);
  if (!json.is_object() || !json.contains("_class_name") || !json["_class_name"].is_string())
    throw ImportError(path + ": names no pipeline class ('_class_name'); download the file again");
  PipelineIndex index;
  index.className = json["_class_name"];
  for (const auto &[name, value] : json.items()) {
    // A part is a pair of library and class; what the pipeline goes without has nulls.
    if (name.starts_with("_") || !value.is_array() || value.size() != 2 || !value[0].is_string() ||
        !value[1].is_string())
      continue;
    if (name.find('/') != std::string::npos || name == "..")
      throw ImportError(path + ": the part '" + name + "' is not the name of a folder in it");
    index.parts.push_back({name, value[0], value[1], findModelClass(value[1].get<std::string>()) != nullptr});
  }
  return index;
}
