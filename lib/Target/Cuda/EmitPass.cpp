//===- EmitPass.cpp - flame-opt's view of the CUDA target -------------------------------------------------------------===//
//
// `--flame-emit-cuda` notes on each region how it is launched (attribute `cuda`) and prints the kernels as CUDA C++ on
// standard output. With `gpu=sm_90a` it compiles them by NVRTC as well and fails with its log.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/Emitter.h"
#include "flame/Target/Cuda/Nvrtc.h"
#include "flame/Target/Cuda/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

namespace {

struct EmitCudaPass : PassWrapper<EmitCudaPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCudaPass)
  EmitCudaPass() = default;
  EmitCudaPass(const EmitCudaPass &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "flame-emit-cuda"; }
  StringRef getDescription() const override { return "Print CUDA kernels of regions"; }
  void getDependentDialects(DialectRegistry &registry) const override { registerCudaDialects(registry); }

  Option<std::string> gpu{*this, "gpu", llvm::cl::desc("Architecture to compile for; empty: only print"),
                          llvm::cl::init("")};

  void runOnOperation() override {
    DimContext exprs;
    ShapeContext shapes(exprs);
    Emitter emitter(&getContext());
    WalkResult result = getOperation().walk([&](RegionOp region) {
      FailureOr<Kernel> kernel = emitter.emit(region, shapes);
      if (failed(kernel))
        return WalkResult::interrupt();
      OpBuilder b(region);
      SmallVector<Attribute> args;
      for (DimExpr arg : kernel->args)
        args.push_back(b.getStringAttr(arg.str()));
      SmallVector<int64_t> buffers(kernel->buffers.begin(), kernel->buffers.end());
      NamedAttribute fields[] = {b.getNamedAttr("symbol", b.getStringAttr(kernel->symbol)),
                                 b.getNamedAttr("buffers", b.getDenseI64ArrayAttr(buffers)),
                                 b.getNamedAttr("args", b.getArrayAttr(args)),
                                 b.getNamedAttr("blocks", b.getStringAttr(kernel->extent.str())),
                                 b.getNamedAttr("threads", b.getI64IntegerAttr(kernel->threads))};
      region->setAttr("cuda", b.getDictionaryAttr(fields));
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    std::string source = emitter.source();
    llvm::outs() << source;
    if (gpu.empty() || source.empty())
      return;
    auto nvrtc = Nvrtc::load();
    auto code = nvrtc ? (*nvrtc)->compile(source, gpu) : nvrtc.takeError();
    if (!code) {
      getOperation().emitError() << toString(code.takeError());
      signalPassFailure();
    }
  }
};

} // namespace

void flame::cuda::registerCudaPasses() {
  PassRegistration<EmitCudaPass>();
  registerPass([] { return createAssignLayoutPass(false); });
}
