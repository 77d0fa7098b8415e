//===- EmitLoop.cpp - kernels of pointwise ops, movement and windows --------------------------------------------------===//
//
// One pass over the elements of the results. Results of different shapes have nests of their own, one after the other in
// one iteration space. Within a nest the dims that every operand treats alike are run through as one, so that the
// innermost loop is long and contiguous: a chain of ops on equal shapes is a single loop whatever the rank.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

namespace {

/// Results of one shape.
struct Nest {
  SmallVector<DimExpr> dims;
  SmallVector<unsigned> results;
};

/// Finds the boundaries between dims d and d+1 of a nest over which the loops may run as one.
class Collapse {
public:
  Collapse(KernelBuilder &kernel, ArrayRef<DimExpr> dims)
      : kernel(kernel), dims(dims), joined(dims.empty() ? 0 : dims.size() - 1, true) {}

  /// Collects what `value`, whose dims are right-aligned with the nest's, asks for.
  void visit(Value value) {
    if (!seen.insert(value).second)
      return;
    SmallVector<DimExpr> own(kernel.shapes.dims(value));
    if (own.size() > dims.size())
      return separateAll();
    unsigned shift = dims.size() - own.size();
    // What an operand does along a dim: 0 any (one element in the nest too), 1 follows, 2 is broadcast.
    auto role = [&](unsigned d) {
      if (dims[d].isConstant(1))
        return 0;
      if (d < shift || own[d - shift].isConstant(1))
        return 2;
      return own[d - shift] == dims[d] ? 1 : 3 + int(d);
    };
    int previous = 0;
    for (unsigned d = 0; d < dims.size(); ++d) {
      int now = role(d);
      if (d > 0 && now != 0 && previous != 0 && now != previous)
        joined.reset(d - 1);
      if (now != 0)
        previous = now;
    }
    if (kernel.isMaterialized(value))
      return;
    Operation *op = value.getDefiningOp();
    StringRef name = op->getName().stripDialect();
    if (isa<PointwiseInterface>(op)) {
      for (Value operand : op->getOperands())
        visit(operand);
    } else if (name == "transpose") {
      auto permutation = op->getAttrOfType<DenseI64ArrayAttr>("perm");
      for (unsigned d = 0; d + 1 < own.size(); ++d)
        if (!permutation || permutation[d + 1] != permutation[d] + 1)
          joined.reset(shift + d);
    } else if (name == "concat" || name == "slice" || name == "pad") {
      // Dims that stay as they are.
      SmallVector<DimExpr> source(kernel.shapes.dims(op->getOperand(0)));
      for (unsigned d = 0; d < own.size(); ++d)
        if (own[d] != source[d])
          separateAround(shift + d);
    } else if (!op->hasTrait<trait::ViewLike>() && name != "constant" && name != "fill") {
      separateAll();
    }
  }

  /// First dim of the innermost group.
  unsigned innermost() const {
    unsigned d = dims.size();
    if (d)
      --d;
    while (d > 0 && joined.test(d - 1))
      --d;
    return d;
  }

private:
  void separateAll() { joined.reset(); }
  // The changed dim goes with its right neighbours, where it is the outer part of a contiguous run.
  void separateAround(unsigned d) {
    if (d > 0)
      joined.reset(d - 1);
    if (d + 1 < dims.size())
      joined.reset(d);
  }

  KernelBuilder &kernel;
  ArrayRef<DimExpr> dims;
  llvm::SmallBitVector joined;
  llvm::SmallPtrSet<Value, 16> seen;
};

} // namespace

static DimExpr product(ShapeContext &shapes, ArrayRef<DimExpr> dims) {
  DimExpr size = shapes.constant(1);
  for (DimExpr dim : dims)
    size = size * dim;
  return size;
}

/// Runs `body` at the indices of positions [low, high) of a nest.
static void overRange(KernelBuilder &kernel, ElementBuilder &e, const Nest &nest, Value low, Value high) {
  ArrayRef<DimExpr> dims = nest.dims;
  Collapse collapse(kernel, dims);
  for (unsigned result : nest.results)
    collapse.visit(kernel.region.getYielded()[result]);
  unsigned split = collapse.innermost();
  // All elements first, then all stores: a result may be in the memory of an input.
  auto element = [&](ValueRange at) {
    ElementBuilder::Values elements;
    for (unsigned result : nest.results)
      elements.push_back(e.element(kernel.region.getYielded()[result], at));
    for (auto [result, element] : llvm::zip(nest.results, elements))
      kernel.storeResult(e, result, at, element);
  };
  bool flat = llvm::all_of(dims.take_front(split), [](DimExpr dim) { return dim.isConstant(1); });
  if (flat) {
    e.loop(low, high, {}, [&](Value i, ValueRange) {
      element(e.delinearize(i, dims));
      return ElementBuilder::Values();
    });
    return;
  }
  // Rows of the innermost group; the first and the last may be partial.
  Value one = e.index(1), zero = e.index(0);
  Value length = e.maxi(e.expr(product(kernel.shapes, dims.drop_front(split))), one);
  Value firstRow = e.divi(low, length), lastRow = e.divi(e.addi(high, e.subi(length, one)), length);
  e.loop(firstRow, lastRow, {}, [&](Value row, ValueRange) {
    Value start = e.muli(row, length);
    Value from = e.maxi(e.subi(low, start), zero), to = e.mini(e.subi(high, start), length);
    ElementBuilder::Values outer = e.delinearize(row, dims.take_front(split));
    e.loop(from, to, {}, [&](Value i, ValueRange) {
      ElementBuilder::Values at = outer;
      llvm::append_range(at, e.delinearize(i, dims.drop_front(split)));
      element(at);
      return ElementBuilder::Values();
    });
    return ElementBuilder::Values();
  });
}

LogicalResult flame::cpu::emitLoop(KernelBuilder &kernel) {
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
  ElementBuilder e(kernel.b, kernel.loc, kernel, kernel.shapes);
  DimExpr offset = kernel.shapes.constant(0);
  for (const Nest &nest : nests) {
    DimExpr size = product(kernel.shapes, nest.dims);
    Value low = kernel.begin, high = kernel.end;
    if (nests.size() > 1) {
      Value start = e.expr(offset), zero = e.index(0);
      low = e.maxi(e.subi(low, start), zero);
      high = e.mini(e.subi(high, start), e.expr(size));
      // The whole range may lie before this nest.
      high = e.maxi(high, low);
    }
    e.scope([&] { overRange(kernel, e, nest, low, high); });
    offset = offset + size;
  }
  kernel.kernel.extent = offset;
  kernel.kernel.grain = grainFor(kernel.shapes, kernel.shapes.constant(elementPrice(kernel.region)));
  return success();
}

LogicalResult flame::cpu::emitLoops(KernelBuilder &kernel) {
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
  LoopsBuilder e(kernel.b, kernel.loc, kernel, kernel.shapes);
  op.buildLoops(e, kernel.begin, kernel.end);
  kernel.kernel.extent = op.parallelExtent(kernel.shapes);
  // The work is about that of touching every element once.
  DimExpr work = kernel.shapes.constant(1);
  for (Value operand : op->getOperands())
    if (isa<RankedTensorType>(operand.getType()))
      work = work + kernel.shapes.numElements(operand);
  for (Value result : op->getResults())
    work = work + kernel.shapes.numElements(result);
  DimExpr perIteration = floorDiv(work, max(kernel.kernel.extent, kernel.shapes.constant(1)));
  kernel.kernel.grain = grainFor(kernel.shapes, perIteration);
  return success();
}
