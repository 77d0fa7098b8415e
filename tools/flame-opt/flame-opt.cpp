//===- flame-opt.cpp - runs flame's passes on textual IR --------------------------------------------------------------===//
#include "flame/Pipelines/Compiler.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  flame::registerFlame(registry);
  flame::registerFlamePasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "flame optimizer driver\n", registry));
}
