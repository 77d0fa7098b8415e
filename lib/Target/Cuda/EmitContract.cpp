//===- EmitContract.cpp - matrix products in tiles --------------------------------------------------------------------===//
//
// A block of 256 threads computes a tile of 64×64 of the result, each thread 4×4 of it, in float or double by fused
// multiply-adds: strict arithmetic, on every architecture. Strips of 16 columns of x and rows of y are staged in shared
// memory; their elements are pulled, with whatever the region computes before the product, transposes and broadcast batches
// included. The tile's elements are pulled through what the region computes after the product, and stored.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "flame/Ops/Contraction.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {
constexpr int tile = 64, strip = 16, side = 4, threads = 256;
}

/// True if what depends on the product is elementwise of its shape, so that an element of the results needs one element of
/// the product, at the same index.
static bool isPlainEpilogue(KernelBuilder &kernel, Value product) {
  llvm::SmallPtrSet<Value, 16> dependent{product};
  SmallVector<DimExpr> dims(kernel.shapes.dims(product));
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    if (llvm::none_of(op.getOperands(), [&](Value v) { return dependent.contains(v); }))
      continue;
    if (!isa<PointwiseInterface>(op) || op.getNumResults() != 1 || kernel.shapes.dims(op.getResult(0)) != ArrayRef(dims))
      return false;
    dependent.insert(op.getResult(0));
  }
  return llvm::all_of(kernel.region.getYielded(), [&](Value v) { return dependent.contains(v); });
}

