//===- KernelBuilder.h - the function around a kernel's body ----------------------------------------------------------===//
//
// Makes the two functions of a kernel: `symbol`, which unpacks the array of buffers, and an inner function whose pointer
// parameters are `noalias`, so that LLVM's vectorisers need no run-time checks. Gives bodies their loads, stores and sizes.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CPU_KERNELBUILDER_H
#define FLAME_LIB_TARGET_CPU_KERNELBUILDER_H

#include "flame/Body/ElementBuilder.h"
#include "flame/Target/Cpu/Emitter.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace flame::cpu {

class KernelBuilder : public BodyEnvironment {
public:
  KernelBuilder(RegionOp region, ShapeContext &shapes, const Target &target);

  RegionOp region;
  ShapeContext &shapes;
  const Target &target;
  mlir::Location loc;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::OpBuilder b;                // in the inner function's body
  mlir::Value begin, end, scratch;  // index, index, !llvm.ptr
  Kernel kernel;                    // buffers and args are filled in as the body asks for them

  // BodyEnvironment
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index) override;
  void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index,
             mlir::Value scalar) override;
  mlir::Value expr(DimExpr e) override;
  bool isMaterialized(mlir::Value value) override;
  mlir::Value isInPlace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value result) override;

  /// The pointer to a region argument's or result's buffer.
  mlir::Value inputBuffer(mlir::BlockArgument argument) { return buffer(argument.getArgNumber()); }
  mlir::Value resultBuffer(unsigned result) { return buffer(region.getInputs().size() + result); }
  /// Address of element `position` of a buffer with elements of storage type `type`.
  mlir::Value address(mlir::OpBuilder &b, mlir::Location loc, mlir::Value pointer, mlir::Type type,
                      mlir::Value position);
  /// Stores a compute scalar as result `result` of the region.
  void storeResult(ElementBuilder &e, unsigned result, mlir::ValueRange index, mlir::Value scalar);

  /// Closes both functions; `symbol` is left as "kernel".
  void finish();

private:
  mlir::Value buffer(unsigned position);
  mlir::Value pointerOf(mlir::Value value);

  mlir::func::FuncOp inner;
  mlir::OpBuilder entry; // before everything else of the body
  llvm::DenseMap<unsigned, mlir::Value> buffers;
  llvm::DenseMap<DimExpr, mlir::Value> sizes;
};

/// What the kernels of the anchors are made by. Each fills in the body, `extent`, `grain` and `scratch`.
mlir::LogicalResult emitLoop(KernelBuilder &kernel);
mlir::LogicalResult emitRow(KernelBuilder &kernel);
mlir::LogicalResult emitLoops(KernelBuilder &kernel);
/// Matrix products and convolutions; what the blocked generators do not take is made by emitLoop.
mlir::LogicalResult emitContract(KernelBuilder &kernel);
mlir::LogicalResult emitConv(KernelBuilder &kernel);

/// Rough price of one iteration that computes one element of every op of the region, in simple operations.
int64_t elementPrice(RegionOp region);
/// Iterations that make a chunk worth a thread, where one costs `price` (a number of simple operations).
DimExpr grainFor(ShapeContext &shapes, DimExpr price);

} // namespace flame::cpu

#endif // FLAME_LIB_TARGET_CPU_KERNELBUILDER_H
