//===- Emitter.cpp - collects the kernels of a model --------------------------------------------------------------===//
#include "flame/Target/Cuda/Emitter.h"
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "Printer.h"
#include "Templates.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

void flame::cuda::registerCudaDialects(DialectRegistry &registry) {
  registry.insert<KernelDialect, arith::ArithDialect, func::FuncDialect, gpu::GPUDialect, math::MathDialect,
                  memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
}

Emitter::Emitter(MLIRContext *context, bool tf32, bool wgmma, ScheduleFile *schedules)
    : context(context), tf32(tf32), wgmma(wgmma), schedules(schedules) {
  context->loadDialect<KernelDialect, arith::ArithDialect, func::FuncDialect, gpu::GPUDialect, math::MathDialect,
                       memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
}

/// "matmul add relu (fc1, relu1)": the ops and the model's names of a region, for the comment over its kernel.
static std::string describe(RegionOp region) {
  std::string ops, nodes;
  for (Operation &op : region.getBlock()->without_terminator())
    if (op.getName().stripDialect() != "constant")
      ops += (ops.empty() ? "" : " ") + op.getName().stripDialect().str();
  llvm::SmallVector<StringRef> seen;
  region.getLoc()->walk([&](Location loc) {
    if (auto name = dyn_cast<NameLoc>(loc); name && !llvm::is_contained(seen, name.getName().strref()))
      seen.push_back(name.getName().strref());
    return WalkResult::advance();
  });
  for (StringRef name : seen)
    nodes += (nodes.empty() ? "" : ", ") + name.str();
  // A comment ends where the line does.
  std::string text = region.getAnchor().str() + ": " + ops + (nodes.empty() ? "" : " (" + nodes + ")");
  for (char &c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == '\\')
      c = '?';
  return text;
}

/// Brings a body to the form that the printer and the device's compiler make the best of.
static LogicalResult simplify(KernelBuilder &builder) {
  func::FuncOp function = builder.function;
  auto run = [&](auto... added) {
    PassManager passes(function.getContext());
    passes.enableVerifier(false);
    (passes.addPass(std::move(added)), ...);
    return passes.run(*builder.module);
  };
  auto hasChoices = [&] {
    return function
        .walk([](scf::IfOp op) { return op.getNumResults() ? WalkResult::interrupt() : WalkResult::advance(); })
        .wasInterrupted();
  };
  if (failed(run(createCSEPass(), createCanonicalizerPass())))
    return failure();
  shareLoads(function);
  compareStarts(function);
  shareReciprocals(function);
  if (failed(run(createCSEPass()))) // what the shared loads were turned into
    return failure();
  if (hasChoices()) {
    // Which side of a border an element lies on is known where the threads' share of a row ends at the border.
    if (failed(run(arith::createIntRangeOptimizationsPass(), createCanonicalizerPass(), createCSEPass())))
      return failure();
    mergeBranches(function);
    unifyBranches(function);
    shareLoads(function);
    if (failed(run(createCSEPass())))
      return failure();
  }
  shareFactors(function);
  packMemory(function);
  return success();
}

FailureOr<Kernel> Emitter::emit(RegionOp region, ShapeContext &shapes) {
  for (auto [argument, input] : llvm::zip(region.getBlock()->getArguments(), region.getInputs()))
    shapes.set(argument, shapes.info(input));
  KernelBuilder builder(region, shapes);
  builder.tf32 = tf32;
  builder.wgmma = wgmma;
  builder.schedules = schedules;
  StringRef anchor = region.getAnchor();
  LogicalResult built = anchor == "row"         ? emitRow(builder)
                        : anchor == "loops"     ? emitLoops(builder)
                        : anchor == "contract"  ? emitContract(builder)
                        : anchor == "conv"      ? emitConv(builder)
                        : anchor == "attention" ? emitAttention(builder)
                        : anchor == "topk"      ? emitTopK(builder)
                                                : emitLoop(builder);
  if (failed(built))
    return failure();
  builder.finish();
  if (failed(simplify(builder)))
    return region.emitOpError("has a kernel that can't be simplified");

  // Equal text, equal kernel. The symbol is put in only afterwards.
  std::string text;
  llvm::raw_string_ostream stream(text);
  builder.function.setName("kernel");
  if (failed(printKernel(builder.function, stream)))
    return failure();
  auto [entry, isNew] = symbols.try_emplace(text);
  if (isNew) {
    entry->second = (anchor + "_" + Twine(kernels.size())).str();
    size_t at = text.find("\nkernel(");
    text.replace(at + 1, 6, entry->second);
    std::string description = describe(region);
    kernels.push_back({entry->second, description, "// " + description + "\n" + text, {}});
    for (const char *name : builder.templates)
      kernels.back().templates.push_back(name);
  }
  builder.kernel.symbol = entry->second;
  return builder.kernel;
}

std::string Emitter::source() const {
  if (kernels.empty())
    return {};
  std::string all = kernelPrelude().str();
  llvm::StringSet<> seen;
  for (const KernelText &kernel : kernels)
    for (const std::string &name : kernel.templates)
      appendTemplate(name, seen, all);
  for (const KernelText &kernel : kernels)
    all += kernel.text;
  return all;
}

// A unit costs some 10 ms however small it is, and a module in the driver; a large one keeps other threads waiting at
// the end, and is compiled again as a whole where one of its kernels has changed.
static constexpr size_t kUnitBytes = 12 << 10;

std::vector<Unit> Emitter::units() const {
  // The kernels of each unit first: their templates come before them.
  std::vector<ArrayRef<KernelText>> groups;
  size_t bytes = 0;
  for (size_t i = 0; i < kernels.size(); ++i) {
    bytes += kernels[i].text.size();
    if (groups.empty() || bytes > kUnitBytes) {
      groups.push_back(ArrayRef(kernels).slice(i, 1));
      bytes = kernels[i].text.size();
    } else {
      groups.back() = ArrayRef(groups.back().data(), groups.back().size() + 1);
    }
  }
  std::vector<Unit> units;
  for (ArrayRef<KernelText> group : groups) {
    Unit unit{kernelPrelude().str(), {}};
    llvm::StringSet<> seen;
    for (const KernelText &kernel : group)
      for (const std::string &name : kernel.templates)
        appendTemplate(name, seen, unit.source);
    unsigned line = 1 + StringRef(unit.source).count('\n');
    for (const KernelText &kernel : group) {
      unit.parts.push_back({kernel.symbol, kernel.description, line});
      unit.source += kernel.text;
      line += StringRef(kernel.text).count('\n');
    }
    units.push_back(std::move(unit));
  }
  return units;
}
