//===- JoinTypes.h - the most precise type that covers two others -----------------------------------------------------===//
#ifndef FLAME_IR_JOINTYPES_H
#define FLAME_IR_JOINTYPES_H

#include "flame/IR/Flame.h"

namespace flame {

/// Tensors: sizes that differ become unknown, ranks that differ too. Sequences and optionals: of the joined element types;
/// `none`, the element type of an empty sequence, joins with anything. Null if the types have nothing in common.
mlir::Type joinTypes(mlir::Type a, mlir::Type b);

} // namespace flame

#endif // FLAME_IR_JOINTYPES_H
