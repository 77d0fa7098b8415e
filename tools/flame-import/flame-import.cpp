//===- flame-import.cpp - prints the module that an ONNX file becomes (for developers) --------------------------------===//
//
//   flame-import model.onnx [--locations] [--quiet]
//
// Exit codes as flamec's: 0 ok, 1 the importer made invalid IR, 2 usage, 3 bad input, 4 unsupported.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/Onnx.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  const char *path = nullptr;
  bool locations = false, quiet = false;
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef argument = argv[i];
    if (argument == "--locations")
      locations = true;
    else if (argument == "--quiet")
      quiet = true;
    else if (!argument.starts_with("--") && !path)
      path = argv[i];
    else {
      llvm::errs() << "usage: flame-import model.onnx [--locations] [--quiet]\n";
      return 2;
    }
  }
  if (!path) {
    llvm::errs() << "usage: flame-import model.onnx [--locations] [--quiet]\n";
    return 2;
  }
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  flame::OnnxImportResult result = flame::importOnnx(&context, path);
  for (const std::string &error : result.errors)
    llvm::errs() << "error: " << error << "\n";
  if (!result.module)
    return result.status == flame::ImportStatus::Unsupported ? 4 : 3;
  if (failed(mlir::verify(*result.module)))
    return 1;
  mlir::OpPrintingFlags flags;
  if (locations)
    flags.enableDebugInfo(true, true);
  if (!quiet)
    result.module->print(llvm::outs(), flags);
  return 0;
}
