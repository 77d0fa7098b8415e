//===- LowerToLlvm.cpp - kernels to the llvm dialect ------------------------------------------------------------------===//
//
// One conversion with the patterns of all dialects that kernels are built of. No pass manager: its setup costs more than
// the conversion of a small kernel.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Lowering.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/DialectConversion.h"

using namespace mlir;
using namespace flame::cpu;

void flame::cpu::relaxReductions(ModuleOp module) {
  module.walk([](scf::ForOp loop) {
    auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
    for (auto [carried, next] : llvm::zip(loop.getRegionIterArgs(), yield.getOperands())) {
      Operation *op = next.getDefiningOp();
      if (!op || !isa<arith::AddFOp, arith::MulFOp>(op) || !llvm::is_contained(op->getOperands(), Value(carried)) ||
          !carried.hasOneUse())
        continue;
      auto flags = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
      op->setAttr("fastmath", arith::FastMathFlagsAttr::get(op->getContext(), flags));
      // The product of a dot product may be fused into the addition.
      if (isa<arith::AddFOp>(op))
        for (Value operand : op->getOperands())
          if (auto product = operand.getDefiningOp<arith::MulFOp>())
            product->setAttr("fastmath", arith::FastMathFlagsAttr::get(op->getContext(), arith::FastMathFlags::contract));
    }
  });
}

LogicalResult flame::cpu::lowerToLlvm(ModuleOp module) {
  MLIRContext *context = module.getContext();
  LowerToLLVMOptions options(context);
  LLVMTypeConverter types(context, options);
  RewritePatternSet patterns(context);
  populateSCFToControlFlowConversionPatterns(patterns);
  arith::populateCeilFloorDivExpandOpsPatterns(patterns);
  arith::populateArithToLLVMConversionPatterns(types, patterns);
  cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  populateMathToLLVMConversionPatterns(types, patterns, /*approximateLog1p=*/false, /*benefit=*/2);
  populateMathToLibmConversionPatterns(patterns, /*benefit=*/1);
  populateVectorToLLVMConversionPatterns(types, patterns);
  ub::populateUBToLLVMConversionPatterns(types, patterns);
  populateFuncToLLVMConversionPatterns(types, patterns);
  LLVMConversionTarget target(*context);
  target.addLegalOp<ModuleOp>();
  return applyFullConversion(module, target, std::move(patterns));
}
