//===- flame-opt.cpp - runs flame's passes on textual IR --------------------------------------------------------------===//
#include "flame/Analysis/Cost.h"
#include "flame/Body/Bodies.h"
#include "flame/IR/Flame.h"
#include "flame/Regions/FormRegions.h"
#include "flame/Target/Cpu/Emitter.h"
#include "flame/Target/Cpu/Passes.h"
#include "flame/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<flame::FlameDialect, mlir::func::FuncDialect>();
  flame::registerAllBodies(registry);
  flame::registerAllCosts(registry);
  flame::cpu::registerCpuDialects(registry);
  flame::cpu::registerCpuPasses();
  mlir::registerPass([] { return flame::createFormRegionsPass(); });
  flame::registerFlameTransformsPasses();
  mlir::registerTransformsPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "flame optimizer driver\n", registry));
}
