//===- Constants.h - values that exist before a run -------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_CONSTANTS_H
#define FLAME_ANALYSIS_CONSTANTS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace flame {

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
