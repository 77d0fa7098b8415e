//===- HuggingFace.cpp - see HuggingFace.h
//----------------------------------------------------------------------------===//
#include "flame/Import/HuggingFace.h"
#include "WeightFolder.h"
#include "flame/Import/Json.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVectorExtras.h"
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

/// A folder with a config.json.
ModelConfig configOf(const std::string &folder) {
  const std::string path = folder + "/config.json";
  ModelConfig config(readJson(path), path);
  if (!config.json.is_object())
    throw ImportError(path + ": is no JSON object");
  return config;
}

/// A model that is read: its class, its weights, the type to compute in.
struct ReadModel {
  /// `name`: its name in a pipeline, or empty.
  ReadModel(MLIRContext *context, const std::string &folder, const std::string &name, const std::string &dtype)
      : config(configOf(folder)), className(classNameOf(config, isDiffusers)), model(classOf(className, config.file)),
        name(name) {
    if (config.has("quantization_config"))
      config.fail("quantization_config", "quantised weights can't be read yet", ImportStatus::Unsupported);
    weights.emplace(folder, isDiffusers, name);
    type = computeType(context, dtype, *weights, folder);
  }

  const ModelConfig config;
  bool isDiffusers;
  const std::string className;
  const ModelClass &model;
  const std::string name;
  std::optional<WeightFolder> weights;
  Type type;

  std::string dtype() const { return type.isF32() ? "f32" : type.isF16() ? "f16" : "bf16"; }
};

/// Builds a function of models that are read, and notes what is in it.
void buildFunction(FunctionBuilder &function, ArrayRef<ReadModel *> models, const std::string &folder,
                   const std::string &config, function_ref<void()> build, HuggingFaceResult &result) {
  result.module = function.begin(fs::path(folder).filename().string());
  for (ReadModel *model : models)
    model->weights->setFunction(function);
  auto problems = [&] {
    WeightProblems all;
    for (ReadModel *model : models)
      model->weights->addProblems(all);
    return all.text();
  };
  try {
    build();
  } catch (const BuildError &problem) {
    // Most often the consequence of a tensor that is wrong; those come first.
    throw ImportError(config + ": " + problem.what() + problems());
  }
  function.finish();
  if (std::string list = problems(); !list.empty())
    throw ImportError(folder + ": weights and config.json don't belong together" + list);
  function.entry->walk([&](Operation *) { ++result.numNodes; });
  for (ReadModel *model : models) {
    if (!StringRef(result.dtype).contains(model->dtype()))
      result.dtype += (result.dtype.empty() ? "" : ", ") + model->dtype();
    result.numWeights += model->weights->numWeights;
    result.numParameters += model->weights->numParameters;
    result.weightBytes += model->weights->numBytes;
    llvm::append_range(result.weightFiles, model->weights->usedFiles());
  }
}

void importModel(MLIRContext *context, const std::string &folder, const HuggingFaceOptions &options,
                 HuggingFaceResult &result) {
  ReadModel read(context, folder, "", options.dtype);
  result.className = read.className;
  const auto &parts = read.model.parts;
  result.part = !options.part.empty() ? options.part : parts.empty() ? "" : parts.front();
  if (!options.part.empty() && llvm::none_of(parts, [&](const char *part) { return options.part == part; }))
    throw ImportError(folder + ": a " + result.className + " has no part '" + options.part + "'" +
                      (parts.empty() ? "; it is one whole" : "; its parts are " + listed(parts)));
  FunctionBuilder function(context);
  ModelContext build(read.config, *read.weights, function, read.type, result.part);
  buildFunction(function, &read, folder, read.config.file, [&] { read.model.build(build); }, result);
}

/// The models of a pipeline folder that can be compiled by themselves, for messages.
std::string modelFolders(const PipelineIndex &index, const std::string &folder) {
  std::string parts;
  for (const PipelinePart &part : index.parts)
    if (part.isModel)
      parts += (parts.empty() ? "" : ", ") + folder + "/" + part.name;
  return parts.empty() ? "" : "; its models can be compiled by themselves: " + parts;
}

const PipelinePart *findPart(const PipelineIndex &index, StringRef name) {
  auto found = llvm::find_if(index.parts, [&](const PipelinePart &part) { return part.name == name; });
  return found == index.parts.end() ? nullptr : &*found;
}

ModelConfig schedulerOf(const PipelineClass &pipeline, const std::string &folder) {
  const std::string path = folder + "/scheduler/scheduler_config.json";
  ModelConfig config(readJson(path), path);
  if (!config.json.is_object())
    throw ImportError(path + ": is no JSON object");
  std::string name = config.text("_class_name");
  if (llvm::none_of(pipeline.schedulers, [&](const char *one) { return name == one; }))
    config.fail("_class_name", std::string("a ") + pipeline.name + " takes the steps of " + listed(pipeline.schedulers),
                ImportStatus::Unsupported);
  return config;
}

void importPipeline(MLIRContext *context, const std::string &folder, const HuggingFaceOptions &options,
                    HuggingFaceResult &result) {
  const PipelineIndex index = readPipelineIndex(folder);
  const std::string indexFile = folder + "/model_index.json";
  const PipelineClass *pipeline = findPipelineClass(index.className);
  if (!pipeline)
    throw ImportError(
        indexFile + ": a pipeline of the class '" + index.className + "' can't be one program; supported are " +
            listed(llvm::map_range(pipelineClasses(), [](const PipelineClass &one) { return one.name; })) +
            modelFolders(index, folder),
        ImportStatus::Unsupported);
  result.className = pipeline->name;
  if (!options.part.empty())
    throw ImportError(folder + ": a pipeline has no part '" + options.part + "', it is one program" +
                      modelFolders(index, folder));
  const ModelConfig scheduler = schedulerOf(*pipeline, folder);
  std::vector<std::unique_ptr<ReadModel>> models;
  for (const PipelineClass::Model &wanted : pipeline->models) {
    const PipelinePart *part = findPart(index, wanted.name);
    if (!part)
      throw ImportError(indexFile + ": lists no '" + wanted.name + "', which a " + pipeline->name + " needs");
    models.push_back(std::make_unique<ReadModel>(context, folder + "/" + wanted.name, wanted.name, options.dtype));
    if (const ReadModel &model = *models.back(); model.className != wanted.className)
      throw ImportError(model.config.file + ": is of the class '" + model.className + "'; the " + wanted.name + " of a " +
                            pipeline->name + " must be a " + wanted.className,
                        ImportStatus::Unsupported);
  }
  FunctionBuilder function(context);
  PipelineContext build(function, scheduler);
  for (const auto &model : models)
    build.networks.push_back(
        {model->config, *model->weights, Scope(build.graph, *model->weights, model->type, model->name)});
  SmallVector<ReadModel *> all = llvm::map_to_vector(models, [](const auto &model) { return model.get(); });
  buildFunction(function, all, folder, folder, [&] { pipeline->build(build); }, result);
}

void importFolder(MLIRContext *context, const std::string &folder, const HuggingFaceOptions &options,
                  HuggingFaceResult &result) {
  std::error_code error;
  bool isModel = fs::symlink_status(fs::path(folder) / "config.json", error).type() != fs::file_type::not_found;
  return isPipelineFolder(folder) && !isModel ? importPipeline(context, folder, options, result)
                                              : importModel(context, folder, options, result);
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
