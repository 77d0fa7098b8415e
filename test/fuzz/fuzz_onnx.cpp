//===- fuzz_onnx.cpp - the ONNX importer on arbitrary bytes ---------------===//
//
// Whatever the bytes are, the import ends with a module that verifies or with an error message; it doesn't crash, hang
// or allocate without bounds. External data is looked for in no folder.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/Onnx.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  flame::OnnxImportOptions options;
  options.maxDepth = 16;
  options.maxNodes = 5000;
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  flame::OnnxImportResult result = flame::importOnnxBuffer(&context, bytes, "fuzz.onnx", "", options);
  bool ok = result.status == flame::ImportStatus::Ok;
  if (ok != bool(result.module) || ok != result.errors.empty()) {
    std::fputs("status, module and errors contradict each other\n", stderr);
    std::abort();
  }
  for (const std::string &error : result.errors)
    if (error.find("internal:") != std::string::npos) {
      std::fprintf(stderr, "%s\n", error.c_str());
      std::abort();
    }
  if (ok && failed(mlir::verify(*result.module))) {
    std::fputs("the module is invalid\n", stderr);
    std::abort();
  }

  std::string name, error;
  mlir::ElementsAttr tensor = flame::readOnnxTensor(&context, bytes, name, error);
  if (bool(tensor) != error.empty()) {
    std::fputs("a tensor and an error contradict each other\n", stderr);
    std::abort();
  }
  return 0;
}
