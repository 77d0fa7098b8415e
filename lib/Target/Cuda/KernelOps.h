//===- KernelOps.h - what kernels need beyond upstream's ops ------------------------------------------------------===//
//
// A call of a device template, and the functions that it is handed: a region with arguments that sees everything around
// it, which prints as a lambda. Upstream's functions are isolated, so they would need every buffer and size as an
// argument.
//
//   %f = kernel.function { ^bb0(%row: index, %sum: f32): … kernel.yield %x : f16 } {names = ["row", "sum"], name =
//   "body"} kernel.call(%in0, %f) {text = "flame::gemm<…>($0, $1)"}
//
// In the text of a call, $0, $1, … are its operands and $I the type of an index.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_KERNELOPS_H
#define FLAME_LIB_TARGET_CUDA_KERNELOPS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"

namespace flame::cuda {

class KernelDialect : public mlir::Dialect {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(KernelDialect)
  explicit KernelDialect(mlir::MLIRContext *context);
  static llvm::StringRef getDialectNamespace() { return "kernel"; }
};

class FunctionOp : public mlir::Op<FunctionOp, mlir::OpTrait::OneRegion, mlir::OpTrait::ZeroOperands,
                                   mlir::OpTrait::OneResult, mlir::OpTrait::ZeroSuccessors> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FunctionOp)
  using Op::Op;
  static llvm::StringRef getOperationName() { return "kernel.function"; }
  static llvm::ArrayRef<llvm::StringRef> getAttributeNames() { return {}; }
  /// `build` gets the arguments and gives what is returned; null for nothing.
  static mlir::Value create(mlir::OpBuilder &b, mlir::Location loc, llvm::StringRef name, mlir::TypeRange types,
                            llvm::ArrayRef<llvm::StringRef> names,
                            llvm::function_ref<mlir::Value(mlir::ValueRange)> build);
};

class YieldOp
    : public mlir::Op<YieldOp, mlir::OpTrait::ZeroRegions, mlir::OpTrait::VariadicOperands, mlir::OpTrait::ZeroResults,
                      mlir::OpTrait::ZeroSuccessors, mlir::OpTrait::IsTerminator> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(YieldOp)
  using Op::Op;
  static llvm::StringRef getOperationName() { return "kernel.yield"; }
  static llvm::ArrayRef<llvm::StringRef> getAttributeNames() { return {}; }
};

class CallOp : public mlir::Op<CallOp, mlir::OpTrait::ZeroRegions, mlir::OpTrait::VariadicOperands,
                               mlir::OpTrait::ZeroResults, mlir::OpTrait::ZeroSuccessors> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CallOp)
  using Op::Op;
  static llvm::StringRef getOperationName() { return "kernel.call"; }
  static llvm::ArrayRef<llvm::StringRef> getAttributeNames() { return {}; }
  /// `wgmma`, unless empty, is the text where the code is for sm_90a.
  static void create(mlir::OpBuilder &b, mlir::Location loc, llvm::StringRef text, mlir::ValueRange operands,
                     llvm::StringRef wgmma = {});
};

/// What a call gives: an index or a truth value. `text` as in CallOp.
class ValueOp : public mlir::Op<ValueOp, mlir::OpTrait::ZeroRegions, mlir::OpTrait::VariadicOperands,
                                mlir::OpTrait::OneResult, mlir::OpTrait::ZeroSuccessors> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ValueOp)
  using Op::Op;
  static llvm::StringRef getOperationName() { return "kernel.value"; }
  static llvm::ArrayRef<llvm::StringRef> getAttributeNames() { return {}; }
  static mlir::Value create(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type, llvm::StringRef text,
                            mlir::ValueRange operands);
};

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_KERNELOPS_H
