//===- EmitScan.cpp - running sums and products along the last dim ----------------------------------------------------===//
//
// A block scans a line, 256 threads with a few neighbouring elements each at a time, and carries what came before from one
// such tile to the next: threads scan their elements, warps their threads, and each thread joins the warps before its own.
// Few long lines are shared by teams of blocks as rows are (EmitSplitRow.cpp): each block sums its piece, the team
// exchanges the sums, and each block scans its piece from the sum of those before it.
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

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

constexpr int threads = 256, warps = threads / warpSize;
/// Lines from this length on are shared by blocks where there are few of them.
constexpr int64_t longLine = 1 << 15, fewLines = 264;

class ScanBuilder : public LoopsBuilder {
public:
  ScanBuilder(KernelBuilder &kernel, ScanOp op)
      : LoopsBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), op(op),
        elementType(getElementTypeOrSelf(op.getX().getType())), scalar(scalars(elementType)), scan(reductionOf(op, *this)),
        dims(shapes().dims(op.getX())), length(dims[op.getAxis()]), lines(shapes().constant(1)) {
    for (DimExpr dim : ArrayRef<DimExpr>(dims).take_front(op.getAxis()))
      lines = lines * dim;
    identity = widen(scan.init[0]);
  }
  void build();

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
    return gpu::ShuffleOp::create(b, loc, x, number(distance), number(warpSize), gpu::ShuffleMode::UP).getShuffleResult();
  }
  SmallVector<Values> elementsOf(ArrayRef<Value> line, Value group);
  Value sumPiece(ArrayRef<Value> line, Value begin, Value end);
  void scanPiece(ArrayRef<Value> line, Value begin, Value end, Value carry);
  void buildTeams(Value groups);
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
    ifThen(cmpi(CmpIPredicate::eq, lane, index(warpSize - 1)), [&] { memref::StoreOp::create(b, loc, sum, totals, warp); });
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

/// Blocks that run at the same time, in as many teams as there are lines.
void ScanBuilder::buildTeams(Value groups) {
  kernel.kernel.cooperative = true;
  kernel.kernel.state = TeamState::bytes;
  kernel.templates.push_back("tile/Team.h");
  Value grid = kernel.gridSize(), one = index(1);
  auto ceilDivide = [&](Value x, Value y) { return divi(subi(addi(x, y), one), y); };
  Value rounds = ceilDivide(expr(lines), mini(grid, expr(lines))), teams = ceilDivide(expr(lines), rounds);
  Value size = divi(grid, teams), team = divi(kernel.block, size), member = subi(kernel.block, muli(team, size));
  Value piece = ceilDivide(groups, size), begin = mini(muli(member, piece), groups), end = mini(addi(begin, piece), groups);
  CallOp::create(b, loc, "flame::Team team($0, $1, $2)", {kernel.stateMemory(), muli(team, size), size});
  Value sums = kernel.sharedMemory(identity.getType(), TeamState::blocks);
  ifThen(cmpi(CmpIPredicate::slt, team, teams), [&] {
    loop(team, expr(lines), teams, {}, [&](Value number, ValueRange) {
      Values line = delinearize(number, ArrayRef<DimExpr>(dims).take_front(op.getAxis()));
      CallOp::create(b, loc, "team.publish($0)", sumPiece(line, begin, end));
      CallOp::create(b, loc, "team.collect($0)", sums);
      // Each warp joins what comes before this block.
      Value lane = remi(kernel.thread, index(warpSize));
      Value before = loop(lane, member, index(warpSize), identity, [&](Value block, ValueRange carried) {
        return Values{join(carried[0], memref::LoadOp::create(b, loc, sums, block))};
      })[0];
      scanPiece(line, begin, end, joinWarp(*this, before, [&](Value x, Value y) { return join(x, y); }));
      return Values();
    });
  });
  CallOp::create(b, loc, "team.leave((int)($0))", {rounds});
  DimExpr useful = lines * ceilDiv(length, shapes().constant(int64_t(width) * threads));
  kernel.kernel.extent = min(useful, shapes().constant(TeamState::blocks));
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

bool flame::cuda::emitScan(KernelBuilder &kernel) {
  auto ops = kernel.region.getBlock()->without_terminator();
  auto op = llvm::hasSingleElement(ops) ? dyn_cast<ScanOp>(&*ops.begin()) : ScanOp();
  if (!op)
    return false;
  for (DimExpr dim : ArrayRef<DimExpr>(kernel.shapes.dims(op.getX())).drop_front(op.getAxis() + 1))
    if (!dim.isConstant(1))
      return false;
  ScanBuilder(kernel, op).build();
  return true;
}
