//===- EmitScan.cpp - running sums and products
//-----------------------------------------------------------------------===//
//
// A block scans a line, 256 threads with a few neighbouring elements each at a time, and carries what came before from
// one such tile to the next: threads scan their elements, warps their threads, and each thread joins the warps before
// its own. Few long lines are shared by teams of blocks as rows are (EmitSplitRow.cpp): each block sums its piece, the
// team exchanges the sums, and each block scans its piece from the sum of those before it.
//
// Along another dim than the last, a block has some neighbouring columns, a thread a few consecutive rows of a column
// or several; threads of a column join what they have through shared memory. Long columns that are few are shared by
// teams, too; their blocks leave the sums of their columns in scratch memory.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "JoinThreads.h"
#include "KernelOps.h"
#include "flame/Body/Reduction.h"
#include "flame/Ops/Reduce.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "schedule/Team.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

constexpr int threads = 256, warps = threads / warpSize;
/// Lines from this length on are shared by blocks where there are few of them.
constexpr int64_t longLine = 1 << 15, fewLines = 264;
/// Columns: rows of a thread at a time; shorter columns are a thread's each; two blocks for each of 132
/// multiprocessors; as many steps of a block make columns long.
constexpr int64_t rowsEach = 8, leastRows = 64, manyBlocks = 264, manySteps = 16;

class ScanBuilder : public LoopsBuilder {
public:
  ScanBuilder(KernelBuilder &kernel, ScanOp op)
      : LoopsBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), op(op),
        elementType(getElementTypeOrSelf(op.getX().getType())), scalar(scalars(elementType)),
        scan(reductionOf(op, *this)), dims(shapes().dims(op.getX())), length(dims[op.getAxis()]),
        lines(shapes().constant(1)) {
    for (DimExpr dim : ArrayRef<DimExpr>(dims).take_front(op.getAxis()))
      lines = lines * dim;
    identity = widen(scan.init[0]);
  }
  void build();
  void buildColumns();

private:
  KernelBuilder &kernel;
  ScanOp op;
  Type elementType;
  ScalarBuilder scalar;
  Reduction scan;
  SmallVector<DimExpr> dims;
  DimExpr length, lines;
  int width = 1;
  Value identity;

  /// Shuffles are for 32 and 64 bits; sums and products of the low bits do not depend on the others.
  Value widen(Value x) {
    bool narrow = isa<IntegerType>(x.getType()) && x.getType().getIntOrFloatBitWidth() < 32;
    return narrow ? arith::ExtUIOp::create(b, loc, b.getI32Type(), x).getResult() : x;
  }
  Value narrow(Value x) {
    Type type = computeType(elementType);
    return type == x.getType() ? x : arith::TruncIOp::create(b, loc, type, x).getResult();
  }
  Value join(Value x, Value y) { return scan.combine(x, y)[0]; }
  Values at(ArrayRef<Value> line, Value position) {
    Values index(line);
    index.push_back(op.getReverse() ? subi(subi(expr(length), this->index(1)), position) : position);
    index.resize(dims.size(), this->index(0));
    return index;
  }
  Value shuffleUp(Value x, int distance) {
    auto number = [&](int n) { return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(n)); };
    return gpu::ShuffleOp::create(b, loc, x, number(distance), number(warpSize), gpu::ShuffleMode::UP)
        .getShuffleResult();
  }
  SmallVector<Values> elementsOf(ArrayRef<Value> line, Value group);
  Value sumPiece(ArrayRef<Value> line, Value begin, Value end);
  void scanPiece(ArrayRef<Value> line, Value begin, Value end, Value carry);
  void buildTeams(Value groups);

  /// What a block of a team has of a place (a line, some columns): steps `begin` to `end`, as member number `member` of
  /// the team that begins at block `first`.
  struct Share {
    Value place, round, first, member, begin, end;
  };
  void inTeams(DimExpr places, DimExpr useful, Value steps, function_ref<void(const Share &)> scan);

  // Columns: `width` neighbours a thread, `columns` × `lanes` threads a block.
  int64_t columns = 1, lanes = 1;
  Value column, lane, totals;
  struct Columns {
    Values before;            // index of the dims before the axis
    SmallVector<Values> each; // of those behind it
    Value inside;
  };
  Columns columnsOf(Value place, ArrayRef<DimExpr> inner, DimExpr groups);
  Values indexOf(const Columns &own, int number, Value row);
  std::pair<Values, Values> joinLanes(ValueRange sums);
  Values sumColumns(const Columns &own, Value begin, Value end);
  void scanColumns(const Columns &own, Value begin, Value end, ValueRange carry);
};

} // namespace

