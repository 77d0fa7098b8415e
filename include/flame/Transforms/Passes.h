//===- Passes.h - passes from flame IR to flame IR --------------------------------------------------------------------===//
//
// Declared in Passes.td, one pass a file in lib/Transforms. lib/Pipelines decides their order.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TRANSFORMS_PASSES_H
#define FLAME_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace flame {
#define GEN_PASS_DECL
#include "flame/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

#endif // FLAME_TRANSFORMS_PASSES_H
