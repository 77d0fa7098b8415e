//===- EmitConv.cpp - blocked convolutions ----------------------------------------------------------------------------===//
#include "MicroKernel.h"

mlir::LogicalResult flame::cpu::emitConv(KernelBuilder &kernel) { return emitLoop(kernel); }
