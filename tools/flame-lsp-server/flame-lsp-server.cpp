//===- flame-lsp-server.cpp - language server for flame IR in editors -------------------------------------------------===//
#include "flame/Pipelines/Compiler.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  flame::registerFlame(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
