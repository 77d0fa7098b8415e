//===- TensorReader.h - TensorProto → attribute or weight -------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_ONNX_TENSORREADER_H
#define FLAME_LIB_IMPORT_ONNX_TENSORREADER_H

#include "ModelFiles.h"
#include "onnx.pb.h"
#include "flame/Builder/GraphBuilder.h"

namespace flame::onnx {

/// Reads tensors and types; problems throw BuildError with the cause and the remedy.
class TensorReader {
public:
  /// `modelBytes`: the file that lifted payloads point into, called `modelFile` relative to the folder.
  TensorReader(mlir::MLIRContext *context, llvm::StringRef modelBytes, llvm::StringRef modelFile, ModelFolder &folder)
      : context(context), modelBytes(modelBytes), modelFile(modelFile), folder(folder) {}

  /// The tensor's type after checks of dtype and shape.
  mlir::RankedTensorType type(const TensorProto &tensor);
  /// The elements, copied.
  mlir::ElementsAttr elements(const TensorProto &tensor);
  /// Where the elements lie as they are used (little-endian, one after another), if they do and are more than `limit` bytes.
  std::optional<FilePiece> piece(const TensorProto &tensor, uint64_t limit);
  /// A sparse tensor made dense.
  mlir::ElementsAttr elements(const SparseTensorProto &tensor);

  /// `symbolic` receives the names of symbolic dims ("" for the others), if the type is a tensor. A missing type or
  /// shape gives null or an unranked tensor.
  mlir::Type typeOf(const TypeProto &type, llvm::SmallVectorImpl<std::string> *symbolic = nullptr);
  /// Throws for a number that is no element type.
  mlir::Type elementType(int64_t code);

private:
  /// The bytes of a tensor in memory (`scratch` holds them where they had to be read or decoded).
  llvm::StringRef rawBytes(const TensorProto &tensor, mlir::RankedTensorType type, std::string &scratch);
  FilePiece external(const TensorProto &tensor, uint64_t needed);

  mlir::MLIRContext *context;
  llvm::StringRef modelBytes, modelFile;
  ModelFolder &folder;
};

/// Names appear in messages, attributes and files: valid UTF-8 without NUL. Throws otherwise.
void checkName(llvm::StringRef name, llvm::StringRef what);

} // namespace flame::onnx

#endif // FLAME_LIB_IMPORT_ONNX_TENSORREADER_H
