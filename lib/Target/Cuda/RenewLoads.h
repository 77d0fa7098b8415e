//===- RenewLoads.h - elements that wait are kept as they were read ---------------------------------------------===//
//
// Of a row in registers, elements of 16 bits are widened for the first reduction, and again for the results. Seen as one value
// they would wait in twice the registers while the threads join what they have. So behind every place where threads wait
// for each other the packed elements become new ones for the compiler (flame_renew), and are widened again from there, which
// is one instruction each; so are the few ops that follow.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_RENEWLOADS_H
#define FLAME_LIB_TARGET_CUDA_RENEWLOADS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace flame::cuda {

/// Of a function with this attribute, which says that its registers are short.
constexpr llvm::StringLiteral renewsLoads = "flame.renews_loads";
/// Runs behind packMemory.
void renewLoads(mlir::func::FuncOp function);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_RENEWLOADS_H
