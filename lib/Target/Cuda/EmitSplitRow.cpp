//===- EmitSplitRow.cpp - rows that several blocks share, one row of a team after the other -------------------------------===//
//
// A row program whose rows are longer than the registers of a block. Those of one stage whose rows can be copied as a whole
// go through a pipeline (EmitRowPipeline.cpp). The others are here: all blocks of the grid run at the same time (a
// cooperative launch) and form teams of as many consecutive blocks as hold a row in their shared memory; teams take rows in
// turns. A block keeps its piece of the row from the first reduction to the results, so that memory is read once, and loads
// its piece of the team's next row, asynchronously, into what the results leave behind. Each thread reads only what it has
// copied itself, so pieces need no barrier. What of a piece is beyond shared memory is read again.
//
// A reduction is joined by the threads, then by the block, then by the team (flame::Team), in a fixed order.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "SharedRow.h"
#include "flame/Ops/Pointwise.h"
#include "schedule/RowPipeline.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using arith::CmpIPredicate;

namespace {

constexpr int threads = 512, blocksPerMultiprocessor = 2;
/// Shared memory of a block: two of them fit on every GPU from sm_80 on that has 164 KB or more, one on the others.
constexpr int64_t pieceBytes = 96 << 10;
/// Blocks that run at one time on the GPUs that teams are made for, and on every GPU from sm_80 on at least.
constexpr int64_t likelyBlocks = 132 * blocksPerMultiprocessor, leastBlocks = RowPipelineShape::minBlocks;

class SplitRowBuilder : public SharedRowBuilder {
public:
  using SharedRowBuilder::SharedRowBuilder;
  void build(ArrayRef<RowStage> stages);

private:
  Value teams;
  int64_t fixedPieces = 0; // of a row, all of one size and held as a whole; 0: as the grid has it

  Values exchange(RowStage stage);
  void load(Value row);
  void storeResults(Value next);
  void buildRows(ArrayRef<RowStage> stages, Value team);
  void fixPieces();
  std::pair<Value, Value> formTeams();
  void prefetch(Value row, Value slot);
};

/// The largest up to `most`; 1 for 0.
int divisorOf(int64_t x, int most) {
  while (x == 0 ? most > 1 : x % most != 0)
    --most;
  return most;
}

} // namespace

/// Tells the team one number or two of what this block counts; the result are those of all, in shared memory.
ElementBuilder::Values SplitRowBuilder::exchange(RowStage stage) {
  Values all;
  Type type;
  auto publish = [&](ValueRange values) {
    call(values.size() == 1 ? "team.publish($0)" : "team.publish($0, $1)", values);
    all.resize(values.size());
    type = values[0].getType();
  };
  if (stage.second && stage.first.getKind() == "mean") {
    // The threads wait for each other again, to collect, before any of them counts the next row.
    Moments own = countWarp(stage);
    joinWarps(own, threads / warpSize, self, elementsIn(member, own.mean.getType()), /*turn=*/Value(), /*everywhere=*/false,
              [&](Value mean, Value squares) { publish({mean, squares}); });
  } else {
    publish(countStage(stage));
  }
  for (Value &memory : all)
    memory = kernel.sharedMemory(type, fixedPieces ? fixedPieces : TeamState::blocks);
  call(all.size() == 1 ? "team.collect($0)" : "team.collect($0, $1)", all);
  return all;
}

/// Where all blocks of a team can have pieces of one size, whole turns of the threads, and few enough for any grid, the compiler knows
/// the loops, and nothing must be divided before the first copy.
void SplitRowBuilder::fixPieces() {
  if (!rows.constant() || *rows.constant() == 0)
    return;
  const int64_t pieces = std::max((groups + capacity - 1) / capacity, likelyBlocks / *rows.constant());
  if (pieces > leastBlocks || groups % (pieces * threads) != 0)
    return;
  kernel.kernel.leastBlocks = fixedPieces = pieces;
  holds = Holds::All;
  capacity = evenPieces = groups / pieces;
  turns = evenPieces / threads;
}

