//===- StridedOperand.cpp - see StridedOperand.h ------------------------------------------------------------------===//
#include "StridedOperand.h"
#include "flame/Ops/Shape.h"
#include <numeric>

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

std::optional<StridedOperand> flame::cuda::stridedOperand(KernelBuilder &kernel, Value value) {
  ShapeContext &shapes = kernel.shapes;
  SmallVector<DimExpr> dims(shapes.dims(value));
  if (kernel.isMaterialized(value)) {
    StridedOperand operand{value, shapes.constant(0), SmallVector<DimExpr>(dims.size())};
    DimExpr stride = shapes.constant(1);
    for (size_t d = dims.size(); d-- > 0;) {
      operand.strides[d] = stride;
      stride = stride * dims[d];
    }
    return operand;
  }
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<TransposeOp, SliceOp, ExpandOp>(op))
    return std::nullopt;
  std::optional<StridedOperand> inner = stridedOperand(kernel, op->getOperand(0));
  if (!inner)
    return std::nullopt;
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    SmallVector<DimExpr> strides;
    for (int64_t source : transpose.getPerm())
      strides.push_back(inner->strides[source]);
    inner->strides = strides;
  } else if (auto slice = dyn_cast<SliceOp>(op)) {
    for (size_t d = 0; d < dims.size(); ++d) {
      inner->offset = inner->offset + shapes.element(slice.getStarts(), d) * inner->strides[d];
      inner->strides[d] = inner->strides[d] * shapes.element(slice.getSteps(), d);
    }
  } else {
    SmallVector<DimExpr> from(shapes.dims(op->getOperand(0)));
    SmallVector<DimExpr> strides(dims.size(), shapes.constant(0));
    size_t shift = dims.size() - from.size();
    for (size_t d = 0; d < from.size(); ++d) {
      if (from[d] == dims[d + shift])
        strides[d + shift] = inner->strides[d];
      else if (!from[d].isConstant(1))
        return std::nullopt;
    }
    inner->strides = strides;
  }
  return inner;
}

bool flame::cuda::isMultiple(DimExpr expr, int64_t divisor) {
  /// The largest number that surely divides an expression; 0 divides by everything.
  struct Divisor : DimVisitor<int64_t> {
    static int64_t common(int64_t a, int64_t b) { return std::gcd(a, b); }
    int64_t constant(int64_t value) override { return value < 0 ? -value : value; }
    int64_t symbol(unsigned) override { return 1; }
    int64_t add(int64_t a, int64_t b) override { return common(a, b); }
    int64_t mul(int64_t a, int64_t b) override {
      int64_t product;
      return __builtin_mul_overflow(a, b, &product) ? common(a, b) : product;
    }
    int64_t floorDiv(int64_t, int64_t) override { return 1; }
    int64_t mod(int64_t a, int64_t b) override { return common(a, b); }
    int64_t min(int64_t a, int64_t b) override { return common(a, b); }
    int64_t max(int64_t a, int64_t b) override { return common(a, b); }
  };
  return Divisor().visit(expr) % divisor == 0;
}

int flame::cuda::copyBytes(DimExpr pitch, int size) {
  auto constant = pitch.constant();
  if (!constant)
    return 16; // the kernel looks
  for (int bytes : {16, 8, 4})
    if (bytes >= size && *constant * size % bytes == 0)
      return bytes;
  return 0;
}
