//===- Model.h - an artifact, or a model compiled in memory, ready to run ---------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_MODEL_H
#define FLAME_TOOLS_FLAMEC_MODEL_H

#include "Commands.h"
#include "InputSpec.h"
#include "flame_rt.hpp"
#include "llvm/Support/MemoryBuffer.h"

namespace flame::tool {

/// What run, bench, check and inspect let a person say about the model and its inputs.
struct ModelSettings {
  std::string path, weightsDirectory, memoryLimit, cpu = "native", target, dtype, part;
  std::vector<std::string> gpus;
  int threads = 0;
  io::InputOptions inputs;
  std::vector<std::string> dims; // "batch=4"

  void addModel(CLI::App *app);
  void addTarget(CLI::App *app);
  void addInputs(CLI::App *app);
  void addThreads(CLI::App *app);
  void addMemoryLimit(CLI::App *app);
  /// Interprets what is text so far; throws UsageError.
  void resolve();
};

/// What bench and profile let a person say about a measurement.
struct MeasureSettings {
  ModelSettings model;
  std::string format = "table";
  double seconds = 1.0;

  /// `runs`: how many there are at least, "three"; `formats` beside the table.
  void add(CLI::App *app, const std::string &runs, const std::vector<std::string> &formats);
};

/// A model file or folder is compiled first; everything else is taken for an artifact.
bool isModelFile(const std::string &path);
/// The options of folders of diffusers and transformers.
void addFolderOptions(CLI::App *app, std::string &dtype, std::string &part);

/// The bytes of an artifact, 64-byte aligned, and where its weight files are looked for.
struct ArtifactBytes {
  std::unique_ptr<llvm::MemoryBuffer> buffer;
  std::string weightsDirectory;
  CompileResult compiled; // of a model file
  std::span<const uint8_t> span() const {
    return {reinterpret_cast<const uint8_t *>(buffer->getBufferStart()), buffer->getBufferSize()};
  }
};
/// Compiles or reads. Throws Exit after the compiler's messages, InputError for a file that can't be read.
ArtifactBytes artifactOf(const ModelSettings &settings, Console &console, CompileOptions options = {});

/// A module with the memory it stands on.
struct Model {
  ArtifactBytes bytes;
  Module module;
};
/// Throws as artifactOf and Module::load do.
Model loadModel(const ModelSettings &settings, Console &console, CompileOptions options = {});
Module loadModule(const ArtifactBytes &bytes, const ModelSettings &settings, Console &console);

/// Loads the model and prints what `measure` makes of it; progress is silent where the output is for programs.
int printMeasurement(MeasureSettings &settings, Console &console, const std::function<std::string(const Model &)> &measure);

/// Runs `action`. Where memory runs out, the message also gives the planned peak, the limit and the largest tensors.
int explainingMemory(const Model &model, const ModelSettings &settings, const std::function<int()> &action);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_MODEL_H
