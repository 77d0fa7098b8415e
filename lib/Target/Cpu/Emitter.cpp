//===- Emitter.cpp - collects and compiles the kernels of a model -----------------------------------------------------===//
//
// Kernels are compiled one module each, by several threads that take the next one not yet begun. Each has an LLVM context
// of its own, and objects are linked in order of emission, so that the bytes don't depend on the threads.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Target/Cpu/Emitter.h"
#include "KernelBuilder.h"
#include "Lowering.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include <condition_variable>
#include <thread>

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

void flame::cpu::registerCpuDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                  scf::SCFDialect, ub::UBDialect, vector::VectorDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

Emitter::Emitter(MLIRContext *context, Target target) : context(context), machine(std::move(target)) {
  context->loadDialect<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect, LLVM::LLVMDialect,
                       math::MathDialect, scf::SCFDialect, ub::UBDialect, vector::VectorDialect>();
}
Emitter::~Emitter() = default;

FailureOr<Kernel> Emitter::emit(RegionOp region, ShapeContext &shapes) {
  for (auto [argument, input] : llvm::zip(region.getBlock()->getArguments(), region.getInputs()))
    shapes.set(argument, shapes.info(input));
  KernelBuilder builder(region, shapes, machine);
  StringRef anchor = region.getAnchor();
  LogicalResult built = success();
  if (anchor == "row")
    built = emitRow(builder);
  else if (anchor == "loops")
    built = emitLoops(builder);
  else if (anchor == "contract")
    built = emitContract(builder);
  else if (anchor == "conv")
    built = emitConv(builder);
  else
    built = emitLoop(builder);
  if (failed(built))
    return failure();
  builder.finish();

  // Equal text, equal kernel. The symbol is put in only afterwards.
  std::string text;
  llvm::raw_string_ostream stream(text);
  builder.module->print(stream, OpPrintingFlags().useLocalScope());
  auto [entry, isNew] = symbols.try_emplace(text);
  if (isNew) {
    entry->second = (anchor + "_" + Twine(kernels.size())).str();
    auto outer = builder.module->lookupSymbol<func::FuncOp>("kernel");
    outer.setName(entry->second);
    auto inner = builder.module->lookupSymbol<func::FuncOp>("body");
    if (failed(SymbolTable::replaceAllSymbolUses(inner, StringAttr::get(context, entry->second + "_body"), *builder.module)))
      return failure();
    inner.setName(entry->second + "_body");
    kernels.push_back(std::move(builder.module));
  }
  builder.kernel.symbol = entry->second;
  return builder.kernel;
}

namespace {

/// What one kernel became: an object file, or why not.
struct Compiled {
  SmallVector<char, 0> object;
  std::string error;
};

} // namespace

static Compiled compileKernel(ModuleOp module, const Target &target) {
  Compiled compiled;
  expandMath(module, target);
  relaxReductions(module);
  if (failed(lowerToLlvm(module))) {
    compiled.error = "a kernel can't be lowered to LLVM";
    return compiled;
  }
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context, "kernel");
  if (!translated) {
    compiled.error = "a kernel can't be translated to LLVM IR";
    return compiled;
  }
  auto object = compileObject(*translated, target);
  if (object)
    compiled.object = std::move(*object);
  else
    compiled.error = toString(object.takeError());
  return compiled;
}

FailureOr<std::vector<char>> Emitter::finish(unsigned threads,
                                             llvm::function_ref<void(unsigned, unsigned)> progress) {
  unsigned total = kernels.size();
  // Attributes and types are made by all workers.
  bool threaded = context->isMultithreadingEnabled();
  if (threads > 1 && !threaded)
    context->enableMultithreading();
  std::vector<Compiled> results(total);
  std::mutex mutex;
  std::condition_variable changed;
  unsigned next = 0, done = 0;
  auto work = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    while (next < total) {
      unsigned i = next++;
      lock.unlock();
      results[i] = compileKernel(*kernels[i], machine);
      lock.lock();
      ++done;
      changed.notify_one();
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::max(1u, std::min(threads, total)); ++i)
    workers.emplace_back(work);
  {
    std::unique_lock<std::mutex> lock(mutex);
    unsigned reported = ~0u;
    while (done < total) {
      if (progress && reported != done) {
        reported = done;
        lock.unlock();
        progress(reported, total);
        lock.lock();
        continue;
      }
      changed.wait(lock);
    }
  }
  for (std::thread &worker : workers)
    worker.join();
  if (threads > 1 && !threaded)
    context->disableMultithreading();
  if (progress)
    progress(total, total);

  std::vector<SmallVector<char, 0>> objects;
  for (Compiled &result : results) {
    if (!result.error.empty())
      return emitError(UnknownLoc::get(context)) << result.error, failure();
    objects.push_back(std::move(result.object));
  }
  kernels.clear();
  symbols.clear();
  auto shared = linkShared(objects);
  if (!shared)
    return emitError(UnknownLoc::get(context)) << toString(shared.takeError()), failure();
  return std::move(*shared);
}
