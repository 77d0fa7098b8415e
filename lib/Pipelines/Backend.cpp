//===- Backend.cpp - the CPU and CUDA targets as parts of a compilation -----------------------------------------------===//
#include "Backend.h"
#include "flame/Target/Cpu/Emitter.h"
#include "flame/Target/Cpu/Passes.h"
#include "flame/Target/Cuda/Compile.h"
#include "flame/Target/Cuda/Device.h"
#include "flame/Target/Cuda/EditedKernels.h"
#include "flame/Target/Cuda/Passes.h"
#include "flame/Target/Cuda/ScheduleFile.h"
#include "flame/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"

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
  CudaBackend(MLIRContext *context, std::vector<std::string> architectures, std::string cacheFolder, bool tf32,
              cuda::ScheduleFile file)
      : file(std::move(file)), emitter(context, tf32, llvm::is_contained(architectures, "sm_90a"), &this->file),
        architectures(std::move(architectures)), cacheFolder(std::move(cacheFolder)), tf32(tf32) {}

  void addPasses(OpPassManager &passes) override {
    passes.addNestedPass<func::FuncOp>(createScaleAfterProducts());
    passes.addNestedPass<func::FuncOp>(createWidenWeights());
    passes.addNestedPass<func::FuncOp>(createJoinProducts());
    passes.addNestedPass<func::FuncOp>(createSinkConvTransposes());
    // The parts of a joined product are taken behind the reshapes that split them.
    passes.addNestedPass<func::FuncOp>(createSimplifyLayout());
    passes.addNestedPass<func::FuncOp>(createSplitProducts({tf32}));
    passes.addNestedPass<func::FuncOp>(createCSEPass());
    passes.addNestedPass<func::FuncOp>(createNormChannelsLast());
  }
  void addRegionPasses(OpPassManager &passes) override {
    if (isOnlyWgmma())
      passes.addNestedPass<func::FuncOp>(cuda::createAbsorbSegmentsPass());
    passes.addNestedPass<func::FuncOp>(cuda::createAbsorbFoldsPass(llvm::is_contained(architectures, "sm_90a"), tf32));
    passes.addNestedPass<func::FuncOp>(cuda::createAssignLayoutPass(tf32));
  }
  FormRegionsOptions regionOptions() const override {
    // Registers hold results of larger heads only where warpgroups share them.
    return {/*attention=*/true, /*topk=*/true, /*siblings=*/true, /*joined=*/true, /*channelsLast=*/true,
            /*paired=*/true, /*tf32=*/tf32, /*largestHead=*/isOnlyWgmma() ? 512 : 256};
  }
  FailureOr<KernelLaunch> emit(RegionOp region, ShapeContext &shapes) override {
    FailureOr<cuda::Kernel> kernel = emitter.emit(region, shapes);
    if (failed(kernel))
      return failure();
    KernelLaunch launch{std::move(kernel->symbol), std::move(kernel->buffers), std::move(kernel->args), kernel->extent};
    launch.threads = kernel->threads;
    launch.shared = kernel->shared;
    launch.scratch = kernel->scratch;
    launch.state = kernel->state;
    launch.cooperative = kernel->cooperative;
    launch.leastBlocks = kernel->leastBlocks;
    launch.sharedBefore90 = kernel->sharedBefore90;
    launch.wgmmaThreads = kernel->wgmma.threads;
    launch.wgmmaShared = kernel->wgmma.shared;
    launch.wgmmaCluster = kernel->wgmma.cluster;
    launch.wgmmaExtent = kernel->wgmma.extent;
    for (cuda::TensorMap &map : kernel->wgmma.tensors)
      launch.tensors.push_back({map.buffer, map.elementType, map.offset, std::move(map.dims), std::move(map.strides),
                                std::move(map.box), map.tf32, std::move(map.lower), std::move(map.upper),
                                std::move(map.steps)});
    // Blocks that wait for each other must all find a place, so they start when the kernels before them have gone.
    launch.waits = !kernel->cooperative;
    return launch;
  }
  unsigned kernels() const override { return emitter.size(); }
  std::string text() override { return emitter.source(); }
  std::string schedules() override { return file.text(); }
  std::string unused() override { return file.unused(); }
  void describe(model::Plan &plan) override {
    plan.device = model::Device::Cuda;
    plan.properties = {{"target", "cuda"}, {"gpu", llvm::join(architectures, ",")}};
    if (tf32)
      plan.properties.push_back({"precision", "tf32"});
  }
  llvm::Error replaceKernels(llvm::StringRef path) override {
    llvm::Expected<cuda::Unit> unit = cuda::readEditedKernels(path, emitter);
    if (!unit)
      return unit.takeError();
    replaced = std::move(*unit);
    return llvm::Error::success();
  }
  llvm::Error finish(unsigned threads, llvm::function_ref<void(unsigned, unsigned)> progress,
                     model::Plan &plan) override {
    if (emitter.size() == 0)
      return llvm::Error::success();
    auto nvrtc = cuda::Nvrtc::load();
    if (!nvrtc)
      return nvrtc.takeError();
    plan.properties.push_back({"nvrtc", (*nvrtc)->version()});
    std::vector<cuda::Unit> units = replaced ? std::vector{*replaced} : emitter.units();
    llvm::StringMap<int32_t> unitOf;
    for (auto [i, unit] : llvm::enumerate(units))
      for (const cuda::Unit::Part &part : unit.parts)
        unitOf[part.symbol] = i;
    for (model::Kernel &kernel : plan.kernels) {
      kernel.unit = unitOf.at(kernel.symbol);
      kernel.waits &= !replaced; // a person's kernels need not know of it
    }
    if (replaced)
      plan.properties.push_back({"kernels", "edited"});
    // Told in kernels: a unit for one of several architectures is a part of its kernels.
    size_t codes = units.size() * architectures.size();
    FileCache cache(cacheFolder);
    auto compiled = cuda::compileUnits(**nvrtc, units, architectures, threads, cache, [&](unsigned done) {
      progress(uint64_t(emitter.size()) * done / codes, emitter.size());
    });
    if (!compiled) {
      badSource = replaced.has_value();
      return compiled.takeError();
    }
    cached = uint64_t(emitter.size()) * compiled->cached / codes;
    for (auto [i, code] : llvm::enumerate(compiled->codes)) {
      const std::string &architecture = architectures[i % architectures.size()];
      bool ptx = llvm::StringRef(architecture).starts_with("compute_");
      plan.codes.push_back({ptx ? model::CodeFormat::Ptx : model::CodeFormat::Cubin,
                            architecture,
                            {},
                            std::move(code),
                            int32_t(i / architectures.size())});
    }
    return llvm::Error::success();
  }

private:
  bool isOnlyWgmma() const { return llvm::all_equal(architectures) && architectures.front() == "sm_90a"; }

  cuda::ScheduleFile file;
  cuda::Emitter emitter;
  std::vector<std::string> architectures;
  std::string cacheFolder;
  bool tf32;
  std::optional<cuda::Unit> replaced;
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
  for (const std::string &name : options.gpus.empty() ? cuda::defaultArchitectures() : options.gpus) {
    if (!cuda::isArchitecture(name))
      return llvm::createStringError("'" + name + "' is no GPU architecture; give for example sm_90a, sm_86 or compute_80");
    if (!cuda::runsKernels(name))
      return llvm::createStringError("'" + name + "' is too old: kernels need sm_80 or newer; compile for --target=cpu instead");
    if (!llvm::is_contained(architectures, name))
      architectures.push_back(name);
  }
  llvm::Expected<cuda::ScheduleFile> schedules = cuda::ScheduleFile::open(options.scheduleFile);
  if (!schedules)
    return schedules.takeError();
  return std::make_unique<CudaBackend>(context, std::move(architectures),
                                       options.cache ? FileCache::defaultFolder() : std::string(), options.tf32,
                                       std::move(*schedules));
}
