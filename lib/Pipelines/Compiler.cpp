//===- Compiler.cpp - the phases of a compilation ---------------------------------------------------------------------===//
#include "flame/Pipelines/Compiler.h"
#include "Backend.h"
#include "flame/Analysis/Cost.h"
#include "flame/Body/Bodies.h"
#include "flame/Conversion/ToPlan.h"
#include "flame/Import/HuggingFace.h"
#include "flame/Import/Onnx.h"
#include "flame/Regions/FormRegions.h"
#include "flame/Support/Version.h"
#include "flame/Target/Cpu/Emitter.h"
#include "flame/Target/Cpu/Passes.h"
#include "flame/Target/Cuda/Emitter.h"
#include "flame/Target/Cuda/Passes.h"
#include "flame/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"
#include <chrono>
#include <set>

using namespace mlir;
using namespace flame;

void flame::registerFlame(DialectRegistry &registry) {
  registry.insert<FlameDialect, func::FuncDialect>();
  registerAllBodies(registry);
  registerAllCosts(registry);
  cpu::registerCpuDialects(registry);
  cuda::registerCudaDialects(registry);
}

void flame::buildOptimizationPipeline(OpPassManager &passes) {
  // 1. Fold, drop what has no effect, share equal computations.
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
  // 2. Heads that share keys and values; reshapes and transposes to where they cancel.
  passes.addNestedPass<func::FuncOp>(createGroupHeads());
  passes.addNestedPass<func::FuncOp>(createSimplifyLayout());
  // 3. Factors and offsets of channels into the weights before them.
  passes.addNestedPass<func::FuncOp>(createFoldBatchNorm());
  // 4. What that leaves: transposes into products, equal computations.
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
}


void flame::registerFlamePasses() {
  registerTransformsPasses();
  registerFlameTransformsPasses();
  registerPass([] { return createFormRegionsPass(); });
  cpu::registerCpuPasses();
  cuda::registerCudaPasses();
}

namespace {

class Compilation {
public:
  Compilation(const std::string &path, const CompileOptions &options, std::function<void(const Progress &)> progress,
              llvm::raw_ostream *dump)
      : path(withoutSlashes(path)), isFolder(llvm::sys::fs::is_directory(path)), options(options),
        report(std::move(progress)), dump(dump), context(registry(), MLIRContext::Threading::DISABLED) {}

  CompileResult run() {
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) { return collect(diagnostic); });
    if (!import() || !tune())
      return std::move(result);
    if (options.stage == Stage::OnnxIr)
      return textOf(*module);
    if (auto made = Backend::create(options, &context)) {
      backend = std::move(*made);
    } else {
      fail(Status::Usage, llvm::toString(made.takeError()));
      return std::move(result);
    }
    begin(Progress::Phase::Optimizing);
    unsigned passes = 0;
    if (!runPasses(buildOptimizationPipeline, passes))
      return std::move(result);
    if (options.stage == Stage::Flame)
      return textOf(*module);
    auto formRegions = [&](OpPassManager &manager) {
      // 5. What the target wants: on the CPU, weights in the order in which contractions read them.
      backend->addPasses(manager);
      // 6. Decide which ops share a kernel.
      manager.addNestedPass<func::FuncOp>(createFormRegionsPass(backend->regionOptions()));
      // 7. What the target wants of them: on a GPU, images in the order in which convolutions read them.
      backend->addRegionPasses(manager);
    };
    if (!runPasses(formRegions, passes))
      return std::move(result);
    end(Progress::Phase::Optimizing, std::to_string(passes) + " passes");
    if (options.stage == Stage::Regions)
      return textOf(*module);
    generate();
    return std::move(result);
  }

