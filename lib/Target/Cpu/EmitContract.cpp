//===- EmitContract.cpp - blocked matrix products ---------------------------------------------------------------------===//
//
// The iteration space is the tiles of the result. A tile is computed in scratch memory from panels: rows of x are packed
// on the way, with whatever the region computes before the product; so are columns of y, unless they come packed
// (PackContractions). Then the tile's elements are pulled through what the region computes after the product, and stored.
// Rows and columns beyond the edge repeat the last one; their sums are never stored.
//
// Where rows go by groups, whose ends are read when the kernel runs, each group has places for tiles: group g from (its first row / tile) + g
// on, which is behind those that the group before needs. In some places there is no tile. Rows behind the groups are one more group,
// of sums of nothing.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "MicroKernel.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Shape.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

bool flame::cpu::isPlainEpilogue(KernelBuilder &kernel, Value anchor, bool transposed) {
  // Everything that depends on the anchor must be elementwise of its shape: then an element of the results needs one
  // element of the product, at the same index or, with `transposed`, at one whose dims are in another order.
  llvm::SmallPtrSet<Value, 16> dependent{anchor};
  SmallVector<DimExpr> dims(kernel.shapes.dims(anchor));
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    if (llvm::none_of(op.getOperands(), [&](Value v) { return dependent.contains(v); }))
      continue;
    auto isYield = [](Operation *user) { return isa<YieldOp>(user); };
    if (transposed && isa<TransposeOp>(op) && llvm::all_of(op.getUsers(), isYield)) {
      dependent.insert(op.getResult(0));
      continue;
    }
    if (!isa<PointwiseInterface>(op) || op.getNumResults() != 1 || kernel.shapes.dims(op.getResult(0)) != ArrayRef(dims))
      return false;
    dependent.insert(op.getResult(0));
  }
  return llvm::all_of(kernel.region.getYielded(), [&](Value v) { return dependent.contains(v); });
}

namespace {

class MatMul {
public:
  MatMul(KernelBuilder &kernel, MatMulOp op)
      : MatMul(kernel, {op.getX(), op.getY(), op.getResult(), {}, op.getTransposeX(), op.getTransposeY(), op.getPackedColumns().has_value()}) {}
  MatMul(KernelBuilder &kernel, GroupedMatMulOp op)
      : MatMul(kernel, {op.getX(), op.getY(), op.getResult(), op.getEnds(), false, op.getTransposeY(), false}) {}

private:
  struct Product {
    Value x, y, result;
    Value ends; // of groups of rows; null: there are none
    bool transposeX, transposeY, packed;
  };
  MatMul(KernelBuilder &kernel, Product op)
      : kernel(kernel), op(op), shapes(kernel.shapes), e(kernel.b, kernel.loc, kernel, kernel.shapes), scratch(kernel) {}

public:
  /// False if the product is not for blocks; nothing is built then.
  bool prepare() {
    xDims.assign(shapes.dims(op.x));
    yDims.assign(shapes.dims(op.y));
    dims.assign(shapes.dims(op.result));
    elementType = getElementTypeOrSelf(op.result.getType());
    type = computeType(elementType);
    packed = op.packed;
    if (xDims.size() < 2 || yDims.size() < (packed ? 3 : 2) || type.getIntOrFloatBitWidth() < 32)
      return false;
    m = dims[dims.size() - 2];
    n = dims[dims.size() - 1];
    k = op.transposeX ? xDims[xDims.size() - 2] : xDims.back();
    batch.assign(dims.begin(), dims.end() - 2);
    yMatrix = packed ? 3 : 2;
    // A matrix that all of the batch shares: the batch's rows are one tall matrix.
    bool shared = llvm::all_of(ArrayRef(yDims).drop_back(yMatrix), [](DimExpr d) { return d.isConstant(1); });
    if (shared && !op.transposeX && xDims.size() == dims.size()) {
      rows.assign(xDims.begin(), xDims.end() - 1);
      batch.clear();
      m = shapes.constant(1);
      for (DimExpr d : rows)
        m = m * d;
    } else {
      rows = {m};
    }
    bytes = type.getIntOrFloatBitWidth() / 8;
    s = matmulSchedule(kernel.target, bytes, m, n, packed);
    return !packed || yDims.back().isConstant(s.nr);
  }

