//===- Check.cpp - flamec check: every named tensor against a reference -----------------------------------------------===//
#include "Commands.h"
#include "Compare.h"
#include "Elements.h"
#include "Help.h"
#include "Model.h"
#include "Npy.h"
#include "Reference.h"
#include "Run.h"
#include "llvm/Support/FileSystem.h"
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

struct CheckSettings {
  ModelSettings model;
  std::string against = "onnxruntime", output, format = "table";
  std::optional<double> relative, absolute;
  bool all = false;
};

/// The largest magnitude of a float tensor's finite elements; 0 for other tensors.
double largestMagnitude(const Value &value) {
  double largest = 0;
  if (value.isTensor() && io::isFloatType(value.dtype()))
    for (size_t i = 0; i < value.elements(); ++i)
      if (double magnitude = std::abs(io::realElement(value, i)); std::isfinite(magnitude))
        largest = std::max(largest, magnitude);
  return largest;
}

/// As torch.testing.assert_close, for numbers of about 1. Both sides round: an element that cancels to almost nothing is off
/// by what its summands, and so the tensor's large elements, were rounded by; hence the absolute part grows with them.
io::Tolerance toleranceOf(flame_dtype dtype, double magnitude, const CheckSettings &settings) {
  io::Tolerance out{1.3e-6, 1e-5};
  switch (dtype) {
  case FLAME_F64:
  case FLAME_C128:
    out = {1e-7, 1e-7};
    break;
  case FLAME_F16:
    out = {1e-3, 1e-5};
    break;
  case FLAME_BF16:
    out = {1.6e-2, 1e-5};
    break;
  case FLAME_F8E4M3FN:
  case FLAME_F8E4M3FNUZ:
    out = {0.125, 0.002}; // half a unit of the last place, the smallest number
    break;
  case FLAME_F8E5M2:
  case FLAME_F8E5M2FNUZ:
    out = {0.25, 1.6e-5};
    break;
  default:
    break;
  }
  out.absolute *= std::max(1.0, magnitude);
  if (settings.relative)
    out.relative = *settings.relative;
  if (settings.absolute)
    out.absolute = *settings.absolute;
  return out;
}

/// A folder that goes with the object.
struct Scratch {
  llvm::SmallString<128> path;
  Scratch() {
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("flame-check", path))
      throw io::InputError("no temporary folder can be made: " + error.message() + "; set TMPDIR");
  }
  ~Scratch() { llvm::sys::fs::remove_directories(path); }
};

struct Tensor {
  std::string name, node, opType;
  const SourceNode *source = nullptr; // null: unknown
  io::Comparison comparison;
  io::Tolerance tolerance;
};

class Check {
public:
  Check(CheckSettings &settings, Console &console) : settings(settings), console(console) {}

  int run() {
    CompileOptions options;
    options.keepIntermediates = true;
    if (!isModelFile(settings.model.path))
      throw run::UsageError(settings.model.path + ": check takes the model, not an artifact, for it compares what is "
                                                  "between the nodes; give it the ONNX file");
    model = loadModel(settings.model, console, options);
    return explainingMemory(model, settings.model, [&] { return compare(); });
  }

private:
  int compare() {
    std::vector<flame_port> inputs = model.module.inputs(), outputs = model.module.outputs();
    takeDataSet(inputs);
    if (settings.model.inputs.specs.empty() && settings.model.inputs.archive.empty())
      settings.model.inputs.randomOthers = true;
    feeds = io::resolveInputs(inputs, settings.model.inputs);
    results = Session(model.module).run(feeds, outputs.size());
    // The graph's own outputs come first.
    size_t own = outputs.size() - model.bytes.compiled.intermediates;
    Reference reference;
    if (settings.against == "cpu") {
      reference = runCpu(outputs);
    } else if (settings.against == "onnxruntime") {
      Scratch scratch;
      reference = runOnnxRuntime(settings.model.path, inputs, feeds, outputs, scratch.path.str().str(), console);
    } else {
      reference = readReference(settings.against, outputs, own);
    }

    std::map<std::string, size_t> position;
    for (size_t i = 0; i < outputs.size(); ++i)
      position[outputs[i].name] = i;
    std::vector<Tensor> tensors;
    std::set<std::string> made;
    auto consider = [&](const std::string &name, const SourceNode *node) {
      auto at = position.find(name);
      if (at == position.end() || !made.insert(name).second)
        return;
      auto expected = reference.values.find(name);
      if (expected == reference.values.end()) {
        ++missing;
        return;
      }
      Tensor tensor{name, node ? node->name : "", node ? node->opType : "", node, {}, {}};
      tensor.tolerance = toleranceOf(outputs[at->second].dtype, largestMagnitude(expected->second), settings);
      tensor.comparison = io::compare(results[at->second], expected->second, tensor.tolerance);
      tensors.push_back(std::move(tensor));
    };
    for (const SourceNode &node : model.bytes.compiled.graph)
      for (const std::string &name : node.outputs)
        consider(name, &node);
    for (const flame_port &port : outputs)
      consider(port.name, nullptr);

    const Tensor *first = nullptr;
    size_t bad = 0;
    for (const Tensor &tensor : tensors)
      if (!tensor.comparison.equal) {
        ++bad;
        first = first ? first : &tensor;
      }
    std::string folder = first ? writeNode(*first, position, reference) : "";
    if (settings.against == "cpu" && !first)
      compareFused(own, outputs, reference);
    if (settings.format == "json")
      printJson(tensors, first, reference, folder);
    else
      print(tensors, first, bad, reference, folder);
    if (!fusedDeviation.empty())
      console.error(settings.model.path +
                    ": every tensor agrees where each is an output, but compiled as for running, " + fusedDeviation +
                    ". Kernels that fuse more are at fault: flamec compile --emit=regions shows them");
    return first || !fusedDeviation.empty() ? int(Status::Accuracy) : 0;
  }

