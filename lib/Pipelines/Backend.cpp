//===- Backend.cpp - the CPU and CUDA targets as parts of a compilation -----------------------------------------------===//
#include "Backend.h"
#include "flame/Target/Cpu/Emitter.h"
#include "flame/Target/Cpu/Passes.h"
#include "flame/Target/Cuda/Emitter.h"
#include "flame/Target/Cuda/Nvrtc.h"
#include "llvm/ADT/StringExtras.h"
#include <thread>

using namespace mlir;
using namespace flame;

namespace {

class CpuBackend : public Backend {
public:
  CpuBackend(MLIRContext *context, cpu::Target target) : emitter(context, std::move(target)) {}

  void addPasses(OpPassManager &passes) override {
    passes.addNestedPass<func::FuncOp>(cpu::createPackContractionsPass(emitter.target().cpu));
  }
  FailureOr<KernelLaunch> emit(RegionOp region, ShapeContext &shapes) override {
    FailureOr<cpu::Kernel> kernel = emitter.emit(region, shapes);
    if (failed(kernel))
      return failure();
    return KernelLaunch{std::move(kernel->symbol), std::move(kernel->buffers), std::move(kernel->args),
                        kernel->extent, kernel->grain, kernel->scratch};
  }
  unsigned kernels() const override { return emitter.modules().size(); }
  std::string text() override {
    std::string text;
    llvm::raw_string_ostream stream(text);
    for (const auto &kernel : emitter.modules())
      const_cast<OwningOpRef<ModuleOp> &>(kernel)->print(stream);
    return text;
  }
  void describe(model::Plan &plan) override {
    plan.device = model::Device::Cpu;
    plan.properties = {{"target", "cpu"}, {"cpu", emitter.target().cpu}};
  }
  llvm::Error finish(unsigned threads, llvm::function_ref<void(unsigned, unsigned)> progress,
                     model::Plan &plan) override {
    if (emitter.modules().empty())
      return llvm::Error::success();
    auto compiled = emitter.finish(threads, progress);
    if (failed(compiled))
      return llvm::createStringError("");
    plan.codes.push_back({model::CodeFormat::ElfSharedObject, emitter.target().architecture(),
                          emitter.target().requiredFeatures(), std::move(*compiled)});
    return llvm::Error::success();
  }

private:
  cpu::Emitter emitter;
};

class CudaBackend : public Backend {
public:
  CudaBackend(MLIRContext *context, std::vector<std::string> architectures)
      : emitter(context), architectures(std::move(architectures)) {}

  FailureOr<KernelLaunch> emit(RegionOp region, ShapeContext &shapes) override {
    FailureOr<cuda::Kernel> kernel = emitter.emit(region, shapes);
    if (failed(kernel))
      return failure();
    KernelLaunch launch{std::move(kernel->symbol), std::move(kernel->buffers), std::move(kernel->args), kernel->extent};
    launch.threads = kernel->threads;
    launch.shared = kernel->shared;
    return launch;
  }
  unsigned kernels() const override { return emitter.size(); }
  std::string text() override { return emitter.source(); }
  void describe(model::Plan &plan) override {
    plan.device = model::Device::Cuda;
    plan.properties = {{"target", "cuda"}, {"gpu", llvm::join(architectures, ",")}};
  }
  llvm::Error finish(unsigned threads, llvm::function_ref<void(unsigned, unsigned)> progress,
                     model::Plan &plan) override {
    if (emitter.size() == 0)
      return llvm::Error::success();
    auto nvrtc = cuda::Nvrtc::load();
    if (!nvrtc)
      return nvrtc.takeError();
    plan.properties.push_back({"nvrtc", (*nvrtc)->version()});
    std::string source = emitter.source();
    // An architecture a thread; the order of the codes is that of the options.
    std::vector<llvm::Expected<std::vector<char>>> results;
    for (size_t i = 0; i < architectures.size(); ++i)
      results.emplace_back(std::vector<char>());
    progress(0, architectures.size());
    for (size_t begin = 0; begin < architectures.size(); begin += std::max(1u, threads)) {
      size_t end = std::min(architectures.size(), begin + std::max(1u, threads));
      std::vector<std::thread> workers;
      for (size_t i = begin; i < end; ++i)
        workers.emplace_back([&, i] {
          llvm::cantFail(results[i].takeError()); // the empty result
          results[i] = (*nvrtc)->compile(source, architectures[i]);
        });
      for (std::thread &worker : workers)
        worker.join();
      progress(end, architectures.size());
    }
    llvm::Error error = llvm::Error::success();
    for (auto [architecture, result] : llvm::zip(architectures, results)) {
      if (!result) {
        error = llvm::joinErrors(std::move(error), result.takeError());
        continue;
      }
      bool ptx = llvm::StringRef(architecture).starts_with("compute_");
      plan.codes.push_back({ptx ? model::CodeFormat::Ptx : model::CodeFormat::Cubin, architecture, {}, std::move(*result)});
    }
    return error;
  }

private:
  cuda::Emitter emitter;
  std::vector<std::string> architectures;
};

} // namespace

llvm::Expected<std::unique_ptr<Backend>> Backend::create(const CompileOptions &options, MLIRContext *context) {
  if (options.target == "cpu") {
    llvm::Expected<cpu::Target> target = cpu::Target::parse(options.cpu);
    if (!target)
      return target.takeError();
    return std::make_unique<CpuBackend>(context, std::move(*target));
  }
  if (options.target != "cuda")
    return llvm::createStringError("there is no target '" + options.target + "'; there are cpu and cuda");
  std::vector<std::string> architectures;
  for (const std::string &name : options.gpus) {
    if (!cuda::isArchitecture(name))
      return llvm::createStringError("'" + name + "' is no GPU architecture; give for example sm_90a, sm_86 or compute_80");
    if (!llvm::is_contained(architectures, name))
      architectures.push_back(name);
  }
  if (architectures.empty())
    return llvm::createStringError("no GPU architecture is given; give for example sm_90a");
  return std::make_unique<CudaBackend>(context, std::move(architectures));
}
