//===- ScalePattern.h - scales that are repeated along the dims of a tensor ------------------------------------------------===//
//
// Models spell a scale for each block of a tensor by reshapes and expansions: each number is repeated, so that the scales have the tensor's
// shape, or the tensor has a shape in which a block is a dim of its own. Both are the same pattern: along each dim of the tensor, dims of the scales'
// own tensor, the inner ones repeated.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TRANSFORMS_SCALEPATTERN_H
#define FLAME_LIB_TRANSFORMS_SCALEPATTERN_H

#include "flame/Builder/GraphBuilder.h"
#include "flame/IR/ShapeContext.h"

namespace flame {

/// Along one dim of a tensor: its scale is number i / `repeats` of dim `source` of the scales' tensor.
struct ScaleDim {
  std::optional<int64_t> source; // none: the same scale all along
  DimExpr size, repeats;         // how many scales there are, each of how many elements
  bool isCut = false;            // the last one has fewer
};

/// Where the scales of a tensor's elements come from.
struct ScalePattern {
  mlir::Value source;
  llvm::SmallVector<ScaleDim> dims; // of the tensor
};

/// Looks from `scale`, which is broadcast to `dims`, through the movement that repeats it, to a tensor with dims `wanted` of as many elements.
/// Empty if a reshape between them puts dims together in another way.
std::optional<ScalePattern> scalePattern(mlir::Value scale, llvm::ArrayRef<DimExpr> dims, llvm::ArrayRef<DimExpr> wanted,
                                         ShapeContext &shapes);

} // namespace flame

#endif // FLAME_LIB_TRANSFORMS_SCALEPATTERN_H
