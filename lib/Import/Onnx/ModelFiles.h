//===- ModelFiles.h - the files a model consists of -------------------------------------------------------------------===//
//
// The model file mapped into memory, and the external data files, which a model may name freely but which must lie in its
// folder: never absolute, never through ".." or a symbolic link out of the folder, never with a second hard link. Problems throw BuildError.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_ONNX_MODELFILES_H
#define FLAME_LIB_IMPORT_ONNX_MODELFILES_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace flame::onnx {

/// A whole file, mapped read-only.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(const MappedFile &) = delete;
  ~MappedFile();
  /// Returns an error message (cause and remedy, without the path), or an empty string.
  std::string open(const std::string &path);
  llvm::StringRef bytes() const { return {static_cast<const char *>(data), size}; }

private:
  void *data = nullptr;
  size_t size = 0;
};

/// Bytes of a file in the model's folder.
struct FilePiece {
  std::string file; // relative to the folder
  uint64_t offset = 0, length = 0;
};

class ModelFolder {
public:
  /// An empty `folder` allows no external data.
  explicit ModelFolder(llvm::StringRef folder) : folder(folder) {}

  /// Checks an external data reference of a tensor that needs `needed` bytes. `offset` and `length` are decimal numbers
  /// or empty.
  FilePiece locate(llvm::StringRef location, llvm::StringRef offset, llvm::StringRef length, uint64_t needed);
  /// Reads a (small) piece.
  std::string read(const FilePiece &piece);

private:
  struct DataFile {
    std::string path; // relative to the folder, without links
    uint64_t size;
  };
  const DataFile &find(llvm::StringRef location);
  std::string folder;
  llvm::StringMap<DataFile> files; // those found fit, by location
};

} // namespace flame::onnx

#endif // FLAME_LIB_IMPORT_ONNX_MODELFILES_H
