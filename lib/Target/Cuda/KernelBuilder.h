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
  bool tf32 = false;       // products of f32 need not be strict
  bool waitsLater = false; // the template that the body calls waits for the kernels before this one

  // BodyEnvironment
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index) override;
  void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index,
             mlir::Value scalar) override;
  mlir::Value expr(DimExpr e) override;
  bool isMaterialized(mlir::Value value) override;

  /// Stores a compute scalar as result `result` of the region.
  void storeResult(ElementBuilder &e, unsigned result, mlir::ValueRange index, mlir::Value scalar);
  /// `at` is the index of a group of `width` neighbours, `group` its position; turns it into that of one of them. `dims` are
  /// those of the elements.
  void enterLane(ElementBuilder &e, llvm::SmallVectorImpl<mlir::Value> &at, mlir::Value group, llvm::ArrayRef<DimExpr> dims,
                 int width, int lane);
  /// `count` elements of shared memory.
  mlir::Value sharedMemory(mlir::Type type, int64_t count);
  void barrier();

  /// Closes the function, whose name is left as "kernel": arguments in the order of buffers, then sizes.
  void finish();

  /// True for an input of the region that is the same in every run: a weight, or what is computed from weights alone.
  bool isConstant(mlir::Value value);
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

/// What is read from memory twice is read once.
void shareLoads(mlir::func::FuncOp function);
/// A comparison of one of several neighbours with a border that lies between groups of them becomes that of the first.
void compareStarts(mlir::func::FuncOp function);
/// Branches of a block on the same condition become one; see MergeBranches.cpp.
void mergeBranches(mlir::func::FuncOp function);
/// Branches whose sides differ in offsets and signs alone become straight code; see UnifyBranches.cpp.
void unifyBranches(mlir::func::FuncOp function);
/// Neighbouring loads and stores become one access each; see PackMemory.cpp.
void packMemory(mlir::func::FuncOp function);

/// The widest power of two of elements of which a thread computes neighbours: 16 bytes of the widest type that the region
/// reads or writes by `last`, its last dim; 1 where that dim is unknown, odd or `elements` are so few that threads
/// would have nothing to do.
int vectorWidth(KernelBuilder &kernel, DimExpr last, DimExpr elements);

/// False, and nothing done, for a region that is no transpose with pointwise ops around it.
bool emitTranspose(KernelBuilder &kernel);

/// What the kernels of the anchors are made by. Each fills in the body, `extent` and `threads`.
mlir::LogicalResult emitLoop(KernelBuilder &kernel);
mlir::LogicalResult emitLoops(KernelBuilder &kernel);
mlir::LogicalResult emitRow(KernelBuilder &kernel);
mlir::LogicalResult emitContract(KernelBuilder &kernel);
mlir::LogicalResult emitConv(KernelBuilder &kernel);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H
