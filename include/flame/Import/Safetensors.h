//===- Safetensors.h - what a file of weights holds
//-------------------------------------------------------------------===//
//
// A safetensors file is a little-endian uint64 N, N bytes of JSON, and the tensors' bytes, without a gap and without an
// overlap. Only the first two are read here; the tensors stay where they are, as a file, an offset and a length.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_SAFETENSORS_H
#define FLAME_IMPORT_SAFETENSORS_H

#include "flame/Import/ImportStatus.h"
#include "mlir/IR/Types.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace flame {

struct SafetensorsTensor {
  std::string name;
  std::string dtype; // as in the file: "BF16"
  std::vector<int64_t> shape;
  uint64_t offset = 0, length = 0; // of its bytes in the file
};

struct SafetensorsFile {
  uint64_t size = 0;
  std::vector<SafetensorsTensor> tensors; // in the order of their bytes
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Reads the description of a file's tensors. Throws ImportError, whose text begins with the path.
SafetensorsFile readSafetensors(const std::string &path);

/// The same of a file in memory: `head` is at least all that precedes the tensors' bytes, `size` the size of the file.
/// Throws ImportError, whose text begins with `name`.
SafetensorsFile parseSafetensors(llvm::StringRef head, uint64_t size, const std::string &name);

/// The element type of a name such as "BF16"; null for those of less than a byte, which only packed kernels could use.
mlir::Type safetensorsType(mlir::MLIRContext *context, llvm::StringRef dtype);

} // namespace flame

#endif // FLAME_IMPORT_SAFETENSORS_H
