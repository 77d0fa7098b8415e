//===- EmitRow.cpp - reductions over trailing dims --------------------------------------------------------------------===//
//
// A row program: the leading dims are rows; for each row reductions in their order, each over what the earlier ones gave,
// then the results. Short rows belong to a warp each, eight in a block; a longer row has a block of its own. The threads of a
// row take its elements in turns, so that neighbours read neighbouring addresses; their partial results are joined by
// shuffles, and between warps through shared memory.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

namespace {

constexpr int warp = 32;

/// Folds by all threads of a row.
class RowBuilder : public ElementBuilder {
public:
  RowBuilder(KernelBuilder &kernel, int lanes, Value lane)
      : ElementBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), lanes(lanes), lane(lane) {}

  /// Off while a body runs that only some of the threads take part in.
  bool parallel = true;

  Value fold(ArrayRef<DimExpr> extents, Value init, function_ref<Value(Value, Value)> combine,
             function_ref<Value(ValueRange)> element) override {
    if (!parallel)
      return ElementBuilder::fold(extents, init, combine, element);
    DimExpr size = shapes().constant(1);
    for (DimExpr extent : extents)
      size = size * extent;
    parallel = false;
    Value partial = loop(lane, expr(size), index(lanes), init, [&](Value i, ValueRange carried) {
      return Values{combine(carried[0], element(delinearize(i, extents)))};
    })[0];
    parallel = true;
    partial = joinWarp(partial, combine);
    return lanes == warp ? partial : joinBlock(partial, combine);
  }

private:
  KernelBuilder &kernel;
  int lanes;
  Value lane;

  Value joinWarp(Value partial, function_ref<Value(Value, Value)> combine) {
    Value width = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(warp));
    for (int offset = warp / 2; offset > 0; offset /= 2) {
      Value distance = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(offset));
      auto shuffle = gpu::ShuffleOp::create(b, loc, partial, distance, width, gpu::ShuffleMode::XOR);
      partial = combine(partial, shuffle.getShuffleResult());
    }
    return partial;
  }

  Value joinBlock(Value partial, function_ref<Value(Value, Value)> combine) {
    Value memory = kernel.sharedMemory(partial.getType(), lanes / warp);
    ifThen(cmpi(arith::CmpIPredicate::eq, remi(lane, index(warp)), index(0)), [&] {
      memref::StoreOp::create(b, loc, partial, memory, divi(lane, index(warp)));
    });
    kernel.barrier();
    // Every thread joins the warps' results in the same order, so all get the same number.
    Value all = memref::LoadOp::create(b, loc, memory, index(0));
    for (int i = 1; i < lanes / warp; ++i)
      all = combine(all, memref::LoadOp::create(b, loc, memory, index(i)));
    return all;
  }
};

} // namespace

/// True for an op whose element is worth keeping: it has a loop in it.
static bool isReduction(Operation &op) {
  if (isa<PointwiseInterface>(op))
    return false;
  auto pull = dyn_cast<ElementInterface>(&op);
  return pull && (!pull.isCheap() || op.getName().stripDialect() == "reduce");
}

LogicalResult flame::cuda::emitRow(KernelBuilder &kernel) {
  ShapeContext &shapes = kernel.shapes;
  SmallVector<Operation *> reductions;
  bool regular = true;
  for (Operation &op : kernel.region.getBlock()->without_terminator())
    if (isReduction(op)) {
      reductions.push_back(&op);
      // Shuffles are for 32 and 64 bits, and only `reduce` folds.
      regular &= op.getName().stripDialect() == "reduce" &&
                 computeType(getElementTypeOrSelf(op.getResult(0).getType())).getIntOrFloatBitWidth() >= 32;
    }
  SmallVector<DimExpr> outer;
  for (auto [i, op] : llvm::enumerate(reductions)) {
    SmallVector<DimExpr> dims(shapes.dims(op->getResult(0)));
    while (!dims.empty() && dims.back().isConstant(1))
      dims.pop_back();
    if (i == 0)
      outer = dims;
    regular &= op->getNumResults() == 1 && dims == outer;
  }
  for (Value value : kernel.region.getYielded()) {
    ArrayRef<DimExpr> dims = shapes.dims(value);
    regular &= dims.size() >= outer.size() && dims.take_front(outer.size()) == ArrayRef<DimExpr>(outer);
  }
  if (!regular || reductions.empty())
    return emitLoop(kernel);

  DimExpr rows = shapes.constant(1), columns = shapes.constant(1);
  for (DimExpr dim : outer)
    rows = rows * dim;
  for (DimExpr dim : shapes.dims(reductions.front()->getOperand(0)).drop_front(outer.size()))
    columns = columns * dim;
  int64_t length = columns.constant().value_or(2048);
  bool perWarp = length <= 512;
  int lanes = perWarp ? warp : length <= 2048 ? 128 : length <= 8192 ? 256 : 512;
  kernel.kernel.threads = perWarp ? 256 : lanes;
  int rowsPerBlock = kernel.kernel.threads / lanes;

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Value row = kernel.block, lane = kernel.thread;
  if (perWarp) {
    row = e.addi(e.muli(kernel.block, e.index(rowsPerBlock)), e.divi(kernel.thread, e.index(warp)));
    lane = e.remi(kernel.thread, e.index(warp));
  }
  RowBuilder r(kernel, lanes, lane);
  auto program = [&] {
    Values at = r.delinearize(row, outer);
    for (Operation *op : reductions) {
      Value result = op->getResult(0);
      Values full(at);
      full.resize(shapes.rank(result), r.index(0));
      r.setScalar(result, r.element(result, full));
    }
    r.parallel = false;
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
      r.loop(lane, r.expr(size), r.index(lanes), {}, [&](Value column, ValueRange) {
        Values full = at;
        llvm::append_range(full, r.delinearize(column, inner));
        for (unsigned j : group)
          kernel.storeResult(r, j, full, r.element(kernel.region.getYielded()[j], full));
        return Values();
      });
    }
  };
  // A warp beyond the last row has nothing to do, and no barrier to miss.
  if (perWarp)
    r.ifThen(r.cmpi(arith::CmpIPredicate::slt, row, r.expr(rows)), program);
  else
    program();
  kernel.kernel.extent = ceilDiv(rows, shapes.constant(rowsPerBlock));
  return success();
}
