//===- EmitPass.cpp - flame-opt's view of the CPU target --------------------------------------------------------------===//
//
// `--flame-emit-cpu` notes on each region how it is launched (attribute `cpu`) and appends the kernels to the module.
// With `output=FILE` it compiles them as well: FILE is the shared object, FILE.json lists the launches.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Target/Cpu/Passes.h"
#include "flame/Target/Cpu/Emitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

namespace {

struct EmitCpuPass : PassWrapper<EmitCpuPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCpuPass)
  EmitCpuPass() = default;
  EmitCpuPass(const EmitCpuPass &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "flame-emit-cpu"; }
  StringRef getDescription() const override { return "Make CPU kernels of regions"; }
  void getDependentDialects(DialectRegistry &registry) const override { registerCpuDialects(registry); }

  Option<std::string> processor{*this, "target", llvm::cl::desc("Processor to compile for"),
                                llvm::cl::init("x86-64-v3")};
  Option<std::string> output{*this, "output", llvm::cl::desc("Write the shared object to this file"),
                             llvm::cl::init("")};
  Option<unsigned> threads{*this, "threads", llvm::cl::desc("Threads to compile with"), llvm::cl::init(1)};

  void runOnOperation() override {
    llvm::Expected<Target> target = Target::parse(processor);
    if (!target) {
      getOperation().emitError() << toString(target.takeError());
      return signalPassFailure();
    }
    DimContext exprs;
    ShapeContext shapes(exprs);
    Emitter emitter(&getContext(), *target);
    llvm::json::Array launches;
    WalkResult result = getOperation().walk([&](RegionOp region) {
      FailureOr<Kernel> kernel = emitter.emit(region, shapes);
      if (failed(kernel))
        return WalkResult::interrupt();
      launches.push_back(describe(region, *kernel));
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    OpBuilder b(&getContext());
    for (const OwningOpRef<ModuleOp> &module : emitter.modules())
      for (Operation &function : *const_cast<OwningOpRef<ModuleOp> &>(module)->getBody())
        getOperation().push_back(function.clone());
    if (!output.empty() && failed(write(emitter, std::move(launches))))
      signalPassFailure();
  }

  /// The launch as JSON, and as an attribute of the region.
  llvm::json::Object describe(RegionOp region, const Kernel &kernel) {
    OpBuilder b(region);
    SmallVector<Attribute> args;
    llvm::json::Array jsonArgs, jsonBuffers;
    for (DimExpr arg : kernel.args) {
      args.push_back(b.getStringAttr(arg.str()));
      jsonArgs.push_back(arg.str());
    }
    SmallVector<int64_t> buffers(kernel.buffers.begin(), kernel.buffers.end());
    for (int64_t buffer : buffers)
      jsonBuffers.push_back(buffer);
    SmallVector<NamedAttribute> fields = {
        b.getNamedAttr("symbol", b.getStringAttr(kernel.symbol)), b.getNamedAttr("buffers", b.getDenseI64ArrayAttr(buffers)),
        b.getNamedAttr("args", b.getArrayAttr(args)), b.getNamedAttr("extent", b.getStringAttr(kernel.extent.str())),
        b.getNamedAttr("grain", b.getStringAttr(kernel.grain.str()))};
    if (kernel.scratch)
      fields.push_back(b.getNamedAttr("scratch", b.getStringAttr(kernel.scratch.str())));
    region->setAttr("cpu", b.getDictionaryAttr(fields));
    return llvm::json::Object{{"symbol", kernel.symbol},
                              {"buffers", std::move(jsonBuffers)},
                              {"args", std::move(jsonArgs)},
                              {"extent", kernel.extent.str()},
                              {"grain", kernel.grain.str()},
                              {"scratch", kernel.scratch ? kernel.scratch.str() : "0"}};
  }

  LogicalResult write(Emitter &emitter, llvm::json::Array launches) {
    FailureOr<std::vector<char>> code = emitter.finish(threads);
    if (failed(code))
      return failure();
    std::error_code error;
    llvm::raw_fd_ostream object(output, error);
    if (!error) {
      object.write(code->data(), code->size());
      llvm::raw_fd_ostream json(output + ".json", error);
      if (!error)
        json << llvm::json::Value(std::move(launches)) << "\n";
    }
    if (error)
      return getOperation().emitError() << "can't write " << output << ": " << error.message();
    return success();
  }
};

} // namespace

void flame::cpu::registerEmitCpuPass() { PassRegistration<EmitCpuPass>(); }
