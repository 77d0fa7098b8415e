//===- Constants.h - values that exist before a run -------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_CONSTANTS_H
#define FLAME_ANALYSIS_CONSTANTS_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

namespace flame {

/// The function's own block and the bodies of its loops, outer ones first: ops in them that depend on constants alone run
/// once, when the module is loaded. Those of a branch run with it, as it may never be taken.
llvm::SmallVector<mlir::Block *> loadTimeBlocks(mlir::Operation *function);

/// Answers whether only constants and weights lead to a value, by pure ops with static shapes: whatever is computed from
/// such values alone runs once, in the plan's init block. Answers are kept: valid as long as nobody erases an op.
class ConstantValues {
public:
  bool contains(mlir::Value value);

private:
  llvm::DenseMap<mlir::Value, bool> known;
};

} // namespace flame

#endif // FLAME_ANALYSIS_CONSTANTS_H
