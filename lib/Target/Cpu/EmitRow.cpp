//===- EmitRow.cpp - kernels of reductions over trailing dims ---------------------------------------------------------===//
//
// The leading dims are the parallel iteration space. For each row the reductions are computed in their order, each by an
// inner loop that pulls its operand; then the results are written. A reduction's number is known by the time a later
// one, or the results, ask for it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

/// True for an op whose element is worth keeping: it has a loop in it.
static bool isReduction(Operation &op) {
  if (isa<PointwiseInterface>(op))
    return false;
  auto pull = dyn_cast<ElementInterface>(&op);
  return pull && (!pull.isCheap() || op.getName().stripDialect() == "reduce");
}

LogicalResult flame::cpu::emitRow(KernelBuilder &kernel) {
  ShapeContext &shapes = kernel.shapes;
  SmallVector<Operation *> reductions;
  for (Operation &op : kernel.region.getBlock()->without_terminator())
    if (isReduction(op))
      reductions.push_back(&op);

  // The row's index: the dims of the reductions' results before the trailing ones of a single element. All values of the
  // region must agree on them.
  SmallVector<DimExpr> outer;
  auto stripped = [&](Value value) {
    SmallVector<DimExpr> dims(shapes.dims(value));
    while (!dims.empty() && dims.back().isConstant(1))
      dims.pop_back();
    return dims;
  };
  bool regular = !reductions.empty();
  for (auto [i, op] : llvm::enumerate(reductions)) {
    SmallVector<DimExpr> dims = stripped(op->getResult(0));
    if (i == 0)
      outer = dims;
    regular &= op->getNumResults() == 1 && dims == outer;
  }
  for (Value value : kernel.region.getYielded()) {
    ArrayRef<DimExpr> dims = shapes.dims(value);
    regular &= dims.size() >= outer.size() && dims.take_front(outer.size()) == ArrayRef<DimExpr>(outer);
  }
  if (!regular)
    return emitLoop(kernel);

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  auto padded = [&](ElementBuilder::Values at, Value value) {
    at.resize(shapes.rank(value), Value());
    for (Value &i : at)
      if (!i)
        i = e.index(0);
    return at;
  };
  DimExpr work = shapes.constant(1);
  int64_t price = elementPrice(kernel.region);
  for (Operation *op : reductions)
    price -= isa<ElementInterface>(op) && !cast<ElementInterface>(op).isCheap() ? 63 : 0;
  e.loop(kernel.begin, kernel.end, {}, [&](Value row, ValueRange) {
    ElementBuilder::Values at = e.delinearize(row, outer);
    for (Operation *op : reductions) {
      Value result = op->getResult(0);
      e.setScalar(result, e.element(result, padded(at, result)));
    }
    // Results of one shape share a loop.
    SmallVector<bool> done(kernel.region.getNumResults(), false);
    for (unsigned i = 0; i < done.size(); ++i) {
      if (done[i])
        continue;
      SmallVector<DimExpr> dims(shapes.dims(kernel.region.getYielded()[i]));
      SmallVector<unsigned> group;
      for (unsigned j = i; j < done.size(); ++j)
        if (shapes.dims(kernel.region.getYielded()[j]) == ArrayRef<DimExpr>(dims)) {
          group.push_back(j);
          done[j] = true;
        }
      ArrayRef<DimExpr> inner = ArrayRef<DimExpr>(dims).drop_front(outer.size());
      DimExpr size = shapes.constant(1);
      for (DimExpr dim : inner)
        size = size * dim;
      e.loop(e.index(0), e.expr(size), {}, [&](Value column, ValueRange) {
        ElementBuilder::Values full = at;
        llvm::append_range(full, e.delinearize(column, inner));
        for (unsigned j : group)
          kernel.storeResult(e, j, full, e.element(kernel.region.getYielded()[j], full));
        return ElementBuilder::Values();
      });
      work = work + size;
    }
    return ElementBuilder::Values();
  });
  DimExpr rows = shapes.constant(1);
  for (DimExpr dim : outer)
    rows = rows * dim;
  for (Operation *op : reductions) {
    // Elements of the operand for each row: its dims beyond the row's index.
    ArrayRef<DimExpr> dims = shapes.dims(op->getOperand(0));
    DimExpr size = shapes.constant(1);
    for (DimExpr dim : dims.drop_front(std::min(dims.size(), outer.size())))
      size = size * dim;
    work = work + size;
  }
  kernel.kernel.extent = rows;
  kernel.kernel.grain = grainFor(shapes, work * std::max<int64_t>(1, price / 2));
  return success();
}
