//===- SharedRow.h - what kernels have in common whose rows are shared by blocks ------------------------------------------===//
//
// A row is cut into pieces. Blocks count what they have of it, tell each other, join what all have counted, and compute the
// results of their pieces. Here: the elements of a piece that are in shared memory, its part of a reduction, and how the
// parts are joined. Of a mean and the mean of squared differences from it both are joined at once: a piece's squares
// are of differences from its own mean, and what the pieces' means differ by is added (Chan, Golub and LeVeque, 1983), which
// is as accurate as two passes. A maximum and the sum of exponentials of differences from it go the same way.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_SHAREDROW_H
#define FLAME_LIB_TARGET_CUDA_SHAREDROW_H

#include "JoinThreads.h"
#include "KernelOps.h"
#include "flame/Ops/Reduce.h"

namespace flame::cuda {

/// One reduction, or two that are joined at once: the mean and its squared differences, the maximum and the exponentials
/// of the differences from it.
struct RowStage {
  ReduceOp first, second;
};

/// Shorter rows, in bytes, are done sooner by one block than blocks can talk.
constexpr int64_t leastSharedRow = 128 << 10;
/// Bytes of a row of all inputs that have its dims, the first `outer` of which number the rows; 0 where a dim is unknown or 0.
int64_t bytesOfRow(KernelBuilder &kernel, llvm::ArrayRef<DimExpr> dims, size_t outer);

class SharedRowBuilder : public ElementBuilder {
public:
  SharedRowBuilder(KernelBuilder &kernel, llvm::ArrayRef<DimExpr> outer, llvm::ArrayRef<DimExpr> inner, int width);

  mlir::Value fold(llvm::ArrayRef<DimExpr> extents, mlir::Value init,
                   llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine,
                   llvm::function_ref<mlir::Value(mlir::ValueRange)> element) override;

protected:
  /// An input whose rows stay in shared memory.
  struct Held {
    mlir::BlockArgument input;
    mlir::Value memory; // groups of `width` elements, those of the first place where there are several
    int bytes;          // of a group
  };
  /// What of a piece is in shared memory.
  enum class Holds { Nothing, First, All };
  using Body = llvm::function_ref<Values(llvm::ArrayRef<Values>, mlir::ValueRange)>;

  KernelBuilder &kernel;
  llvm::ArrayRef<DimExpr> outer, inner;
  int width;
  DimExpr rows;
  int64_t columns = 1, groups; // of a row
  llvm::SmallVector<Held> held;
  int64_t capacity = 0; // groups of a piece that shared memory holds
  Holds holds = Holds::First;
  int unroll = 1;          // of the loop over a piece's groups
  int64_t turns = 0;       // groups of each thread, where all have as many in all pieces, which are few, and that is known
  int64_t evenPieces = 0;  // every piece begins at a multiple of so many groups and has no more; 0: not known
  int64_t placeBytes = 0;  // between places of pieces in shared memory
  mlir::Value place;       // which one; null: the first
  Values at;               // of the row
  // Of the piece and the threads that work on it.
  mlir::Value pieces, chunk, begin, count; // of the row; groups of a piece; this one's first and number
  mlir::Value member;                      // which piece it is
  mlir::Value self;                        // which thread of them this is
  int members = 0;                         // threads
  mlir::Value joinSelf;                    // the same of those that join pieces
  int joiners = warpSize;
  std::function<void()> syncMembers;

  llvm::SmallVector<unsigned> whole;                    // results of whole rows
  llvm::SmallVector<llvm::SmallVector<unsigned>> other; // those of one shape together

  mlir::Value loadShared(mlir::Value memory, mlir::Value position);
  mlir::Value ceilDivide(mlir::Value x, mlir::Value y) { return divi(subi(addi(x, y), index(1)), y); }
  void call(llvm::StringRef text, mlir::ValueRange operands) { CallOp::create(b, loc, text, operands); }

