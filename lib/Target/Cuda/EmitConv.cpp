//===- EmitConv.cpp - convolutions
//------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

LogicalResult flame::cuda::emitConv(KernelBuilder &kernel) { return emitLoop(kernel); }
