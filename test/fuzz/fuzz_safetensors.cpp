//===- fuzz_safetensors.cpp - the safetensors reader on arbitrary bytes
//---------------------------------------------------===//
//
// Whatever the bytes are, reading ends with a description of the file or with an error message. What is described lies
// in the file, one tensor behind the other, and has the size that its shape and type say.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/IR/Flame.h"
#include "flame/Import/Safetensors.h"
#include "mlir/IR/MLIRContext.h"
#include <cstdio>
#include <cstdlib>

static void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  try {
    flame::SafetensorsFile file = flame::parseSafetensors(bytes, size, "fuzz");
    require(file.size == size, "another size than the file's");
    uint64_t end = file.tensors.empty() ? size : file.tensors.front().offset;
    for (const flame::SafetensorsTensor &tensor : file.tensors) {
      require(tensor.offset == end, "a gap or an overlap");
      end += tensor.length;
      uint64_t count = 1;
      for (int64_t dim : tensor.shape)
        count *= uint64_t(dim);
      if (mlir::Type type = flame::safetensorsType(&context, tensor.dtype))
        require(tensor.length == count * flame::dtypeBytes(type), "a length unlike shape and type");
    }
    require(end == size, "bytes that belong to no tensor");
  } catch (const flame::ImportError &error) {
    require(error.what()[0] != '\0', "an error without a message");
  }
  return 0;
}