/// Indices of a group's elements.
SmallVector<Values> ScanBuilder::elementsOf(ArrayRef<Value> line, Value group) {
  SmallVector<Values> all;
  for (int i = 0; i < width; ++i)
    all.push_back(at(line, addi(muli(group, index(width)), index(i))));
  return all;
}

Value ScanBuilder::sumPiece(ArrayRef<Value> line, Value begin, Value end) {
  Value sum = loop(addi(begin, kernel.thread), end, index(threads), identity, [&](Value group, ValueRange carried) {
    Value next = carried[0];
    for (const Values &index : elementsOf(line, group))
      next = join(next, widen(element(op.getX(), index)));
    return Values{next};
  })[0];
  auto combine = [&](Value x, Value y) { return join(x, y); };
  return joinBlock(kernel, *this, threads, threads, joinWarp(*this, sum, combine), combine);
}

/// Scans groups `begin` to `end`, after `carry`.
void ScanBuilder::scanPiece(ArrayRef<Value> line, Value begin, Value end, Value carry) {
  Value totals = kernel.sharedMemory(identity.getType(), warps);
  Value lane = remi(kernel.thread, index(warpSize)), warp = divi(kernel.thread, index(warpSize));
  loop(begin, end, index(threads), carry, [&](Value tile, ValueRange carried) {
    Value group = addi(tile, kernel.thread), inside = cmpi(CmpIPredicate::slt, group, end);
    SmallVector<Values> places = elementsOf(line, select(inside, group, begin));
    Values own; // inclusive
    for (const Values &index : places)
      own.push_back(select(inside, widen(element(op.getX(), index)), identity));
    for (size_t i = 1; i < own.size(); ++i)
      own[i] = join(own[i - 1], own[i]);
    Value sum = own.back();
    for (int distance = 1; distance < warpSize; distance *= 2) {
      Value before = shuffleUp(sum, distance);
      sum = select(cmpi(CmpIPredicate::sge, lane, index(distance)), join(before, sum), sum);
    }
    Value before = select(cmpi(CmpIPredicate::eq, lane, index(0)), identity, shuffleUp(sum, 1));
    kernel.barrier(); // the last tile's totals have been read
    ifThen(cmpi(CmpIPredicate::eq, lane, index(warpSize - 1)),
           [&] { memref::StoreOp::create(b, loc, sum, totals, warp); });
    kernel.barrier();
    Value base = carried[0], all = carried[0];
    for (int w = 0; w < warps; ++w) {
      all = join(all, memref::LoadOp::create(b, loc, totals, index(w)));
      base = select(cmpi(CmpIPredicate::sgt, warp, index(w)), all, base);
    }
    base = join(base, before);
    ifThen(inside, [&] {
      for (size_t i = 0; i < own.size(); ++i) {
        Value result = op.getExclusive() ? (i == 0 ? base : join(base, own[i - 1])) : join(base, own[i]);
        store(op.getResult(), places[i], narrow(result));
      }
    });
    return Values{all};
  });
}