/// As many teams as rows can be held at once, and no more than keep all of them equally busy. This block's team, and the
/// most rows that a team has, or more.
std::pair<Value, Value> SplitRowBuilder::formTeams() {
  int64_t blocks = capacity ? (groups + capacity - 1) / capacity : 1;
  Value grid = kernel.gridSize(), one = index(1), rowCount = expr(rows);
  if (fixedPieces) {
    pieces = index(fixedPieces), chunk = count = index(evenPieces);
    teams = divi(grid, pieces);
    Value team = divi(kernel.block, pieces);
    member = remi(kernel.block, pieces);
    begin = muli(member, chunk);
    call("flame::Team team($0, $1, $2)", {kernel.stateMemory(), muli(team, pieces), pieces});
    return {team, rowCount};
  }
  Value most = mini(maxi(divi(grid, index(blocks)), one), rowCount);
  Value rounds = ceilDivide(rowCount, most);
  teams = ceilDivide(rowCount, rounds);
  pieces = divi(grid, teams);
  Value team = divi(kernel.block, pieces);
  member = subi(kernel.block, muli(team, pieces));
  chunk = ceilDivide(index(groups), pieces);
  begin = muli(member, chunk);
  count = clampi(subi(index(groups), begin), index(0), chunk);
  call("flame::Team team($0, $1, $2)", {kernel.stateMemory(), muli(team, pieces), pieces});
  return {team, rounds};
}

/// Starts the copies of this thread's slot of a row.
void SplitRowBuilder::prefetch(Value row, Value slot) {
  Value group = addi(addi(muli(row, index(groups)), begin), slot);
  for (Held &h : held)
    call("flame::copyAsync<" + std::to_string(h.bytes) + ">(flame::sharedAddress($0 + $1), $2 + $3, " + std::to_string(h.bytes) + ")",
         {h.memory, muli(slot, index(width)), kernel.bufferOf(h.input), muli(group, index(width))});
}

/// Starts the copies of this block's piece of a row, if there is such a row.
void SplitRowBuilder::load(Value row) {
  ifThen(cmpi(CmpIPredicate::slt, row, expr(rows)), [&] {
    overSlots(kernel.thread, mini(count, index(capacity)), turns, {}, [&](Value slot, ValueRange) {
      prefetch(row, slot);
      return Values();
    });
  });
}

/// Stores what depends on row `at`; loads the piece of row `next` into its place.
void SplitRowBuilder::storeResults(Value next) {
  storeOther(addi(muli(member, index(threads)), kernel.thread), muli(pieces, index(threads)));
  Value exists = cmpi(CmpIPredicate::slt, next, expr(rows));
  if (whole.empty()) {
    if (capacity)
      load(next);
  } else if (fixedPieces) {
    // Reads do not pass copies, so the last row is by itself.
    ifThen(exists, [&] { storeWhole([&](Value slot) { prefetch(next, slot); }); });
    ifThen(cmpi(CmpIPredicate::sge, next, expr(rows)), [&] { storeWhole(); });
  } else {
    storeWhole([&](Value slot) { ifThen(exists, [&] { prefetch(next, slot); }); });
  }
}

/// One row after the other.
void SplitRowBuilder::buildRows(ArrayRef<RowStage> stages, Value team) {
  loop(team, expr(rows), teams, {}, [&](Value row, ValueRange) {
    if (capacity)
      call("flame::waitCopies<0>()", {});
    ifThen(cmpi(CmpIPredicate::eq, row, team), [&] { call("team.come()", {}); });
    at = delinearize(row, outer);
    // Counting is work, storing waits for memory.
    unroll = divisorOf(turns, 16);
    for (RowStage stage : stages)
      joinStage(stage, exchange(stage));
    unroll = divisorOf(turns, 2);
    storeResults(addi(row, teams));
    if (capacity)
      call("flame::commitCopies()", {});
    return Values();
  });
}