  /// Tensors that are outputs bound the fusion, so that the kernels are not those of a usual compilation: the graph's
  /// own outputs are compared with that, too.
  void compareFused(size_t own, const std::vector<flame_port> &outputs, const Reference &reference) {
    Model fused = loadModel(settings.model, console);
    std::vector<Value> values = Session(fused.module).run(feeds, own);
    for (size_t i = 0; i < own && fusedDeviation.empty(); ++i) {
      const Value &expected = reference.values.at(outputs[i].name);
      io::Tolerance tolerance = toleranceOf(outputs[i].dtype, largestMagnitude(expected), settings);
      if (io::Comparison comparison = io::compare(values[i], expected, tolerance); !comparison.equal)
        fusedDeviation = "'" + std::string(outputs[i].name) + "' deviates: " + comparison.message;
    }
  }

  /// The same graph, compiled for the CPU.
  Reference runCpu(const std::vector<flame_port> &outputs) {
    ModelSettings other = settings.model;
    other.target = "cpu";
    other.gpus.clear();
    CompileOptions options;
    options.keepIntermediates = true;
    Model cpu = loadModel(other, console, options);
    std::vector<Value> values = Session(cpu.module).run(feeds, outputs.size());
    Reference reference{"the CPU", {}};
    std::vector<flame_port> ports = cpu.module.outputs();
    for (size_t i = 0; i < ports.size(); ++i)
      reference.values[ports[i].name] = values[i];
    return reference;
  }

  /// A data set of the ONNX backend suite brings its inputs.
  void takeDataSet(const std::vector<flame_port> &inputs) {
    if (settings.against == "onnxruntime" || settings.against == "cpu" || !settings.model.inputs.specs.empty() ||
        settings.model.inputs.randomOthers)
      return;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (std::string file = settings.against + "/input_" + std::to_string(i) + ".pb"; fs::exists(file))
        settings.model.inputs.specs.push_back(std::string(inputs[i].name) + "=" + file);
  }

  /// The inputs of the tensor's node and both results, as .npy; gives the folder.
  std::string writeNode(const Tensor &tensor, const std::map<std::string, size_t> &position, const Reference &reference) {
    std::string folder = settings.output;
    if (folder.empty()) {
      llvm::SmallString<128> path;
      if (llvm::sys::fs::createUniqueDirectory("flame-check", path))
        return "";
      folder = path.str().str();
    }
    std::error_code error;
    fs::create_directories(folder, error);
    auto write = [&](const std::string &name, const Value &value) {
      if (value && value.isTensor())
        io::writeNpy(folder + "/" + run::fileName(name) + ".npy", value);
    };
    write("flame-" + tensor.name, results[position.at(tensor.name)]);
    write("expected-" + tensor.name, reference.values.at(tensor.name));
    std::vector<flame_port> inputs = model.module.inputs();
    for (const std::string &name : tensor.source ? tensor.source->inputs : std::vector<std::string>()) {
      if (auto at = position.find(name); at != position.end())
        write("input-" + name, results[at->second]);
      for (size_t i = 0; i < inputs.size(); ++i)
        if (name == inputs[i].name)
          write("input-" + name, feeds[i]);
    }
    return folder;
  }

  static std::string brief(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2e", value);
    return text;
  }

  static std::string nodeOf(const Tensor &tensor) {
    if (!tensor.source)
      return "";
    return tensor.node.empty() ? "the " + tensor.opType + " node without a name" : tensor.opType + " node '" + tensor.node + "'";
  }

