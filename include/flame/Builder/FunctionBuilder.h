//===- FunctionBuilder.h - the function that a model becomes
//----------------------------------------------------------===//
//
// A module with one `func.func @main`: arguments with names and symbolic dims, constants and weights before everything
// else, named results. What the attributes mean is in flame/Import/Onnx.h.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BUILDER_FUNCTIONBUILDER_H
#define FLAME_BUILDER_FUNCTIONBUILDER_H

#include "flame/Builder/GraphBuilder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace flame {

class FunctionBuilder {
public:
  explicit FunctionBuilder(mlir::MLIRContext *context) : builder(context), shapes(dims) {}

  mlir::OpBuilder builder; // at the end of the function, but while a constant is made
  DimContext dims;
  ShapeContext shapes;
  mlir::Block *entry = nullptr;

  /// The module, whose location is `name`; afterwards inputs, ops and results can be added.
  mlir::ModuleOp begin(llvm::StringRef name);
  /// `dims`: of a tensor, an integer or a string (a symbolic dim) each.
  mlir::Value addInput(llvm::StringRef name, mlir::Type type, llvm::ArrayRef<mlir::Attribute> dims);
  /// Kernels are tuned for this size of a symbolic dim; any other works too.
  void setTypical(llvm::StringRef dim, int64_t size);
  mlir::Value constant(mlir::ElementsAttr value, mlir::Location loc);
  /// A tensor whose bytes stay in a file, which is named relative to the model's folder.
  mlir::Value weight(llvm::StringRef name, WeightRefAttr ref, mlir::RankedTensorType type, mlir::Location loc);
  void addResult(llvm::StringRef name, mlir::Value value);
  size_t numResults() const { return results.size(); }
  /// Returns the results.
  void finish();

private:
  mlir::Value first(mlir::Location loc, llvm::StringRef op, llvm::ArrayRef<mlir::NamedAttribute> attributes);
  mlir::DictionaryAttr named(llvm::StringRef name, llvm::ArrayRef<mlir::NamedAttribute> more = {});

  mlir::func::FuncOp function;
  mlir::Operation *lastConstant = nullptr;
  llvm::SmallVector<mlir::DictionaryAttr> argumentAttrs;
  llvm::SmallVector<mlir::NamedAttribute> typicalDims;
  llvm::SmallVector<mlir::Attribute> resultAttrs;
  llvm::SmallVector<mlir::Value> results;
};

} // namespace flame

#endif // FLAME_BUILDER_FUNCTIONBUILDER_H
