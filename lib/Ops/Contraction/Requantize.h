//===- Requantize.h - what the importers of quantised products share --------------------------------------------------===//
#ifndef FLAME_LIB_OPS_CONTRACTION_REQUANTIZE_H
#define FLAME_LIB_OPS_CONTRACTION_REQUANTIZE_H

#include "flame/Import/OnnxNode.h"

namespace flame {

/// `x` as i32 less its zero point, which must broadcast against it (null: none).
mlir::Value centered(OnnxNode &n, mlir::Value x, mlir::Value zeroPoint);
/// saturate(round(accumulator · scale) + zeroPoint) in the zero point's element type; `scale` is a float tensor.
mlir::Value requantize(OnnxNode &n, mlir::Value accumulator, mlir::Value scale, mlir::Value zeroPoint);

} // namespace flame

#endif // FLAME_LIB_OPS_CONTRACTION_REQUANTIZE_H