  /// Inputs of whole rows whose groups have a number of bytes that `fits`; then the bytes of a group of all of them.
  int64_t chooseHeld(llvm::function_ref<bool(int)> fits);
  void sortResults();
  /// From here on the elements of `held` are found in shared memory.
  void watchHeld();
  /// This thread's part of what is to be joined of a stage: one number or two.
  Values countStage(RowStage stage);
  /// A number of values, their mean and the sum of their squared differences from it.
  struct Moments {
    mlir::Value size, mean, squares;
  };
  /// Those of what this thread's warp has of a piece, for a stage that begins with a mean.
  Moments countWarp(RowStage stage);
  /// Those of `warps` warps together, each of which knows its own; `size` is that of all. A warp that goes on behind the one
  /// barrier may come again before another has read, if `turn`, 0 or 1, is another one then. `then` is built behind the barrier, for
  /// the first warp or, `everywhere`, for all.
  void joinWarps(Moments own, int warps, mlir::Value self, mlir::Value size, mlir::Value turn, bool everywhere,
                 llvm::function_ref<void(mlir::Value mean, mlir::Value squares)> then);
  /// Sets the results of a stage from those numbers of all pieces of the row, in shared memory.
  void joinStage(RowStage stage, mlir::ValueRange collected);
  /// Runs `body` with the indices of each group that this thread owns, what is held first.
  Values overPiece(llvm::ArrayRef<DimExpr> dims, mlir::ValueRange init, Body body,
                   llvm::function_ref<void(mlir::Value slot)> afterHeld = nullptr);
  void storeWhole(llvm::function_ref<void(mlir::Value slot)> afterHeld = nullptr);
  /// Results of other lengths than a row's, most often one number; `first` and `step` say which of them this thread stores.
  void storeOther(mlir::Value first, mlir::Value step);
  mlir::Value elementsIn(mlir::Value piece, mlir::Type type);
  /// Runs `body` with this thread's slots from `low` on: `known` of them, or if that is 0 as many as lie below `high`.
  Values overSlots(mlir::Value low, mlir::Value high, int64_t known, mlir::ValueRange init,
                   llvm::function_ref<Values(mlir::Value slot, mlir::ValueRange)> body);

private:
  /// How a reduction that is met by itself is made: in the loop that it is (of something else than a row), or its two parts.
  enum class Part { None, Count, Join };
  Part part = Part::None;
  mlir::Value counted; // by the reduction met last
  Values collected;
  using Key = llvm::SmallVector<mlir::Value, 6>;
  llvm::DenseMap<std::pair<mlir::Value, Key>, mlir::Value> elements; // of inputs, in shared memory

  static void appendKey(Key &key, llvm::ArrayRef<DimExpr> dims, mlir::ValueRange index);
  llvm::SmallVector<Values> neighbours(mlir::Value slot, llvm::ArrayRef<DimExpr> dims);
  void enterHeld(mlir::Value slot, llvm::ArrayRef<Values> group, llvm::ArrayRef<DimExpr> dims);
  Values overGroups(mlir::Value low, mlir::Value high, int64_t known, bool areHeld, llvm::ArrayRef<DimExpr> dims, mlir::ValueRange init,
                    Body body, llvm::function_ref<void(mlir::Value slot)> afterHeld = nullptr);
  /// Of this thread: how many elements it has, a number of its own, and of their differences from it the sum and that of the squares.
  struct Sums {
    mlir::Value size, shift, sum, squares;
  };
  Sums countThread(std::function<mlir::Value(mlir::ValueRange)> element, mlir::Type type);
  mlir::Value squaresFrom(const Sums &own, mlir::Value mean, mlir::Type type);
  mlir::Value foldPiece(llvm::ArrayRef<DimExpr> dims, mlir::Value init,
                        llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine,
                        llvm::function_ref<mlir::Value(mlir::ValueRange)> element);
  mlir::Value joinPieces(mlir::Value init, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine,
                         llvm::function_ref<mlir::Value(mlir::Value)> partial);
  mlir::Value finiteOrZero(mlir::Value x, mlir::Type type);
  std::function<mlir::Value(mlir::ValueRange)> elementsOf(mlir::Value value);
};

/// Rows of one stage by blocks whose warps fetch, count, join and store chunks independently; see EmitRowPipeline.cpp. False,
/// and nothing done, for rows that cannot be copied as a whole or that teams of blocks are better for.
mlir::FailureOr<bool> emitRowPipeline(KernelBuilder &kernel, llvm::ArrayRef<RowStage> stages,
                                      llvm::ArrayRef<DimExpr> outer, llvm::ArrayRef<DimExpr> inner, int width);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_SHAREDROW_H
