//===- Bodies.cpp - registration of all bodies ------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace flame;

void flame::registerAllBodies(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect>();
  registry.addExtension(+[](MLIRContext *context, FlameDialect *) {
#define FLAME_FAMILY(Name) register##Name##Bodies(context);
#include "flame/Ops/BodyFamilies.inc"
#undef FLAME_FAMILY
  });
}
