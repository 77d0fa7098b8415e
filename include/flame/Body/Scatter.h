//===- Scatter.h - what an update of a scatter does -------------------------------------------------------------------===//
//
// For generators that scatter in another order than the op's own loops.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BODY_SCATTER_H
#define FLAME_BODY_SCATTER_H

#include "flame/Body/ElementBuilder.h"
#include "flame/Ops/Index.h"

namespace flame {

/// The first indices of the slice that the tuple at `outer`, an index of all dims of `indices` but the last, points to; `inside`
/// is whether there is such a slice, null for tuples of no length.
llvm::SmallVector<mlir::Value> scatterTarget(ScatterNDOp op, ElementBuilder &e, mlir::ValueRange outer, mlir::Value &inside);

/// What becomes of an element by an update, in the compute type.
mlir::Value scatterUpdate(ElementBuilder &e, llvm::StringRef reduction, mlir::Type elementType, mlir::Value old,
                          mlir::Value update);

} // namespace flame

#endif // FLAME_BODY_SCATTER_H
