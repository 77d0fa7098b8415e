//===- KernelBuilder.h - the function around a kernel's body
//----------------------------------------------------------===//
//
// Makes the function of a kernel and gives bodies their loads, stores and sizes. Buffers are memrefs of one dimension,
// so that a load prints as an array access.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H
#define FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H

#include "flame/Body/ElementBuilder.h"
#include "flame/Target/Cuda/Emitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace flame::cuda {

class KernelBuilder : public BodyEnvironment {
public:
  KernelBuilder(RegionOp region, ShapeContext &shapes);

  RegionOp region;
  ShapeContext &shapes;
  mlir::Location loc;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::OpBuilder b;         // in the function's body
  mlir::Value block, thread; // index
  Kernel kernel;             // buffers and args are filled in as the body asks for them
  mlir::func::FuncOp function;
  llvm::SmallVector<const char *> templates; // files of runtime/kernels that the body calls

  // BodyEnvironment
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index) override;
  void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index,
             mlir::Value scalar) override;
  mlir::Value expr(DimExpr e) override;
  bool isMaterialized(mlir::Value value) override;

  /// Stores a compute scalar as result `result` of the region.
  void storeResult(ElementBuilder &e, unsigned result, mlir::ValueRange index, mlir::Value scalar);
  /// `count` elements of shared memory.
  mlir::Value sharedMemory(mlir::Type type, int64_t count);
  void barrier();

  /// Closes the function, whose name is left as "kernel": arguments in the order of buffers, then sizes.
  void finish();

  /// The buffer of an input or result of the region.
  mlir::Value bufferOf(mlir::Value value);
  mlir::Value resultBuffer(unsigned result);

private:
  mlir::Value buffer(unsigned position, mlir::Type elementType);
  bool fitsInt();

  mlir::OpBuilder entry; // before everything else of the body
  llvm::DenseMap<unsigned, mlir::Value> buffers;
  llvm::DenseMap<DimExpr, mlir::Value> sizes;
};

/// What the kernels of the anchors are made by. Each fills in the body, `extent` and `threads`.
mlir::LogicalResult emitLoop(KernelBuilder &kernel);
mlir::LogicalResult emitLoops(KernelBuilder &kernel);
mlir::LogicalResult emitRow(KernelBuilder &kernel);
mlir::LogicalResult emitContract(KernelBuilder &kernel);
mlir::LogicalResult emitConv(KernelBuilder &kernel);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H