private:
  static DialectRegistry &registry() {
    static DialectRegistry *registry = [] {
      auto *made = new DialectRegistry;
      registerFlame(*made);
      return made;
    }();
    return *registry;
  }

  /// Turns a diagnostic into a message that names the model's file and node.
  LogicalResult collect(Diagnostic &diagnostic) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << path << ": ";
    Location loc = diagnostic.getLocation();
    if (auto fused = dyn_cast<FusedLoc>(loc); fused && !fused.getLocations().empty())
      loc = fused.getLocations().back();
    if (auto name = dyn_cast<NameLoc>(loc))
      stream << "node '" << name.getName().strref() << "': ";
    stream << diagnostic.str();
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      result.errors.push_back(text);
    else if (diagnostic.getSeverity() == DiagnosticSeverity::Warning)
      result.warnings.push_back(text);
    return success();
  }

  bool fail(Status status, const std::string &message = "") {
    result.status = status;
    if (!message.empty())
      result.errors.push_back(message);
    return false;
  }

  CompileResult textOf(ModuleOp op) {
    llvm::raw_string_ostream stream(result.text);
    OpPrintingFlags flags;
    flags.elideLargeElementsAttrs(32);
    op.print(stream, flags);
    stream << "\n";
    return std::move(result);
  }

  void begin(Progress::Phase phase) {
    started = std::chrono::steady_clock::now();
    if (report)
      report({phase, 0, 0, {}, false, 0});
  }

  void end(Progress::Phase phase, const std::string &detail) {
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
    if (report)
      report({phase, 0, 0, detail, true, seconds.count()});
  }

  bool import() {
    begin(Progress::Phase::Importing);
    std::string detail;
    if (!(isFolder ? importFolder(detail) : importFile(detail)))
      return false;
    result.embedded = options.weights == CompileOptions::Weights::Embed ||
                      (options.weights == CompileOptions::Weights::Auto && result.weightBytes <= options.embedLimit);
    if (result.embedded)
      result.weightFiles.clear();
    end(Progress::Phase::Importing, detail);
    return true;
  }

  template <typename Imported> bool take(Imported &imported) {
    if (imported.status != ImportStatus::Ok) {
      result.errors.insert(result.errors.begin(), imported.errors.begin(), imported.errors.end());
      return fail(imported.status == ImportStatus::Unsupported ? Status::Unsupported : Status::BadInput);
    }
    module = std::move(imported.module);
    result.nodes = imported.numNodes;
    result.weightBytes = imported.weightBytes;
    result.weightFiles = std::move(imported.weightFiles);
    return true;
  }

  bool importFile(std::string &detail) {
    if (!options.dtype.empty() || !options.part.empty())
      return fail(Status::Usage, path + ": an element type to compute in and a part are for folders of diffusers and "
                                        "transformers; an ONNX model states its own types");
    OnnxImportOptions importOptions;
    importOptions.keepIntermediates = options.keepIntermediates;
    OnnxImportResult imported = importOnnx(&context, path, importOptions);
    detail = std::to_string(imported.numNodes) + " nodes, opset " + std::to_string(imported.opset);
    result.graph = std::move(imported.graph);
    result.intermediates = imported.intermediates;
    return take(imported);
  }

  /// Notes the sizes that kernels are tuned for, which take the place of the model builder's own.
  bool tune() {
    if (options.typicalDims.empty())
      return true;
    auto function = module->lookupSymbol<func::FuncOp>("main");
    std::set<std::string> known;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto dims = function.getArgAttrOfType<ArrayAttr>(i, "flame.dims"))
        for (StringAttr name : llvm::make_filter_range(llvm::map_range(dims, [](Attribute a) { return dyn_cast<StringAttr>(a); }), [](StringAttr name) { return bool(name); }))
          known.insert(name.str());
    NamedAttrList sizes(function->getAttrOfType<DictionaryAttr>("flame.typical_dims"));
    for (const auto &[name, size] : options.typicalDims) {
      if (!known.count(name))
        return fail(Status::Usage, path + ": no input has a symbolic dim '" + name + "'; " +
                                       (known.empty() ? "all sizes are fixed" : "there are: " + llvm::join(known, ", ")));
      sizes.set(name, IntegerAttr::get(IntegerType::get(&context, 64), size));
    }
    function->setAttr("flame.typical_dims", sizes.getDictionary(&context));
    return true;
  }

  bool importFolder(std::string &detail) {
    if (options.keepIntermediates)
      return fail(Status::Usage, path + ": intermediate tensors can be kept of ONNX models alone, a folder names none");
    HuggingFaceResult imported = importHuggingFace(&context, path, {options.dtype, options.part});
    detail = imported.className + (imported.part.empty() ? "" : " " + imported.part) + ", " +
             std::to_string(imported.numWeights) + " weights, " + imported.dtype;
    return take(imported);
  }

  bool runPasses(llvm::function_ref<void(OpPassManager &)> build, unsigned &count) {
    PassManager passes(&context);
#ifdef NDEBUG
    passes.enableVerifier(false);
#endif
    build(passes);
    count += passes.size();
    if (!options.dumpAfter.empty() && dump)
      passes.enableIRPrinting([](Pass *, Operation *) { return false; },
                              [&](Pass *pass, Operation *) {
                                return options.dumpAfter == "all" || options.dumpAfter == pass->getArgument();
                              },
                              true, false, false, *dump, OpPrintingFlags().elideLargeElementsAttrs(32));
    if (succeeded(passes.run(*module)))
      return true;
    return fail(Status::Internal, result.errors.empty() ? path + ": a pass failed" : "");
  }

  void generate() {
    auto function = module->lookupSymbol<func::FuncOp>("main");
    begin(Progress::Phase::Kernels);
    model::Plan plan;
    plan.name = llvm::sys::path::stem(path).str();
    plan.producer = std::string("flame ") + version();
    backend->describe(plan);
    ToPlanOptions planOptions;
    llvm::SmallString<256> folder = llvm::sys::path::parent_path(path);
    planOptions.modelFolder = isFolder ? path : folder.empty() ? "." : folder.str().str();
    planOptions.embedWeights = result.embedded;
    auto emit = [&](RegionOp region, ShapeContext &shapes) { return backend->emit(region, shapes); };
    if (failed(lowerToPlan(function, emit, planOptions, plan))) {
      fail(Status::Unsupported);
      return;
    }
    if (std::string unused = backend->unused(); !unused.empty()) {
      fail(Status::BadInput, unused);
      return;
    }
    if (options.stage == Stage::Schedules) {
      result.text = backend->schedules();
      return;
    }
    if (options.stage == Stage::Kernels) {
      result.text = backend->text();
      return;
    }
    if (options.stage == Stage::Plan) {
      result.text = model::printPlan(plan);
      return;
    }
    if (!options.kernelFile.empty())
      if (llvm::Error error = backend->replaceKernels(options.kernelFile)) {
        fail(Status::BadInput, llvm::toString(std::move(error)));
        return;
      }
    result.kernels = backend->kernels();
    unsigned threads = options.threads ? options.threads : llvm::hardware_concurrency().compute_thread_count();
    auto progress = [&](unsigned done, unsigned total) {
      if (report)
        report({Progress::Phase::Kernels, done, total, {}, false, 0});
    };
    if (llvm::Error error = backend->finish(threads, progress, plan)) {
      std::string message = llvm::toString(std::move(error));
      if (message.empty() && result.errors.empty())
        message = "compiling the kernels failed";
      Status status = backend->sourceFailed()    ? Status::BadInput
                      : options.target == "cuda" ? Status::Device
                                                 : Status::Internal;
      fail(status, message.empty() ? "" : path + ": " + message);
      return;
    }
    result.artifact = model::writePlan(plan);
    result.cachedKernels = backend->cachedKernels();
    end(Progress::Phase::Kernels,
        std::to_string(result.kernels) + (result.kernels == 1 ? " kernel" : " kernels") +
            (result.cachedKernels ? ", " + std::to_string(result.cachedKernels) + " cached" : ""));
  }

  static std::string withoutSlashes(std::string path) {
    while (path.size() > 1 && path.back() == '/')
      path.pop_back();
    return path;
  }

  const std::string path;
  const bool isFolder;
  const CompileOptions &options;
  std::function<void(const Progress &)> report;
  llvm::raw_ostream *dump;
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<Backend> backend;
  CompileResult result;
  std::chrono::steady_clock::time_point started;
};

} // namespace

CompileResult flame::compileModel(const std::string &path, const CompileOptions &options,
                                  std::function<void(const Progress &)> progress, llvm::raw_ostream *dump) {
  return Compilation(path, options, std::move(progress), dump).run();
}
