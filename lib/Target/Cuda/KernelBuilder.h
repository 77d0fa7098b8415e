//===- KernelBuilder.h - the function around a kernel's body ------------------------------------------------------===//
//
// Makes the function of a kernel and gives bodies their loads, stores and sizes. Buffers are memrefs of one dimension,
// so that a load prints as an array access.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H
#define FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H

#include "flame/Body/ElementBuilder.h"
#include "flame/Target/Cuda/Emitter.h"
#include "flame/Target/Cuda/ScheduleFile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/MapVector.h"
#include <functional>

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
  bool wgmma = false;      // code for sm_90a may use what it alone has
  ScheduleFile *schedules = nullptr;
  bool waitsLater = false; // the template that the body calls waits for the kernels before this one

  // BodyEnvironment
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index) override;
  void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index,
             mlir::Value scalar) override;
  mlir::Value expr(DimExpr e) override;
  bool isMaterialized(mlir::Value value) override;
  mlir::Value isInPlace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value result) override;

  /// Stores a compute scalar as result `result` of the region.
  void storeResult(ElementBuilder &e, unsigned result, mlir::ValueRange index, mlir::Value scalar);
  /// `at` is the index of a group of `width` neighbours, `group` its position; turns it into that of one of them. `dims` are
  /// those of the elements.
  void enterLane(ElementBuilder &e, llvm::SmallVectorImpl<mlir::Value> &at, mlir::Value group, llvm::ArrayRef<DimExpr> dims,
                 int width, int lane);
  /// `count` elements of shared memory.
  mlir::Value sharedMemory(mlir::Type type, int64_t count);
  /// `count` elements of the launch's dynamic shared memory, which grows by them; at most 16 bytes an element.
  mlir::Value dynamicSharedMemory(mlir::Type type, int64_t count);
  /// The launch's scratch memory as elements of `type`, and the session's state as 32-bit numbers; the caller sets
  /// kernel.scratch and kernel.state.
  mlir::Value scratchMemory(mlir::Type type);
  mlir::Value stateMemory();
  /// Blocks of the grid, index.
  mlir::Value gridSize();
  /// Where an element of an input lies that has been read already: storage scalar, or null. Asked before each load.
  std::function<mlir::Value(mlir::Value value, mlir::ValueRange index)> heldElement;
  /// Values beside inputs of which it has all elements.
  llvm::SmallDenseSet<mlir::Value, 1> heldValues;
  /// Inputs of the region that are read once and are far larger than the second-level cache.
  llvm::SmallDenseSet<unsigned> streams;
  void barrier();

  /// Closes the function, whose name is left as "kernel": arguments in the order of buffers, then sizes.
  void finish();

  /// True for an input of the region that is the same in every run: a weight, or what is computed from weights alone.
  bool isConstant(mlir::Value value);
  /// The buffer of an input or result of the region.
  mlir::Value bufferOf(mlir::Value value);
  mlir::Value resultBuffer(unsigned result);
  /// The position of a buffer among the kernel's.
  unsigned positionOf(mlir::Value buffer) { return mlir::cast<mlir::BlockArgument>(buffer).getArgNumber(); }

private:
  mlir::Value buffer(unsigned position, mlir::Type elementType);
  mlir::Value extraPointer(mlir::StringRef name, mlir::Type elementType);
  bool fitsInt();

  mlir::OpBuilder entry; // before everything else of the body
  llvm::DenseMap<unsigned, mlir::Value> buffers;
  llvm::DenseMap<DimExpr, mlir::Value> sizes;
  llvm::MapVector<llvm::StringRef, mlir::Value> extras; // become arguments behind the sizes
  mlir::Value grid;
};

/// What is read from memory twice is read once.
void shareLoads(mlir::func::FuncOp function);
/// A comparison of one of several neighbours with a border that lies between groups of them becomes that of the first.
void compareStarts(mlir::func::FuncOp function);
/// Branches of a block on the same condition become one; see MergeBranches.cpp.
void mergeBranches(mlir::func::FuncOp function);
/// Branches whose sides differ in offsets and signs alone become straight code; see UnifyBranches.cpp.
void unifyBranches(mlir::func::FuncOp function);
/// Many quotients of one divisor, rounded to narrow floats, need one division; see ShareReciprocals.cpp.
void shareReciprocals(mlir::func::FuncOp function);
/// On an op whose result is 1 / x, computed elsewhere.
constexpr llvm::StringLiteral isReciprocalNumber = "flame.reciprocal";
/// On an argument that is one of KernelBuilder::streams.
constexpr llvm::StringLiteral isStream = "flame.stream";
/// Factors that many elements have in common are multiplied once; see ShareFactors.cpp.
void shareFactors(mlir::func::FuncOp function);
/// Neighbouring loads and stores become one access each; see PackMemory.cpp.
void packMemory(mlir::func::FuncOp function);

/// The widest power of two of elements of which a thread computes neighbours: 16 bytes of the widest type that the region
/// reads or writes by `last`, its last dim; 1 where that dim is unknown, odd or `elements` are so few that threads
/// would have nothing to do.
int vectorWidth(KernelBuilder &kernel, DimExpr last, DimExpr elements);

/// False, and nothing done, for a region that is no transpose with pointwise ops around it.
bool emitTranspose(KernelBuilder &kernel);

/// False, and nothing done, for a region whose results are not functions of reductions over many elements.
bool emitReduce(KernelBuilder &kernel);

/// False, and nothing done, for a region that is no scan, or one of short columns.
bool emitScan(KernelBuilder &kernel);

/// False, and nothing done, for a region that doesn't scatter slices of inputs into one of them.
bool emitScatter(KernelBuilder &kernel);

/// What the kernels of the anchors are made by. Each fills in the body, `extent` and `threads`.
mlir::LogicalResult emitLoop(KernelBuilder &kernel);
mlir::LogicalResult emitLoops(KernelBuilder &kernel);
mlir::LogicalResult emitRow(KernelBuilder &kernel);
/// A row program whose rows are shared by several blocks; see EmitSplitRow.cpp. False, and nothing done, where rows are short
/// or of unknown length. `outer` are the dims of the rows, `inner` those of a row.
mlir::FailureOr<bool> emitSplitRow(KernelBuilder &kernel, llvm::ArrayRef<mlir::Operation *> reductions,
                                   llvm::ArrayRef<DimExpr> outer, llvm::ArrayRef<DimExpr> inner);
mlir::LogicalResult emitContract(KernelBuilder &kernel);
mlir::LogicalResult emitConv(KernelBuilder &kernel);
mlir::LogicalResult emitAttention(KernelBuilder &kernel);
mlir::LogicalResult emitTopK(KernelBuilder &kernel);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_KERNELBUILDER_H
