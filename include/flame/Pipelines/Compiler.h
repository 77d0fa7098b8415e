//===- Compiler.h - from a model file to an artifact ------------------------------------------------------------------===//
//
// The sole owner of pass order and options. Reports through callbacks, prints nothing.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_PIPELINES_COMPILER_H
#define FLAME_PIPELINES_COMPILER_H

#include "flame/Import/Onnx.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace flame {

/// The exit codes of the tools.
enum class Status {
  Ok = 0,
  Internal = 1,
  Usage = 2,
  BadInput = 3,
  Unsupported = 4,
  Accuracy = 5,
  OutOfMemory = 6,
  Device = 7,
  Interrupted = 130
};

enum class Stage { Artifact, OnnxIr, Flame, Regions, Kernels, Schedules, Plan };

struct CompileOptions {
  std::string target = "cpu"; // or "cuda"
  std::string cpu = "native";
  /// Cuda: machine code for these ("sm_90a"), and PTX ("compute_80") that newer GPUs translate when they load it.
  /// Empty: the GPUs present, otherwise sm_90a and compute_80.
  std::vector<std::string> gpus;
  /// Cuda: a file that takes the place of the generated kernels: their text (`Stage::Kernels`), edited.
  std::string kernelFile;
  /// Cuda: multiply f32 by matrix instructions, which take ten bits of each factor's fraction; sums stay f32.
  bool tf32 = false;
  /// Cuda: a file of schedules that take the place of those chosen (`Stage::Schedules` prints them).
  std::string scheduleFile;
  /// Cuda: keep compiled kernels for the next time, in FileCache::defaultFolder().
  bool cache = true;
  unsigned threads = 0; // 0: as many as the machine allows
  enum class Weights { Auto, Embed, External } weights = Weights::Auto;
  /// With `Auto`, weights of at most this many bytes are embedded; embedding takes three times their size while compiling.
  uint64_t embedLimit = 16ull << 20;
  /// Stop after this stage and leave its text in `CompileResult::text`.
  Stage stage = Stage::Artifact;
  /// Print the IR after passes of this name to `dump` ("all": after each).
  std::string dumpAfter;
  /// Every named tensor of the graph becomes an output, behind the graph's own: for comparing with another system.
  bool keepIntermediates = false;
  /// Cuda: symbolic dims and the sizes to tune kernels for; any other size works too.
  std::map<std::string, int64_t> typicalDims;
  /// Folders: the element type to compute in and the part to compile, as in HuggingFaceOptions.
  std::string dtype, part;
};

/// What the compiler is doing, for a progress display.
struct Progress {
  enum class Phase { Importing, Optimizing, Kernels } phase;
  unsigned done = 0, total = 0;
  std::string detail; // when a phase ends: "412 nodes, opset 21, 2.1 GB external"
  bool finished = false;
  double seconds = 0; // of a finished phase
};

struct CompileResult {
  Status status = Status::Ok;
  std::vector<std::string> errors; // complete messages
  std::vector<std::string> warnings;
  std::vector<uint8_t> artifact;
  std::string text; // of the stage asked for
  unsigned nodes = 0, kernels = 0, cachedKernels = 0;
  uint64_t weightBytes = 0;
  bool embedded = false;
  std::vector<std::string> weightFiles; // external, relative to the model's folder
  std::vector<SourceNode> graph;        // with keepIntermediates: nodes in the order in which they are computed
  size_t intermediates = 0;             // with keepIntermediates: outputs that were added, behind the graph's
};

/// Compiles an ONNX file, a model folder of diffusers or transformers, or a pipeline folder as one program.
CompileResult compileModel(const std::string &path, const CompileOptions &options,
                           std::function<void(const Progress &)> progress = {},
                           llvm::raw_ostream *dump = nullptr);

/// Dialects and facets that compiling needs.
void registerFlame(mlir::DialectRegistry &registry);
/// Passes for flame-opt.
void registerFlamePasses();
/// flame → flame, up to where regions are formed.
void buildOptimizationPipeline(mlir::OpPassManager &passes);

} // namespace flame

#endif // FLAME_PIPELINES_COMPILER_H
