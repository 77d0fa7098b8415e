//===- Model.cpp - an artifact, or a model compiled in memory, ready to run -------------------------------------------===//
#include "Model.h"
#include "Help.h"
#include "PlanView.h"
#include "Run.h"
#include "flame/Target/Cuda/Device.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <fstream>

using namespace flame;
using namespace flame::tool;

void ModelSettings::addModel(CLI::App *app) {
  app->add_option("model", path,
                  "an artifact (.flame), or an ONNX file or a model folder, which is compiled in memory first")
      ->required()
      ->type_name("MODEL");
  app->add_option("--weights-dir", weightsDirectory, "where the weight files are (default: beside the model)")
      ->type_name("DIR");
  addFolderOptions(app, dtype, part);
}

void flame::tool::addFolderOptions(CLI::App *app, std::string &dtype, std::string &part) {
  app->add_option("--dtype", dtype,
                  "of a model folder: element type to compute in, f32, bf16 or f16 (default: the weights')")
      ->check(oneOf({"f32", "bf16", "f16"}))
      ->type_name("TYPE");
  app->add_option("--part", part,
                  "of a model folder with several parts: decoder (default), encoder, or pictures (latents in patches to pixels) "
                  "of an autoencoder; model (default) or step (of denoising) of a diffusion transformer; prefill (default) or decode "
                  "(new tokens, with caches of keys and values) of a language model")
      ->type_name("NAME");
}

void ModelSettings::addTarget(CLI::App *app) {
  app->add_option("--target", target, "of a model file: what to compile for, cpu (default) or cuda, which needs a GPU")
      ->check(oneOf({"cpu", "cuda"}))
      ->type_name("TARGET");
  app->add_option("--gpu", gpus, "with --target=cuda: architecture to compile for (default: the GPU present)")
      ->delimiter(',')
      ->type_name("NAME");
}

void ModelSettings::addInputs(CLI::App *app) {
  app->add_option("-i,--input", inputs.specs,
                  "one input: a file (.npy, .npz, ONNX .pb), 'random', or SHAPE:TYPE such as 4x16:f32 for random "
                  "numbers; a FILE.npz alone gives its arrays by name")
      ->allow_extra_args(false)
      ->type_name("NAME=VALUE");
  app->add_flag("--random-inputs", inputs.randomOthers, "random numbers for the inputs that are not given");
  app->add_option("--dim", dims, "size of a symbolic dim in random inputs (default: 1)")
      ->allow_extra_args(false)
      ->type_name("NAME=NUMBER");
  app->add_option("--seed", inputs.seed, "seed of the random numbers (default: 0)")->type_name("NUMBER");
}

void ModelSettings::addThreads(CLI::App *app) {
  app->add_option("--threads", threads, "threads that run the model (default: FLAME_NUM_THREADS, else all cores)")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
}

void ModelSettings::addMemoryLimit(CLI::App *app) {
  app->add_option("--memory-limit", memoryLimit,
                  "fail with exit code 6 rather than use more than this beside the weights: 100k, 512M, 2G")
      ->type_name("BYTES");
}

void ModelSettings::resolve() {
  inputs.dims = run::parseDims(dims);
  if (!memoryLimit.empty())
    run::parseBytes(memoryLimit);
  if ((!dtype.empty() || !part.empty()) && !llvm::sys::fs::is_directory(path))
    throw run::UsageError(path +
                          " is no model folder; --dtype and --part are for folders of diffusers and transformers");
  if (!target.empty() && !isModelFile(path))
    throw run::UsageError(path +
                          " is compiled already, --target has no effect on it; give it the model, or leave it out");
  if (target != "cuda" && !gpus.empty())
    throw run::UsageError("--gpu names GPU architectures; it needs --target=cuda");
}

bool flame::tool::isModelFile(const std::string &path) {
  llvm::StringRef name(path);
  if (name.ends_with(".flame"))
    return false;
  if (name.ends_with(".onnx"))
    return true;
  char head[8] = {};
  std::ifstream(path, std::ios::binary).read(head, sizeof head);
  return std::memcmp(head + 4, "FLME", 4) != 0;
}

ArtifactBytes flame::tool::artifactOf(const ModelSettings &settings, Console &console, CompileOptions options) {
  ArtifactBytes result;
  // The weights of a model folder are in it.
  llvm::StringRef folder = llvm::sys::fs::is_directory(settings.path) ? llvm::StringRef(settings.path)
                                                                      : llvm::sys::path::parent_path(settings.path);
  result.weightsDirectory = !settings.weightsDirectory.empty() ? settings.weightsDirectory
                            : folder.empty()                   ? "."
                                                               : folder.str();
  if (!isModelFile(settings.path)) {
    auto file = llvm::MemoryBuffer::getFile(settings.path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!file)
      throw io::InputError(settings.path + ": " + file.getError().message());
    result.buffer = std::move(*file);
    if (reinterpret_cast<uintptr_t>(result.buffer->getBufferStart()) % 64) {
      // Small files are read rather than mapped.
      auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(result.buffer->getBufferSize(), "", llvm::Align(64));
      std::memcpy(copy->getBufferStart(), result.buffer->getBufferStart(), result.buffer->getBufferSize());
      result.buffer = std::move(copy);
    }
    return result;
  }
  options.cpu = settings.cpu;
  if (!settings.target.empty())
    options.target = settings.target;
  options.gpus = settings.gpus;
  options.dtype = settings.dtype;
  options.part = settings.part;
  // The sizes that it is about to run with.
  options.typicalDims = settings.inputs.dims;
  if (options.target == "cuda")
    if (cuda::DriverInfo driver = cuda::queryDriver(); driver.gpus.empty()) {
      console.error("--target=cuda runs the model on a GPU: " + driver.problem + "; " + driver.remedy +
                    ". Compiling needs no GPU: flamec compile --target=cuda");
      throw Exit{int(Status::Device)};
    }
  if (int code = compileWithProgress(settings.path, options, console, result.compiled))
    throw Exit{code};
  std::vector<uint8_t> &bytes = result.compiled.artifact;
  auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(bytes.size(), "", llvm::Align(64));
  std::memcpy(copy->getBufferStart(), bytes.data(), bytes.size());
  std::vector<uint8_t>().swap(bytes);
  result.buffer = std::move(copy);
  return result;
}

