//===- Codegen.cpp - LLVM modules to object files ---------------------------------------------------------------------===//
#include "Lowering.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include <mutex>

using namespace llvm;
using namespace flame::cpu;

static void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
}

Expected<SmallVector<char, 0>> flame::cpu::compileObject(Module &module, const Target &machine) {
  initializeTargets();
  std::string message;
  Triple triple(machine.triple);
  const llvm::Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return createStringError("no code generator for " + machine.triple + ": " + message);
  TargetOptions options;
  options.FunctionSections = true;
  std::unique_ptr<TargetMachine> codegen(target->createTargetMachine(
      triple, machine.cpu, machine.features, options, Reloc::PIC_, CodeModel::Small, CodeGenOptLevel::Default));
  if (!codegen)
    return createStringError("no code generator for the processor " + machine.cpu);
  module.setTargetTriple(triple);
  module.setDataLayout(codegen->createDataLayout());
  module.setPICLevel(PICLevel::SmallPIC);
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", machine.cpu);
    if (!machine.features.empty())
      function.addFnAttr("target-features", machine.features);
    function.addFnAttr("prefer-vector-width", std::to_string(machine.vectorBytes * 8));
    function.addFnAttr(Attribute::NoUnwind);
    if (!function.hasLocalLinkage())
      function.setVisibility(GlobalValue::DefaultVisibility);
  }

  PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = tuning.LoopUnrolling = true;
  PassBuilder builder(codegen.get(), tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3).run(module, modules);

  SmallVector<char, 0> object;
  raw_svector_ostream stream(object);
  legacy::PassManager emission;
  if (codegen->addPassesToEmitFile(emission, stream, nullptr, CodeGenFileType::ObjectFile))
    return createStringError("the code generator for " + machine.triple + " can't write object files");
  emission.run(module);
  return object;
}