/// Blocks that run at the same time, in as many teams as there are places, or fewer that take turns; no more blocks
/// than are `useful`. `scan` publishes once.
void ScanBuilder::inTeams(DimExpr places, DimExpr useful, Value steps, function_ref<void(const Share &)> scan) {
  kernel.kernel.cooperative = true;
  kernel.kernel.state = TeamState::bytes;
  kernel.templates.push_back("tile/Team.h");
  Value grid = kernel.gridSize(), one = index(1);
  auto ceilDivide = [&](Value x, Value y) { return divi(subi(addi(x, y), one), y); };
  Value rounds = ceilDivide(expr(places), mini(grid, expr(places))), teams = ceilDivide(expr(places), rounds);
  Value size = divi(grid, teams), team = divi(kernel.block, size), first = muli(team, size);
  Value member = subi(kernel.block, first);
  Value piece = ceilDivide(steps, size), begin = mini(muli(member, piece), steps),
        end = mini(addi(begin, piece), steps);
  CallOp::create(b, loc, "flame::Team team($0, $1, $2)", {kernel.stateMemory(), first, size});
  CallOp::create(b, loc, "team.come()", ValueRange());
  ifThen(cmpi(CmpIPredicate::slt, team, teams), [&] {
    loop(team, expr(places), teams, {}, [&](Value place, ValueRange) {
      scan({place, divi(place, teams), first, member, begin, end});
      return Values();
    });
  });
  CallOp::create(b, loc, "team.leave((int)($0))", {rounds});
  kernel.kernel.extent = min(useful, shapes().constant(TeamState::blocks));
}

void ScanBuilder::buildTeams(Value groups) {
  Value sums = kernel.sharedMemory(identity.getType(), TeamState::blocks);
  DimExpr useful = lines * ceilDiv(length, shapes().constant(int64_t(width) * threads));
  inTeams(lines, useful, groups, [&](const Share &share) {
    Values line = delinearize(share.place, ArrayRef<DimExpr>(dims).take_front(op.getAxis()));
    CallOp::create(b, loc, "team.publish($0)", sumPiece(line, share.begin, share.end));
    CallOp::create(b, loc, "team.collect($0)", sums);
    // Each warp joins what comes before this block.
    Value lane = remi(kernel.thread, index(warpSize));
    Value before = loop(lane, share.member, index(warpSize), identity, [&](Value block, ValueRange carried) {
      return Values{join(carried[0], memref::LoadOp::create(b, loc, sums, block))};
    })[0];
    Value carry = joinWarp(*this, before, [&](Value x, Value y) { return join(x, y); });
    scanPiece(line, share.begin, share.end, carry);
  });
}

void ScanBuilder::build() {
  kernel.kernel.threads = threads;
  int widest = std::max(32u, storageType(elementType).getIntOrFloatBitWidth());
  width = 16 * 8 / widest;
  while (width > 1 && (!length.constant() || *length.constant() % width != 0))
    width /= 2;
  Value groups = expr(floorDiv(length, shapes().constant(width)));
  if (likely(length) >= longLine && likely(lines) < fewLines)
    return buildTeams(groups);
  Values line = delinearize(kernel.block, ArrayRef<DimExpr>(dims).take_front(op.getAxis()));
  scanPiece(line, index(0), groups, identity);
  kernel.kernel.extent = lines;
}

ScanBuilder::Columns ScanBuilder::columnsOf(Value place, ArrayRef<DimExpr> inner, DimExpr groups) {
  Columns own;
  Value across = expr(ceilDiv(groups, shapes().constant(columns)));
  Value group = addi(muli(remi(place, across), index(columns)), column);
  own.inside = cmpi(CmpIPredicate::slt, group, expr(groups));
  group = select(own.inside, group, index(0)); // reads what is there, stores nothing
  own.before = delinearize(divi(place, across), ArrayRef<DimExpr>(dims).take_front(op.getAxis()));
  SmallVector<DimExpr> grouped(inner);
  if (width > 1)
    grouped.back() = shapes().constant(*inner.back().constant() / width);
  Values first = delinearize(group, grouped);
  for (int i = 0; i < width; ++i) {
    own.each.push_back(first);
    if (width > 1)
      kernel.enterLane(*this, own.each.back(), group, inner, width, i);
  }
  return own;
}