void SplitRowBuilder::build(ArrayRef<RowStage> stages) {
  kernel.kernel.threads = members = threads;
  self = kernel.thread;
  joinSelf = remi(kernel.thread, index(warpSize)); // each warp joins all pieces
  kernel.kernel.minBlocks = blocksPerMultiprocessor;
  kernel.kernel.cooperative = true;
  kernel.kernel.state = TeamState::bytes;
  kernel.templates.push_back("tile/Team.h");
  sortResults();
  if (int64_t bytes = chooseHeld([](int size) { return size == 4 || size == 8 || size == 16; })) {
    capacity = pieceBytes / bytes / threads * threads;
    capacity = std::min<int64_t>(capacity, (groups + threads - 1) / threads * threads);
    fixPieces();
    for (Held &h : held)
      h.memory = kernel.dynamicSharedMemory(storageType(getElementTypeOrSelf(h.input.getType())), capacity * width);
    kernel.templates.push_back("ptx/Copy.h");
    watchHeld();
  }
  auto [team, rounds] = formTeams();
  Value hasRows = cmpi(CmpIPredicate::slt, team, mini(teams, expr(rows)));
  if (capacity) {
    ifThen(hasRows, [&, team = team] { load(team); });
    call("flame::commitCopies()", {});
  }
  ifThen(cmpi(CmpIPredicate::sge, team, mini(teams, expr(rows))), [&] { call("team.come()", {}); });
  ifThen(hasRows, [&, team = team] { buildRows(stages, team); });
  call("team.leave((int)($0))", {muli(rounds, index(stages.size()))});
  DimExpr useful = rows * shapes().constant((groups + threads - 1) / threads);
  kernel.kernel.extent = min(useful, shapes().constant(TeamState::blocks));
}

static bool isDifferenceFrom(Value value, ReduceOp reduction) {
  auto difference = value.getDefiningOp<SubOp>();
  return difference && difference->getOperand(0) == reduction.getX() && difference->getOperand(1) == reduction.getResult();
}

/// Reductions that can be joined at once become one stage.
static SmallVector<RowStage> stagesOf(ArrayRef<Operation *> reductions) {
  auto belongTogether = [](ReduceOp first, ReduceOp second) {
    bool sums = second.getKind() == "mean" || second.getKind() == "sum";
    if (!sums || !isa<FloatType>(getElementTypeOrSelf(second.getType())))
      return false;
    if (first.getKind() == "mean") {
      auto square = second.getX().getDefiningOp<MulOp>();
      return square && square->getOperand(0) == square->getOperand(1) && isDifferenceFrom(square->getOperand(0), first);
    }
    auto exponential = second.getX().getDefiningOp<ExpOp>();
    return first.getKind() == "max" && second.getKind() == "sum" && exponential &&
           isDifferenceFrom(exponential->getOperand(0), first);
  };
  SmallVector<RowStage> stages;
  for (size_t i = 0; i < reductions.size(); ++i) {
    RowStage stage{cast<ReduceOp>(reductions[i]), {}};
    if (i + 1 < reductions.size() && belongTogether(stage.first, cast<ReduceOp>(reductions[i + 1])))
      stage.second = cast<ReduceOp>(reductions[++i]);
    stages.push_back(stage);
  }
  return stages;
}

FailureOr<bool> flame::cuda::emitSplitRow(KernelBuilder &kernel, ArrayRef<Operation *> reductions, ArrayRef<DimExpr> outer,
                                          ArrayRef<DimExpr> inner) {
  SmallVector<DimExpr> dims(outer);
  llvm::append_range(dims, inner);
  if (bytesOfRow(kernel, dims, outer.size()) < leastSharedRow)
    return false;
  int width = vectorWidth(kernel, inner.back(), kernel.shapes.constant(INT64_MAX));
  SmallVector<RowStage> stages = stagesOf(reductions);
  FailureOr<bool> streams = emitRowPipeline(kernel, stages, outer, inner, width);
  if (failed(streams))
    return failure();
  if (!*streams)
    SplitRowBuilder(kernel, outer, inner, width).build(stages);
  return true;
}
