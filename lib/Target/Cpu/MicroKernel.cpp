//===- MicroKernel.cpp - see MicroKernel.h ----------------------------------------------------------------------------===//
#include "MicroKernel.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;
using Values = ElementBuilder::Values;

Value ScratchLayout::part(ElementBuilder &e, DimExpr elements, unsigned bytes) {
  Value offset = e.expr(size);
  size = size + ceilDiv(elements * int64_t(bytes), kernel.shapes.constant(64)) * 64;
  return kernel.address(e.b, e.loc, kernel.scratch, e.b.getI8Type(), offset);
}

static Value multiplyAdd(KernelBuilder &kernel, ElementBuilder &e, Value x, Value y, Value sum) {
  if (!ScalarBuilder::isFloat(x))
    return arith::AddIOp::create(e.b, e.loc, sum, arith::MulIOp::create(e.b, e.loc, x, y));
  if (kernel.target.fma)
    return math::FmaOp::create(e.b, e.loc, x, y, sum);
  return arith::AddFOp::create(e.b, e.loc, sum, arith::MulFOp::create(e.b, e.loc, x, y));
}

void flame::cpu::buildMicroKernel(KernelBuilder &kernel, ElementBuilder &e, const Schedule &s, Type type,
                                  const MicroOperands &o) {
  OpBuilder &b = e.b;
  Location loc = e.loc;
  unsigned bytes = type.getIntOrFloatBitWidth() / 8;
  auto vector = VectorType::get({s.lanes}, type);
  int64_t columns = s.nr / s.lanes, taps = o.taps.size();
  auto at = [&](Value pointer, Value position) { return kernel.address(b, loc, pointer, type, position); };

  Values sums;
  for (int64_t i = 0; i < s.mr; ++i)
    for (int64_t j = 0; j < columns; ++j)
      sums.push_back(LLVM::LoadOp::create(
          b, loc, vector, at(o.tile, e.addi(e.muli(e.index(i), o.tileStride), e.index(j * s.lanes))), bytes));
  sums = e.loop(e.index(0), o.groups, sums, [&](Value group, ValueRange carried) {
    Values next(carried);
    Value row = e.muli(group, o.stride), first = e.muli(group, e.index(taps * s.mr));
    for (int64_t t = 0; t < taps; ++t) {
      Value base = e.addi(row, o.taps[t]);
      Values right;
      for (int64_t j = 0; j < columns; ++j)
        right.push_back(LLVM::LoadOp::create(b, loc, vector, at(o.b, e.addi(base, e.index(j * s.lanes))), bytes));
      for (int64_t i = 0; i < s.mr; ++i) {
        Value scalar = LLVM::LoadOp::create(b, loc, type, at(o.a, e.addi(first, e.index(t * s.mr + i))));
        Value left = vector::BroadcastOp::create(b, loc, vector, scalar);
        for (int64_t j = 0; j < columns; ++j) {
          Value &sum = next[i * columns + j];
          sum = multiplyAdd(kernel, e, left, right[j], sum);
        }
      }
    }
    return next;
  });
  for (int64_t i = 0; i < s.mr; ++i)
    for (int64_t j = 0; j < columns; ++j)
      LLVM::StoreOp::create(b, loc, sums[i * columns + j],
                            at(o.tile, e.addi(e.muli(e.index(i), o.tileStride), e.index(j * s.lanes))), bytes);
}

void flame::cpu::buildClear(KernelBuilder &kernel, ElementBuilder &e, const Schedule &s, Type type, Value pointer,
                            Value count) {
  auto vector = VectorType::get({s.lanes}, type);
  Value zero = arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(vector));
  e.loop(e.index(0), count, e.index(s.lanes), {}, [&](Value i, ValueRange) {
    LLVM::StoreOp::create(e.b, e.loc, zero, kernel.address(e.b, e.loc, pointer, type, i),
                          type.getIntOrFloatBitWidth() / 8);
    return Values();
  });
}
