//===- ShapeOnnx.h - what the importers of the Shape family share -----------------------------------------------------===//
#ifndef FLAME_LIB_OPS_SHAPE_SHAPEONNX_H
#define FLAME_LIB_OPS_SHAPE_SHAPEONNX_H

#include "flame/Import/OnnxNode.h"

namespace flame {

/// The number of elements of an input that lists axes, sizes and the like; throws if it is known only at run time.
int64_t vectorLength(OnnxNode &n, mlir::Value v, llvm::StringRef what);
/// Its elements: numbers, expressions, or symbols that are read from the data.
llvm::SmallVector<DimExpr> vectorElements(OnnxNode &n, mlir::Value v, llvm::StringRef what);
/// An i64 vector with one element a dimension: values[k] where axes[k] names the dimension (negative: from the end),
/// `otherwise` (broadcast to it) elsewhere. Axes are data.
mlir::Value perDimension(OnnxNode &n, mlir::Value axes, mlir::Value values, mlir::Value otherwise, int64_t rank);

/// Slice, Pad, CenterCropPad, Trilu, DepthToSpace, SpaceToDepth.
void registerWindowOnnx(OnnxRegistry &registry);

} // namespace flame

#endif // FLAME_LIB_OPS_SHAPE_SHAPEONNX_H