LogicalResult flame::cuda::emitContract(KernelBuilder &kernel) {
  ShapeContext &shapes = kernel.shapes;
  MatMulOp op;
  unsigned products = 0;
  for (Operation &inner : kernel.region.getBlock()->without_terminator())
    if (auto matmul = dyn_cast<MatMulOp>(inner)) {
      op = matmul;
      ++products;
    }
  if (products != 1 || op.getPackedColumns() || !isPlainEpilogue(kernel, op.getResult()))
    return emitLoop(kernel);
  SmallVector<DimExpr> xDims(shapes.dims(op.getX())), yDims(shapes.dims(op.getY())), dims(shapes.dims(op.getResult()));
  Type elementType = getElementTypeOrSelf(op.getResult().getType()), type = computeType(elementType);
  Type left = getElementTypeOrSelf(op.getX().getType()), right = getElementTypeOrSelf(op.getY().getType());
  // Vectors and integers go by the plain definition; so do products too thin to fill a tile.
  if (xDims.size() < 2 || yDims.size() < 2 || !isa<FloatType>(type))
    return emitLoop(kernel);
  DimExpr m = dims[dims.size() - 2], n = dims.back(), k = op.getTransposeX() ? xDims[xDims.size() - 2] : xDims.back();
  SmallVector<DimExpr> batch(dims.begin(), dims.end() - 2);
  DimExpr batches = shapes.constant(1), size = shapes.constant(tile);
  for (DimExpr dim : batch)
    batches = batches * dim;
  DimExpr rowTiles = ceilDiv(m, size), columnTiles = ceilDiv(n, size);

  kernel.kernel.threads = threads;
  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  auto at = [&](int64_t i) { return e.index(i); };
  ScalarBuilder s = e.scalars(elementType);
  Value zero = s.number(elementType, 0);
  // Neighbouring blocks share columns of y.
  Values grid = e.delinearize(kernel.block, {batches, columnTiles, rowTiles});
  Values batchAt = e.delinearize(grid[0], batch);
  Value firstRow = e.muli(grid[2], at(tile)), firstColumn = e.muli(grid[1], at(tile));
  Value rows = e.expr(m), columns = e.expr(n), depth = e.expr(k);

  /// The batch index of an operand: its dims follow the result's, right-aligned, where they are not broadcast.
  auto batchOf = [&](ArrayRef<DimExpr> own) {
    Values index;
    size_t ownBatch = own.size() - 2, shift = batch.size() - ownBatch;
    for (size_t d = 0; d < ownBatch; ++d) {
      if (own[d].isConstant(1))
        index.push_back(at(0));
      else if (own[d] == batch[d + shift] || own[d].constant())
        index.push_back(batchAt[d + shift]);
      else
        index.push_back(e.select(e.cmpi(CmpIPredicate::eq, e.expr(own[d]), at(1)), at(0), batchAt[d + shift]));
    }
    return index;
  };
  Values xBatch = batchOf(xDims), yBatch = batchOf(yDims);
  // A column more than needed, so that a warp's accesses spread over the banks.
  constexpr int pitch = tile + 1;
  Value xTile = kernel.sharedMemory(type, strip * pitch), yTile = kernel.sharedMemory(type, strip * pitch);

  /// Fills a strip, element i of the thread's share at (k, position) = (i / tile, i % tile) or, where the operand's
  /// contiguous dim is k, at (i % strip, i / strip).
  auto fill = [&](Value memory, Value operand, Type from, ArrayRef<Value> operandBatch, bool transposed, bool contiguousK,
                  Value first, Value limit, Value base) {
    e.loop(kernel.thread, at(strip * tile), at(threads), {}, [&](Value i, ValueRange) {
      Value inner = contiguousK ? e.remi(i, at(strip)) : e.divi(i, at(tile));
      Value position = contiguousK ? e.divi(i, at(strip)) : e.remi(i, at(tile));
      Value kAt = e.addi(base, inner), rowAt = e.addi(first, position);
      Value inside = arith::AndIOp::create(e.b, e.loc, e.cmpi(CmpIPredicate::slt, kAt, depth),
                                           e.cmpi(CmpIPredicate::slt, rowAt, limit));
      Value element = e.ifElse(
          inside,
          [&] {
            Values index(operandBatch);
            index.push_back(transposed ? kAt : rowAt);
            index.push_back(transposed ? rowAt : kAt);
            return s.cast(e.element(operand, index), from, elementType);
          },
          [&] { return s.number(elementType, 0); });
      memref::StoreOp::create(e.b, e.loc, element, memory, e.addi(e.muli(inner, at(pitch)), position));
      return Values();
    });
  };

  Value threadRow = e.divi(kernel.thread, at(tile / side)), threadColumn = e.remi(kernel.thread, at(tile / side));
  Values sums(side * side, zero);
  Values total = e.loop(at(0), depth, at(strip), sums, [&](Value base, ValueRange carried) {
    fill(xTile, op.getX(), left, xBatch, op.getTransposeX(), !op.getTransposeX(), firstRow, rows, base);
    fill(yTile, op.getY(), right, yBatch, !op.getTransposeY(), op.getTransposeY(), firstColumn, columns, base);
    kernel.barrier();
    Values after = e.loop(at(0), at(strip), Values(carried), [&](Value inner, ValueRange acc) {
      Values xs, ys, next;
      Value line = e.muli(inner, at(pitch));
      for (int i = 0; i < side; ++i) {
        // Rows 16 apart and columns 16 apart: neighbouring threads touch neighbouring words.
        xs.push_back(memref::LoadOp::create(e.b, e.loc, xTile, e.addi(line, e.addi(threadRow, at(i * tile / side)))));
        ys.push_back(memref::LoadOp::create(e.b, e.loc, yTile, e.addi(line, e.addi(threadColumn, at(i * tile / side)))));
      }
      for (int i = 0; i < side; ++i)
        for (int j = 0; j < side; ++j)
          next.push_back(s.add(acc[i * side + j], s.mul(xs[i], ys[j])));
      return next;
    });
    kernel.barrier();
    return after;
  });

  for (int i = 0; i < side; ++i)
    for (int j = 0; j < side; ++j) {
      Value row = e.addi(firstRow, e.addi(threadRow, at(i * tile / side)));
      Value column = e.addi(firstColumn, e.addi(threadColumn, at(j * tile / side)));
      Value inside = arith::AndIOp::create(e.b, e.loc, e.cmpi(CmpIPredicate::slt, row, rows),
                                           e.cmpi(CmpIPredicate::slt, column, columns));
      e.ifThen(inside, [&] {
        Values index(batchAt);
        index.push_back(row);
        index.push_back(column);
        e.setScalar(op.getResult(), total[i * side + j]);
        for (unsigned result = 0; result < kernel.region.getNumResults(); ++result)
          kernel.storeResult(e, result, index, e.element(kernel.region.getYielded()[result], index));
        e.clearScalar(op.getResult());
      });
    }
  kernel.kernel.extent = batches * rowTiles * columnTiles;
  return success();
}
