//===- EmitLoop.cpp - a thread an element -----------------------------------------------------------------------------===//
//
// Pointwise ops, movement and windows: thread t of the grid computes element t of the results, or, where sizes allow, a few
// neighbouring elements of the last dim, which are read and written together. Results of different shapes follow each
// other in one iteration space.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

static DimExpr product(ShapeContext &shapes, ArrayRef<DimExpr> dims) {
  DimExpr size = shapes.constant(1);
  for (DimExpr dim : dims)
    size = size * dim;
  return size;
}

/// The thread's number in the grid.
static Value globalThread(KernelBuilder &kernel, ElementBuilder &e) {
  return e.addi(e.muli(kernel.block, e.index(kernel.kernel.threads)), kernel.thread);
}

LogicalResult flame::cuda::emitLoop(KernelBuilder &kernel) {
  if (emitTranspose(kernel) || emitReduce(kernel))
    return success();
  struct Nest {
    SmallVector<DimExpr> dims;
    SmallVector<unsigned> results;
  };
  SmallVector<Nest> nests;
  for (auto [i, value] : llvm::enumerate(kernel.region.getYielded())) {
    ArrayRef<DimExpr> dims = kernel.shapes.dims(value);
    Nest *nest = llvm::find_if(nests, [&](Nest &n) { return ArrayRef<DimExpr>(n.dims) == dims; });
    if (nest == nests.end()) {
      nests.push_back({SmallVector<DimExpr>(dims), {}});
      nest = &nests.back();
    }
    nest->results.push_back(i);
  }
  int width = 16;
  for (const Nest &nest : nests)
    width = nest.dims.empty() ? 1 : std::min(width, vectorWidth(kernel, nest.dims.back(), product(kernel.shapes, nest.dims)));
  ElementBuilder e(kernel.b, kernel.loc, kernel, kernel.shapes);
  Value position = globalThread(kernel, e);
  DimExpr offset = kernel.shapes.constant(0);
  for (const Nest &nest : nests) {
    // A position counts groups of `width` elements.
    SmallVector<DimExpr> dims(nest.dims);
    if (width > 1)
      dims.back() = kernel.shapes.constant(*dims.back().constant() / width);
    DimExpr size = product(kernel.shapes, dims);
    Value start = e.expr(offset), end = e.expr(offset + size);
    Value inside = offset.isConstant(0) ? e.cmpi(arith::CmpIPredicate::slt, position, end)
                                        : e.inRange(position, start, end);
    e.ifThen(inside, [&] {
      Value own = e.subi(position, start);
      Values at = e.delinearize(own, dims);
      // All elements first, then all stores: what one needs may be what the next needs.
      SmallVector<std::pair<Values, Values>> lanes; // index, results
      for (int lane = 0; lane < width; ++lane) {
        Values index(at);
        if (width > 1)
          kernel.enterLane(e, index, own, nest.dims, width, lane);
        Values elements;
        for (unsigned result : nest.results)
          elements.push_back(e.element(kernel.region.getYielded()[result], index));
        lanes.push_back({std::move(index), std::move(elements)});
      }
      for (auto [i, result] : llvm::enumerate(nest.results))
        for (auto &[index, elements] : lanes)
          kernel.storeResult(e, result, index, elements[i]);
    });
    offset = offset + size;
  }
  kernel.kernel.extent = ceilDiv(offset, kernel.shapes.constant(kernel.kernel.threads));
  return success();
}

LogicalResult flame::cuda::emitLoops(KernelBuilder &kernel) {
  if (emitScan(kernel) || emitScatter(kernel))
    return success();
  LoopsInterface op;
  for (Operation &inner : kernel.region.getBlock()->without_terminator())
    if (auto loops = dyn_cast<LoopsInterface>(&inner)) {
      if (op)
        return kernel.region.emitOpError("has two ops with loops of their own, '")
               << op->getName() << "' and '" << inner.getName() << "'; each needs a region of its own";
      op = loops;
    }
  if (!op)
    return kernel.region.emitOpError("has anchor 'loops' but no op with loops of its own");
  // A thread an iteration; the iterations are few, so blocks are small and spread over the multiprocessors.
  kernel.kernel.threads = 64;
  LoopsBuilder e(kernel.b, kernel.loc, kernel, kernel.shapes);
  DimExpr extent = op.parallelExtent(kernel.shapes);
  Value position = globalThread(kernel, e);
  e.ifThen(e.cmpi(arith::CmpIPredicate::slt, position, e.expr(extent)),
           [&] { op.buildLoops(e, position, e.addi(position, e.index(1))); });
  kernel.kernel.extent = ceilDiv(extent, kernel.shapes.constant(kernel.kernel.threads));
  return success();
}