  void build() {
    DimExpr one = shapes.constant(1);
    DimExpr rowTiles = op.ends ? floorDiv(m, shapes.constant(s.mc)) + yDims[0] + 1 : ceilDiv(m, shapes.constant(s.mc)), columnTiles = ceilDiv(n, shapes.constant(s.nc));
    DimExpr batches = one;
    for (DimExpr d : batch)
      batches = batches * d;
    rowStrip = scratch.part(e, k * s.mc, bytes);
    if (!packed)
      columnStrip = scratch.part(e, k * s.nc, bytes);
    tile = scratch.part(e, shapes.constant(s.mc * s.nc), bytes);

    // Tiles that share what must be packed follow each other: the rows if the columns are packed, else the columns.
    Value none = e.index(-1);
    e.loop(kernel.begin, kernel.end, {none, none}, [&](Value t, ValueRange last) {
      Values grid = packed ? e.delinearize(t, {batches, rowTiles, columnTiles})
                           : e.delinearize(t, {batches, columnTiles, rowTiles});
      Value b = grid[0], rowTile = packed ? grid[1] : grid[2], columnTile = packed ? grid[2] : grid[1];
      batchAt = e.delinearize(b, batch);
      firstColumn = e.muli(columnTile, e.index(s.nc));
      columnCount = e.mini(e.subi(e.expr(n), firstColumn), e.index(s.nc));
      if (op.ends) {
        placeInGroup(rowTile);
        Value columnId = e.addi(e.muli(columnTile, e.addi(e.expr(yDims[0]), e.index(1))), group);
        Value isNew = e.cmpi(CmpIPredicate::ne, columnId, last[1]), exists = e.cmpi(CmpIPredicate::sgt, rowCount, e.index(0));
        e.ifThen(exists, [&] {
          e.ifThen(e.cmpi(CmpIPredicate::sgt, inner, e.index(0)), [&] {
            packRows();
            e.ifThen(isNew, [&] { packColumns(); });
          });
          multiply();
          finish();
        });
        return Values{rowTile, e.select(exists, columnId, last[1])};
      }
      firstRow = e.muli(rowTile, e.index(s.mc));
      rowCount = e.mini(e.subi(e.expr(m), firstRow), e.index(s.mc));
      inner = e.expr(k);
      Value rowId = e.addi(e.muli(b, e.expr(rowTiles)), rowTile);
      Value columnId = e.addi(e.muli(b, e.expr(columnTiles)), columnTile);
      e.ifThen(e.cmpi(CmpIPredicate::ne, rowId, last[0]), [&] { packRows(); });
      if (!packed)
        e.ifThen(e.cmpi(CmpIPredicate::ne, columnId, last[1]), [&] { packColumns(); });
      multiply();
      finish();
      return Values{rowId, columnId};
    });
    kernel.kernel.extent = batches * rowTiles * columnTiles;
    // A multiply-add is half a simple operation in vectors, and there are eight of them in one.
    DimExpr work = min(m, shapes.constant(s.mc)) * min(n, shapes.constant(s.nc)) * k;
    kernel.kernel.grain = grainFor(shapes, floorDiv(work, shapes.constant(s.lanes)) + 64);
    kernel.kernel.scratch = scratch.total();
  }

private:
  KernelBuilder &kernel;
  Product op;
  ShapeContext &shapes;
  ElementBuilder e;
  ScratchLayout scratch;
  Schedule s;
  Type elementType, type;
  unsigned bytes, yMatrix;
  bool packed;
  SmallVector<DimExpr> xDims, yDims, dims, batch, rows;
  DimExpr m, n, k;
  Value rowStrip, columnStrip, tile;
  // Of the tile in work.
  Values batchAt;
  Value firstRow, firstColumn, rowCount, columnCount, inner;
  Value group; // if there are groups

  /// The row behind a group; `number` 0 stands for none, of which that is 0. Behind the last one all rows are.
  Value endOf(Value number) {
    Value count = e.expr(yDims[0]), rows = e.expr(m);
    Value isFirst = e.cmpi(CmpIPredicate::eq, number, e.index(0)), isLast = e.cmpi(CmpIPredicate::sgt, number, count);
    auto load = [&] { return e.clampi(e.elementIndex(op.ends, e.subi(number, e.index(1))), e.index(0), rows); };
    return e.ifElse(e.scalars(e.b.getI1Type()).logicalOr(isFirst, isLast),
                    [&] { return e.select(isFirst, e.index(0), rows); }, load);
  }
  /// Finds the group that has a place, and the rows there; none if it has no tile.
  void placeInGroup(Value place) {
    auto firstPlace = [&](Value number) { return e.addi(e.divi(endOf(number), e.index(s.mc)), number); };
    // Group `low` has the place or one behind it has; those from `high` on have not.
    Value count = e.expr(yDims[0]), one = e.index(1);
    std::optional<int64_t> known = yDims[0].constant();
    Value steps = e.index(known ? llvm::Log2_64_Ceil(*known + 1) : 64);
    Values found = e.loop(e.index(0), steps, {e.index(0), e.addi(count, one)}, [&](Value, ValueRange range) {
      Value middle = e.divi(e.addi(range[0], range[1]), e.index(2));
      Value isBehind = e.cmpi(CmpIPredicate::sgt, firstPlace(middle), place);
      return Values{e.select(isBehind, range[0], middle), e.select(isBehind, middle, range[1])};
    });
    group = found[0];
    Value ahead = e.subi(place, firstPlace(group)), end = endOf(e.addi(group, one));
    firstRow = e.addi(endOf(group), e.muli(ahead, e.index(s.mc)));
    rowCount = e.mini(e.subi(end, firstRow), e.index(s.mc));
    // Of ends that fall, a group may be found whose places have not come yet.
    rowCount = e.select(e.cmpi(CmpIPredicate::slt, ahead, e.index(0)), e.index(0), rowCount);
    inner = e.select(e.cmpi(CmpIPredicate::slt, group, count), e.expr(k), e.index(0));
  }

