//===- EmitPass.cpp - flame-opt's view of the CUDA target -------------------------------------------------------------===//
//
// `--flame-emit-cuda` notes on each region how it is launched (attribute `cuda`) and prints the kernels as CUDA C++ on
// standard output, with `wgmma` also their bodies for sm_90a. With `gpu=sm_90a` it compiles them by NVRTC as well and fails with its log.
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
  Option<bool> wgmma{*this, "wgmma", llvm::cl::desc("Give products bodies for sm_90a, too"), llvm::cl::init(false)};

  static DictionaryAttr describe(OpBuilder &b, const WgmmaLaunch &launch) {
    auto texts = [&](ArrayRef<DimExpr> exprs) {
      SmallVector<Attribute> list;
      for (DimExpr e : exprs)
        list.push_back(b.getStringAttr(e.str()));
      return b.getArrayAttr(list);
    };
    SmallVector<Attribute> tensors;
    for (const TensorMap &map : launch.tensors) {
      SmallVector<NamedAttribute> fields{b.getNamedAttr("buffer", b.getI64IntegerAttr(map.buffer)),
                                         b.getNamedAttr("type", TypeAttr::get(map.elementType)),
                                         b.getNamedAttr("offset", b.getStringAttr(map.offset.str())),
                                         b.getNamedAttr("dims", texts(map.dims)),
                                         b.getNamedAttr("strides", texts(map.strides)),
                                         b.getNamedAttr("box", b.getDenseI32ArrayAttr(map.box))};
      if (!map.steps.empty()) {
        fields.push_back(b.getNamedAttr("lower", b.getDenseI32ArrayAttr(map.lower)));
        fields.push_back(b.getNamedAttr("upper", b.getDenseI32ArrayAttr(map.upper)));
        fields.push_back(b.getNamedAttr("steps", b.getDenseI32ArrayAttr(map.steps)));
      }
      tensors.push_back(b.getDictionaryAttr(fields));
    }
    return b.getDictionaryAttr({b.getNamedAttr("blocks", b.getStringAttr(launch.extent.str())),
                                b.getNamedAttr("threads", b.getI64IntegerAttr(launch.threads)),
                                b.getNamedAttr("shared", b.getI64IntegerAttr(launch.shared)),
                                b.getNamedAttr("cluster", b.getI64IntegerAttr(launch.cluster)),
                                b.getNamedAttr("tensors", b.getArrayAttr(tensors))});
  }

  void runOnOperation() override {
    DimContext exprs;
    ShapeContext shapes(exprs);
    Emitter emitter(&getContext(), /*tf32=*/false, wgmma || gpu == "sm_90a");
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
      if (kernel->wgmma.threads)
        region->setAttr("wgmma", describe(b, kernel->wgmma));
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
  registerPass([] { return createAbsorbSegmentsPass(); });
  registerPass([] { return createAbsorbFoldsPass(false, false); });
  registerPass([] { return createAssignLayoutPass(false); });
}