Values ScanBuilder::indexOf(const Columns &own, int number, Value row) {
  Values index(own.before);
  index.push_back(op.getReverse() ? subi(subi(expr(length), this->index(1)), row) : row);
  llvm::append_range(index, own.each[number]);
  return index;
}

/// Of each of the thread's columns, what the lanes before this one have, and what all have. All threads of the block
/// call it.
std::pair<Values, Values> ScanBuilder::joinLanes(ValueRange sums) {
  auto at = [&](Value lane, int i) {
    return addi(muli(addi(muli(lane, index(width)), index(i)), index(columns)), column);
  };
  kernel.barrier(); // what was there has been read
  for (int i = 0; i < width; ++i)
    memref::StoreOp::create(b, loc, sums[i], totals, at(lane, i));
  kernel.barrier();
  Values joined = loop(index(0), index(lanes), Values(2 * width, identity), [&](Value other, ValueRange carried) {
    Values next(carried);
    Value isBefore = cmpi(CmpIPredicate::slt, other, lane);
    for (int i = 0; i < width; ++i) {
      next[width + i] = join(carried[width + i], memref::LoadOp::create(b, loc, totals, at(other, i)));
      next[i] = select(isBefore, next[width + i], carried[i]);
    }
    return next;
  });
  return {Values(joined.begin(), joined.begin() + width), Values(joined.begin() + width, joined.end())};
}

Values ScanBuilder::sumColumns(const Columns &own, Value begin, Value end) {
  Values sums = loop(addi(begin, lane), end, index(lanes), Values(width, identity), [&](Value row, ValueRange carried) {
    Values next;
    for (int i = 0; i < width; ++i)
      next.push_back(join(carried[i], widen(element(op.getX(), indexOf(own, i, row)))));
    return next;
  });
  return joinLanes(sums).second;
}

/// Scans rows `begin` to `end`, after `carry`.
void ScanBuilder::scanColumns(const Columns &own, Value begin, Value end, ValueRange carry) {
  loop(begin, end, index(lanes * rowsEach), carry, [&](Value tile, ValueRange carried) {
    Value first = addi(tile, muli(lane, index(rowsEach)));
    SmallVector<Value> rows, inside;
    SmallVector<Values> sums; // of the thread's rows up to each
    for (int64_t e = 0; e < rowsEach; ++e) {
      Value row = addi(first, index(e));
      inside.push_back(cmpi(CmpIPredicate::slt, row, end));
      rows.push_back(select(inside[e], row, begin));
      sums.emplace_back();
      for (int i = 0; i < width; ++i)
        sums[e].push_back(select(inside[e], widen(element(op.getX(), indexOf(own, i, rows[e]))), identity));
    }
    for (int64_t e = 1; e < rowsEach; ++e)
      for (int i = 0; i < width; ++i)
        sums[e][i] = join(sums[e - 1][i], sums[e][i]);
    auto [before, all] = joinLanes(sums.back());
    for (int i = 0; i < width; ++i)
      before[i] = join(carried[i], before[i]);
    for (int64_t e = 0; e < rowsEach; ++e)
      ifThen(arith::AndIOp::create(b, loc, inside[e], own.inside), [&] {
        for (int i = 0; i < width; ++i) {
          bool isFirst = op.getExclusive() && e == 0;
          Value result = isFirst ? before[i] : join(before[i], sums[op.getExclusive() ? e - 1 : e][i]);
          store(op.getResult(), indexOf(own, i, rows[e]), narrow(result));
        }
      });
    for (int i = 0; i < width; ++i)
      all[i] = join(carried[i], all[i]);
    return all;
  });
}

