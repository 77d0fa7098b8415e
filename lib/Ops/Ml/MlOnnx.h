//===- MlOnnx.h - what the importers of ai.onnx.ml share --------------------------------------------------------------===//
#ifndef FLAME_LIB_OPS_ML_MLONNX_H
#define FLAME_LIB_OPS_ML_MLONNX_H

#include "flame/Import/OnnxNode.h"

namespace flame {

/// A vector constant of f32 or f64.
mlir::Value floatVector(OnnxNode &n, mlir::Type elementType, llvm::ArrayRef<double> values);
mlir::Value floatTensor(OnnxNode &n, mlir::Type elementType, llvm::ArrayRef<double> values, llvm::ArrayRef<int64_t> shape);
/// x as a matrix of f32 (or f64 if it is f64).
mlir::Value featureMatrix(OnnxNode &n, mlir::Value x);
/// The transform that the attribute `post_transform` names, along the last axis.
mlir::Value postTransform(OnnxNode &n, mlir::Value scores, llvm::StringRef kind);
/// The class labels (`ints` or `strings`, one of them empty) at positions given as an i64 vector.
mlir::Value labelsAt(OnnxNode &n, mlir::Value positions, llvm::ArrayRef<int64_t> ints,
                     llvm::ArrayRef<std::string> strings);

void registerMlTrees(OnnxRegistry &registry);

} // namespace flame

#endif // FLAME_LIB_OPS_ML_MLONNX_H