  /// An operand's batch index: the result's, right-aligned, 0 where it is broadcast.
  Values batchIndex(ArrayRef<DimExpr> own) {
    Values at;
    size_t shift = batch.size() - std::min(batch.size(), own.size());
    for (auto [d, size] : llvm::enumerate(own)) {
      if (size.isConstant(1) || batch.empty())
        at.push_back(e.index(0));
      else if (size == batch[d + shift] || size.constant())
        at.push_back(batchAt[d + shift]);
      else
        at.push_back(e.select(e.cmpi(CmpIPredicate::eq, e.expr(size), e.index(1)), e.index(0), batchAt[d + shift]));
    }
    return at;
  }

  Value elementOf(Value operand, ValueRange at) {
    return e.scalars(elementType).cast(e.element(operand, at), getElementTypeOrSelf(operand.getType()), elementType);
  }
  void store(Value pointer, Value position, Value scalar) {
    LLVM::StoreOp::create(e.b, e.loc, scalar, kernel.address(e.b, e.loc, pointer, type, position));
  }
  Value panels(Value count, int64_t width) { return e.divi(e.addi(count, e.index(width - 1)), e.index(width)); }

  /// rowStrip[panel][k][r]
  void packRows() {
    Values head;
    bool tall = rows.size() > 1 || batch.empty();
    if (!tall)
      head = batchIndex(ArrayRef(xDims).drop_back(2));
    Value limit = e.subi(e.expr(m), e.index(1));
    auto element = [&](Value row, Value i) {
      Values at = head;
      if (tall)
        llvm::append_range(at, e.delinearize(row, rows));
      else
        at.push_back(row);
      at.push_back(i);
      if (op.transposeX)
        std::swap(at[at.size() - 1], at[at.size() - 2]);
      return elementOf(op.x, at);
    };
    e.loop(e.index(0), panels(rowCount, s.mr), {}, [&](Value panel, ValueRange) {
      Value start = e.addi(firstRow, e.muli(panel, e.index(s.mr)));
      Value base = e.muli(panel, e.muli(inner, e.index(s.mr)));
      auto one = [&](Value r, Value i) {
        Value row = e.mini(e.addi(start, r), limit);
        store(rowStrip, e.addi(base, e.addi(e.muli(i, e.index(s.mr)), r)), element(row, i));
        return Values();
      };
      // Along the contiguous dim of x.
      if (op.transposeX)
        e.loop(e.index(0), inner, {}, [&](Value i, ValueRange) {
          return e.loop(e.index(0), e.index(s.mr), {}, [&](Value r, ValueRange) { return one(r, i); });
        });
      else
        e.loop(e.index(0), e.index(s.mr), {}, [&](Value r, ValueRange) {
          return e.loop(e.index(0), inner, {}, [&](Value i, ValueRange) { return one(r, i); });
        });
      return Values();
    });
  }

  /// columnStrip[panel][k][c]
  void packColumns() {
    Values head = op.ends ? Values{group} : batchIndex(ArrayRef(yDims).drop_back(2));
    Value limit = e.subi(e.expr(n), e.index(1));
    auto element = [&](Value i, Value column) {
      Values at = head;
      at.push_back(op.transposeY ? column : i);
      at.push_back(op.transposeY ? i : column);
      return elementOf(op.y, at);
    };
    e.loop(e.index(0), panels(columnCount, s.nr), {}, [&](Value panel, ValueRange) {
      Value start = e.addi(firstColumn, e.muli(panel, e.index(s.nr)));
      Value base = e.muli(panel, e.muli(inner, e.index(s.nr)));
      auto put = [&](Value i, Value c, Value column) {
        store(columnStrip, e.addi(base, e.addi(e.muli(i, e.index(s.nr)), c)), element(i, column));
        return Values();
      };
      if (op.transposeY) {
        e.loop(e.index(0), e.index(s.nr), {}, [&](Value c, ValueRange) {
          Value column = e.mini(e.addi(start, c), limit);
          return e.loop(e.index(0), inner, {}, [&](Value i, ValueRange) { return put(i, c, column); });
        });
        return Values();
      }
      // A whole panel needs no clamping, so that its rows are copied as vectors.
      auto panelRows = [&](bool whole) {
        e.loop(e.index(0), inner, {}, [&](Value i, ValueRange) {
          return e.loop(e.index(0), e.index(s.nr), {}, [&](Value c, ValueRange) {
            Value column = e.addi(start, c);
            return put(i, c, whole ? column : e.mini(column, limit));
          });
        });
      };
      Value whole = e.cmpi(CmpIPredicate::sle, e.addi(start, e.index(s.nr)), e.expr(n));
      e.ifThen(whole, [&] { panelRows(true); });
      e.ifThen(e.scalars(e.b.getI1Type()).logicalNot(whole), [&] { panelRows(false); });
      return Values();
    });
  }