  void print(const std::vector<Tensor> &tensors, const Tensor *first, size_t bad, const Reference &reference,
             const std::string &folder) {
    std::printf("%-4s %-32s %-16s %10s %10s\n", "", "tensor", "operator", "max abs", "max rel");
    double worst = 0;
    for (const Tensor &tensor : tensors) {
      worst = std::max(worst, tensor.comparison.maxAbsolute);
      if (settings.all || !tensor.comparison.equal || &tensor == &tensors.back())
        std::printf("%-4s %-32s %-16s %10s %10s\n", tensor.comparison.equal ? "ok" : "BAD", tensor.name.c_str(),
                    tensor.opType.c_str(), brief(tensor.comparison.maxAbsolute).c_str(),
                    brief(tensor.comparison.maxRelative).c_str());
    }
    std::string skipped = missing ? ", " + std::to_string(missing) + " not compared (no expected value)" : "";
    std::printf("%zu of %zu tensors agree with %s%s; largest difference %s\n", tensors.size() - bad, tensors.size(),
                reference.name.c_str(), skipped.c_str(), brief(worst).c_str());
    if (!first)
      return;
    std::printf("first deviation: '%s'%s\n  %s\n", first->name.c_str(),
                first->source ? (", made by " + nodeOf(*first)).c_str() : "", first->comparison.message.c_str());
    if (!folder.empty())
      std::printf("  the node's inputs and both results are in %s\n", folder.c_str());
    console.error(settings.model.path + ": '" + first->name + "' deviates from " + reference.name +
                  (first->source ? "; look at " + nodeOf(*first) : "") +
                  ". Rounding accumulates in deep models: --rtol and --atol allow more");
  }

  void printJson(const std::vector<Tensor> &tensors, const Tensor *first, const Reference &reference,
                 const std::string &folder) {
    Json list = Json::array();
    for (const Tensor &tensor : tensors)
      list.push_back({{"tensor", tensor.name},
                      {"node", tensor.node},
                      {"op", tensor.opType},
                      {"equal", tensor.comparison.equal},
                      {"elements", tensor.comparison.elements},
                      {"mismatches", tensor.comparison.mismatches},
                      {"max_abs", tensor.comparison.maxAbsolute},
                      {"max_rel", tensor.comparison.maxRelative},
                      {"rtol", tensor.tolerance.relative},
                      {"atol", tensor.tolerance.absolute}});
    Json out{{"model", settings.model.path},
             {"against", reference.name},
             {"agrees", first == nullptr && fusedDeviation.empty()},
             {"first_deviation", nullptr},
             {"inputs_folder", folder},
             {"not_compared", missing},
             {"tensors", list}};
    if (first)
      out["first_deviation"] = first->name;
    if (!fusedDeviation.empty())
      out["fused_deviation"] = fusedDeviation;
    std::puts(out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  }

  CheckSettings &settings;
  Console &console;
  Model model;
  std::vector<Value> feeds, results;
  size_t missing = 0;
  std::string fusedDeviation; // of the model as it is compiled for running; empty: none
};

} // namespace

Command flame::tool::addCheck(CLI::App &app, Console &console) {
  auto settings = std::make_shared<CheckSettings>();
  CLI::App *sub = app.add_subcommand("check", "compare every tensor with ONNX Runtime, the CPU or expected outputs");
  document(
      sub,
      {"flamec check MODEL [--against onnxruntime|cpu|PATH] [--input NAME=VALUE]... [options]",
       "Compiles the model with every named tensor of its graph as an output, runs it, and compares each with the "
       "reference, in the order of the graph. Where one deviates, the first such tensor is named with its node, "
       "the node's inputs are written as .npy files, and the exit code is 5. Inputs that are not given are "
       "random. With --against cpu the graph's outputs are compared with those of the usual compilation, too, whose "
       "kernels fuse more.\n\nTolerances are those of torch.testing (relative, absolute): f64 1e-7, 1e-7; f32 1.3e-6, "
       "1e-5; "
       "f16 1e-3, 1e-5; bf16 1.6e-2, 1e-5; integers, booleans and strings must be equal. Since the "
       "reference rounds as well, the absolute part is taken times the tensor's largest element where that is "
       "beyond 1.\n\nONNX Runtime runs in "
       "a Python process: python3 from the PATH, or what FLAME_PYTHON names, with the package onnxruntime.",
       {{"Every tensor against ONNX Runtime:", "flamec check model.onnx --against onnxruntime"},
        {"The GPU against the CPU:", "flamec check model.onnx --target=cuda --against cpu"},
        {"A data set of the ONNX backend suite, inputs included:",
         "flamec check model.onnx --against test_data_set_0"}}});
  settings->model.addModel(sub);
  settings->model.addTarget(sub);
  sub->add_option("--against", settings->against,
                  "onnxruntime (default), cpu (flame's own kernels for the CPU, above all with --target=cuda), or "
                  "expected values: "
                  "an .npz, or a folder of NAME.npy or output_N.pb")
      ->type_name("REFERENCE");
  settings->model.addInputs(sub);
  sub->add_option("--rtol", settings->relative, "relative tolerance, for every type")->type_name("X");
  sub->add_option("--atol", settings->absolute, "absolute tolerance, for every type")->type_name("X");
  sub->add_option("-o,--output-dir", settings->output,
                  "where the inputs of the first node that deviates go (default: a new folder for temporary files)")
      ->type_name("DIR");
  sub->add_flag("--all", settings->all, "list the tensors that agree, too");
  settings->model.addThreads(sub);
  settings->model.addMemoryLimit(sub);
  sub->add_option("--format", settings->format, "table (default) or json")->check(oneOf({"table", "json"}))->type_name("FORMAT");
  return [settings, &console]() -> int {
    console.quiet = settings->format == "json";
    settings->model.resolve();
    return Check(*settings, console).run();
  };
}