void ScanBuilder::buildColumns() {
  ArrayRef<DimExpr> inner = ArrayRef<DimExpr>(dims).drop_front(op.getAxis() + 1);
  DimExpr across = shapes().constant(1);
  for (DimExpr dim : inner)
    across = across * dim;
  int widest = std::max(32u, storageType(elementType).getIntOrFloatBitWidth());
  width = 16 * 8 / widest;
  auto blocks = [&] { return likely(lines) * llvm::divideCeil(std::max<int64_t>(likely(across), 1), columns * width); };
  auto fit = [&] {
    columns =
        std::min<int64_t>(warpSize, llvm::PowerOf2Ceil(llvm::divideCeil(std::max<int64_t>(likely(across), 1), width)));
    return width == 1 || (inner.back().constant() && *inner.back().constant() % width == 0 && blocks() >= manyBlocks);
  };
  while (!fit())
    width /= 2;
  int blockThreads = threads;
  while (blockThreads < 1024 && blocks() < manyBlocks && likely(length) >= 2 * blockThreads / columns * rowsEach)
    blockThreads *= 2;
  kernel.kernel.threads = blockThreads;
  lanes = blockThreads / columns;
  column = remi(kernel.thread, index(columns));
  lane = divi(kernel.thread, index(columns));
  totals = kernel.sharedMemory(identity.getType(), blockThreads * width);
  DimExpr groups = floorDiv(across, shapes().constant(width));
  DimExpr places = lines * ceilDiv(groups, shapes().constant(columns));
  DimExpr steps = ceilDiv(length, shapes().constant(lanes * rowsEach));
  if (blocks() > manyBlocks / 4 || likely(steps) < manySteps) {
    Columns own = columnsOf(kernel.block, inner, groups);
    scanColumns(own, index(0), expr(length), Values(width, identity));
    kernel.kernel.extent = places;
    return;
  }
  // Scratch: two sets of [blocks][columns of a block] that take turns, as Team's slots do.
  int64_t each = columns * width;
  kernel.kernel.scratch =
      shapes().constant(2 * TeamState::blocks * each * (identity.getType().getIntOrFloatBitWidth() / 8));
  Value scratch = kernel.scratchMemory(identity.getType());
  Value numbers = kernel.sharedMemory(b.getI32Type(), TeamState::blocks);
  auto call = [&](StringRef text, ValueRange operands = {}) { CallOp::create(b, loc, text, operands); };
  inTeams(places, places * steps, expr(length), [&](const Share &share) {
    Columns own = columnsOf(share.place, inner, groups);
    Value set = muli(remi(share.round, index(2)), index(TeamState::blocks));
    auto at = [&](Value block, int i) {
      return addi(muli(addi(muli(addi(set, block), index(width)), index(i)), index(columns)), column);
    };
    Values sums = sumColumns(own, share.begin, share.end);
    ifThen(cmpi(CmpIPredicate::eq, lane, index(0)), [&] {
      for (int i = 0; i < width; ++i)
        memref::StoreOp::create(b, loc, sums[i], scratch, at(kernel.block, i));
    });
    call("flame::fenceDevice()");
    kernel.barrier();
    call("team.publish(0u)");
    call("team.collect($0)", numbers);
    call("flame::fenceDevice()");
    Values before =
        loop(lane, share.member, index(lanes), Values(width, identity), [&](Value member, ValueRange carried) {
          Values next;
          for (int i = 0; i < width; ++i)
            next.push_back(join(carried[i], memref::LoadOp::create(b, loc, scratch, at(addi(share.first, member), i))));
          return next;
        });
    scanColumns(own, share.begin, share.end, joinLanes(before).second);
  });
}

bool flame::cuda::emitScan(KernelBuilder &kernel) {
  auto ops = kernel.region.getBlock()->without_terminator();
  auto op = llvm::hasSingleElement(ops) ? dyn_cast<ScanOp>(&*ops.begin()) : ScanOp();
  if (!op)
    return false;
  ArrayRef<DimExpr> dims = kernel.shapes.dims(op.getX());
  bool isLast = llvm::all_of(dims.drop_front(op.getAxis() + 1), [](DimExpr dim) { return dim.isConstant(1); });
  if (!isLast && dims[op.getAxis()].constant().value_or(leastRows) < leastRows)
    return false;
  ScanBuilder builder(kernel, op);
  if (isLast)
    builder.build();
  else
    builder.buildColumns();
  return true;
}
