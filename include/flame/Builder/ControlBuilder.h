//===- ControlBuilder.h - loops and branches written as functions -----------------------------------------------------===//
//
// Bodies are functions that build ops; they may use any value built before. A body may be built several times: a loop
// starts with the precise dims of its initial values, and a dim that an iteration turns out to change is unknown in the
// next try.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BUILDER_CONTROLBUILDER_H
#define FLAME_BUILDER_CONTROLBUILDER_H

#include "flame/Builder/GraphBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace flame {

struct LoopArguments {
  mlir::Value iteration; // tensor<i64>
  mlir::Value condition; // tensor<i1>
  llvm::SmallVector<mlir::Value> carried;
};

struct LoopYield {
  mlir::Value condition; // null: the loop goes on
  llvm::SmallVector<mlir::Value> carried;
  llvm::SmallVector<mlir::Value> scans; // each is stacked along a new axis 0
};

/// What is learnt of a loop while it is built; given to the next build of the same loop it spares the tries.
struct LoopMemory {
  std::vector<std::vector<bool>> varying; // per carried value and dim
  std::vector<mlir::Type> types;          // of carried sequences and optionals
};

/// for (i = 0; i < trip && condition; ++i). A null trip or condition doesn't end the loop. Returns the last carried values,
/// then the scan outputs. Throws BuildError.
llvm::SmallVector<mlir::Value> buildLoop(GraphBuilder &g, mlir::Value trip, mlir::Value condition,
                                         llvm::ArrayRef<mlir::Value> initial,
                                         llvm::function_ref<LoopYield(const LoopArguments &)> body,
                                         LoopMemory *memory = nullptr);

/// The values of one branch; both must give as many, of the same element types and ranks (a value of one element takes the
/// higher rank of the two). Throws BuildError.
llvm::SmallVector<mlir::Value> buildIf(GraphBuilder &g, mlir::Value condition,
                                       llvm::function_ref<llvm::SmallVector<mlir::Value>()> then,
                                       llvm::function_ref<llvm::SmallVector<mlir::Value>()> otherwise);

} // namespace flame

#endif // FLAME_BUILDER_CONTROLBUILDER_H