  void multiply() {
    Value columns = e.index(s.nc);
    Value rowPanels = panels(rowCount, s.mr), columnPanels = panels(columnCount, s.nr);
    buildClear(kernel, e, s, type, tile, e.muli(e.muli(rowPanels, e.index(s.mr)), columns));
    // Packed columns: panels [batch…, panel, k, nr] of the whole matrix.
    Value right = columnStrip;
    if (packed) {
      Values head = batchIndex(ArrayRef(yDims).drop_back(3));
      head.append({e.divi(firstColumn, e.index(s.nr)), e.index(0), e.index(0)});
      right = kernel.address(e.b, e.loc, kernel.inputBuffer(cast<BlockArgument>(op.y)), type,
                             e.linearize(head, yDims));
    }
    e.loop(e.index(0), inner, e.index(s.kc), {}, [&](Value first, ValueRange) {
      Value length = e.mini(e.subi(inner, first), e.index(s.kc));
      e.loop(e.index(0), columnPanels, {}, [&](Value j, ValueRange) {
        Value b = kernel.address(e.b, e.loc, right, type,
                                 e.muli(e.addi(e.muli(j, inner), first), e.index(s.nr)));
        e.loop(e.index(0), rowPanels, {}, [&](Value i, ValueRange) {
          MicroOperands o;
          o.a = kernel.address(e.b, e.loc, rowStrip, type, e.muli(e.addi(e.muli(i, inner), first), e.index(s.mr)));
          o.b = b;
          o.stride = e.index(s.nr);
          o.taps = {e.index(0)};
          o.groups = length;
          o.tile = kernel.address(e.b, e.loc, tile, type,
                                  e.addi(e.muli(i, e.index(s.mr * s.nc)), e.muli(j, e.index(s.nr))));
          o.tileStride = columns;
          buildMicroKernel(kernel, e, s, type, o);
          return Values();
        });
        return Values();
      });
      return Values();
    });
  }

  void finish() {
    e.loop(e.index(0), rowCount, {}, [&](Value i, ValueRange) {
      Value row = e.addi(firstRow, i);
      Values head = batch.empty() ? e.delinearize(row, rows) : batchAt;
      if (!batch.empty())
        head.push_back(row);
      e.loop(e.index(0), columnCount, {}, [&](Value j, ValueRange) {
        Values at = head;
        at.push_back(e.addi(firstColumn, j));
        Value sum = LLVM::LoadOp::create(
            e.b, e.loc, type,
            kernel.address(e.b, e.loc, tile, type, e.addi(e.muli(i, e.index(s.nc)), j)));
        e.setScalar(op.result, sum);
        for (auto [result, value] : llvm::enumerate(kernel.region.getYielded())) {
          Values place = at;
          if (auto transpose = value.getDefiningOp<TransposeOp>())
            for (auto [d, source] : llvm::enumerate(transpose.getPerm()))
              place[d] = at[source];
          kernel.storeResult(e, result, place, e.element(value, place));
        }
        return Values();
      });
      return Values();
    });
  }
};

} // namespace

LogicalResult flame::cpu::emitContract(KernelBuilder &kernel) {
  Operation *op = nullptr;
  for (Operation &inner : kernel.region.getBlock()->without_terminator())
    if (isa<MatMulOp, GroupedMatMulOp>(inner)) {
      if (op)
        return emitLoop(kernel);
      op = &inner;
    }
  if (!op || !isPlainEpilogue(kernel, op->getResult(0), /*transposed=*/true))
    return emitLoop(kernel);
  auto emit = [&](auto anchor) {
    MatMul product(kernel, anchor);
    if (!product.prepare())
      return emitLoop(kernel);
    product.build();
    return success();
  };
  auto grouped = dyn_cast<GroupedMatMulOp>(op);
  return grouped ? emit(grouped) : emit(cast<MatMulOp>(op));
}
