//===- JoinThreads.cpp - see JoinThreads.h ------------------------------------------------------------------------===//
#include "JoinThreads.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace flame;

Value flame::cuda::joinWarp(ElementBuilder &e, Value partial, Combine combine, int lanes) {
  Value width = arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(warpSize));
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    Value distance = arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(offset));
    auto shuffle = gpu::ShuffleOp::create(e.b, e.loc, partial, distance, width, gpu::ShuffleMode::XOR);
    partial = combine(partial, shuffle.getShuffleResult());
  }
  return partial;
}

Value flame::cuda::joinBlock(KernelBuilder &kernel, ElementBuilder &e, int lanes, int threads, Value partial,
                             Combine combine, Value self, llvm::function_ref<void()> sync) {
  if (!self)
    self = kernel.thread;
  Value memory = kernel.sharedMemory(partial.getType(), threads / warpSize);
  Value isFirst = e.cmpi(arith::CmpIPredicate::eq, e.remi(self, e.index(warpSize)), e.index(0));
  e.ifThen(isFirst, [&] { memref::StoreOp::create(e.b, e.loc, partial, memory, e.divi(self, e.index(warpSize))); });
  sync ? sync() : kernel.barrier();
  int warps = lanes / warpSize;
  Value first = lanes == threads ? e.index(0) : e.muli(e.divi(self, e.index(lanes)), e.index(warps));
  Value all = memref::LoadOp::create(e.b, e.loc, memory, first);
  for (int i = 1; i < warps; ++i)
    all = combine(all, memref::LoadOp::create(e.b, e.loc, memory, e.addi(first, e.index(i))));
  return all;
}