Module flame::tool::loadModule(const ArtifactBytes &bytes, const ModelSettings &settings, Console &console) {
  struct Log {
    Console &console;
    unsigned copied = 0;
  } log{console};
  Options options;
  options.threads = settings.threads;
  options.flags = FLAME_BORROW;
  options.weights_directory = bytes.weightsDirectory.c_str();
  if (!settings.memoryLimit.empty())
    options.memory_limit = run::parseBytes(settings.memoryLimit);
  options.log = [](flame_log_level level, const char *message, void *user) {
    auto &log = *static_cast<Log *>(user);
    if (level < FLAME_LOG_WARNING)
      return;
    // A message a weight would bury everything else.
    if (std::strstr(message, "not aligned"))
      ++log.copied;
    else
      log.console.warning(message);
  };
  options.log_user = &log;
  try {
    Module module = Module::loadMemory(bytes.span(), options);
    if (log.copied)
      console.warning(std::to_string(log.copied) + " weights are not aligned in their file and have been copied; " +
                      "`flamec compile --embed-weights` avoids that");
    return module;
  } catch (const RuntimeError &error) {
    std::string text = error.what();
    // The runtime knows the bytes, we know the file.
    if (size_t at = text.find("artifact in memory"); at == 0)
      text = settings.path + text.substr(std::strlen("artifact in memory"));
    throw RuntimeError(error.code(), text);
  }
}

Model flame::tool::loadModel(const ModelSettings &settings, Console &console, CompileOptions options) {
  Model model{artifactOf(settings, console, std::move(options)), {}};
  model.module = loadModule(model.bytes, settings, console);
  return model;
}

int flame::tool::explainingMemory(const Model &model, const ModelSettings &settings,
                                  const std::function<int()> &action) try {
  return action();
} catch (const RuntimeError &error) {
  if (error.code() != FLAME_OUT_OF_MEMORY)
    throw;
  std::string text = error.what();
  try {
    std::vector<std::vector<int64_t>> shapes;
    std::vector<flame_port> ports = model.module.inputs();
    for (const Value &input : io::resolveInputs(ports, settings.inputs))
      shapes.emplace_back(input.isTensor() ? std::vector<int64_t>(input.dims().begin(), input.dims().end())
                                           : std::vector<int64_t>());
    Module::Planned planned = model.module.plannedBytes(shapes);
    text += "; this run has a peak of " + std::string(planned.exact ? "" : "at least ") + formatBytes(planned.bytes) +
            " beside the weights";
    if (!settings.memoryLimit.empty())
      text += ", the limit is " + formatBytes(run::parseBytes(settings.memoryLimit));
    PlanView plan(model.bytes.span(), settings.path);
    std::string list;
    for (const auto &[name, bytes] : plan.largestTensors(shapes, 5))
      list += "\n  " + formatBytes(bytes) + "  " + name;
    if (!list.empty())
      text += ". The largest tensors:" + list;
  } catch (const std::exception &) {
    // The first message stands.
  }
  throw RuntimeError(FLAME_OUT_OF_MEMORY, text);
}

void MeasureSettings::add(CLI::App *app, const std::string &runs, const std::vector<std::string> &formats) {
  model.addModel(app);
  model.addTarget(app);
  model.addInputs(app);
  app->add_option("--seconds", seconds, "how long to measure; at least " + runs + " runs (default: 1)")
      ->check(CLI::Range(0.0, 86400.0).description(""))
      ->type_name("X");
  model.addThreads(app);
  model.addMemoryLimit(app);
  std::vector<std::string> all{"table"};
  all.insert(all.end(), formats.begin(), formats.end());
  std::string text = "table (default)";
  for (size_t i = 0; i < formats.size(); ++i)
    text += (i + 1 < formats.size() ? ", " : " or ") + formats[i];
  app->add_option("--format", format, text)->check(oneOf(all))->type_name("FORMAT");
}

int flame::tool::printMeasurement(MeasureSettings &settings, Console &console,
                                  const std::function<std::string(const Model &)> &measure) {
  settings.model.resolve();
  console.quiet = settings.format != "table";
  Model model = loadModel(settings.model, console);
  return explainingMemory(model, settings.model, [&] {
    std::string text = measure(model);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  });
}
