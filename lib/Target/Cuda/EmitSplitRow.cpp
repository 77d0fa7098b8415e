//===- EmitSplitRow.cpp - rows that several blocks share --------------------------------------------------------------===//
//
// A row program whose rows are longer than the registers of a block: a group of a GroupNorm, a vocabulary's logits. All
// blocks of the grid run at the same time (a cooperative launch) and form teams of as many consecutive blocks as hold a row
// in their shared memory; teams take rows in turns. A block keeps its piece of the row from the first reduction to the
// results, so that memory is read once, and loads its piece of the team's next row, asynchronously, into what the results
// leave behind. Each thread reads only what it has copied itself, so pieces need no barrier. What of a piece is beyond
// shared memory is read again.
//
// A reduction is joined by the threads, then by the block, then by the team (flame::Team), in a fixed order. Of a mean and
// the mean of squared differences from it both are joined at once: a block's squares are of differences from its own mean, and
// the team adds what the blocks' means differ by (Chan, Golub and LeVeque, 1983), which is as accurate as two passes. A
// maximum and the sum of exponentials of differences from it go the same way.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "JoinThreads.h"
#include "KernelOps.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Reduce.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "schedule/Team.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

constexpr int threads = 512, blocksPerMultiprocessor = 2;
/// Shared memory of a block: two of them fit on every GPU from sm_80 on that has 164 KB or more, one on the others.
constexpr int64_t pieceBytes = 96 << 10;
/// Shorter rows are done sooner by one block than blocks can talk.
constexpr int64_t leastRowBytes = 128 << 10;

/// An input whose rows stay in shared memory.
struct Held {
  BlockArgument input;
  Value memory; // [pieces of width]
  int bytes;    // of a group of `width` elements
};

/// One reduction, or two that take one exchange: the mean and its squared differences, the maximum and the exponentials of
/// the differences from it.
struct Stage {
  ReduceOp first, second;
};

class SplitRowBuilder : public ElementBuilder {
public:
  SplitRowBuilder(KernelBuilder &kernel, ArrayRef<DimExpr> outer, ArrayRef<DimExpr> inner, int width)
      : ElementBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), outer(outer), inner(inner),
        width(width), rows(kernel.shapes.constant(1)) {
    for (DimExpr dim : outer)
      rows = rows * dim;
    for (DimExpr dim : inner)
      columns *= *dim.constant();
    groups = columns / width;
  }

  void build(ArrayRef<Stage> stages);

  Value fold(ArrayRef<DimExpr> extents, Value init, function_ref<Value(Value, Value)> combine,
             function_ref<Value(ValueRange)> element) override {
    DimExpr size = shapes().constant(1);
    for (DimExpr extent : extents)
      size = size * extent;
    if (!parallel || !size.isConstant(columns))
      return ElementBuilder::fold(extents, init, combine, element);
    exchange({foldBlock(extents, init, combine, element)});
    return joinTeam(init, combine, [&](Value block) { return loadShared(collected[0], block); });
  }

private:
  KernelBuilder &kernel;
  ArrayRef<DimExpr> outer, inner;
  int width;
  DimExpr rows;
  int64_t columns = 1, groups;
  SmallVector<Held> held;
  int64_t capacity = 0; // groups of a piece that shared memory holds
  bool parallel = false;
  SmallVector<Value> collected; // shared memory: what the blocks of the team have published
  // Of the team that this block belongs to.
  Value teams, teamSize, member, chunk, begin, count;
  DenseMap<std::pair<Value, SmallVector<Value, 6>>, Value> elements; // of inputs, in shared memory

  Value loadShared(Value memory, Value at) { return memref::LoadOp::create(b, loc, memory, at); }
  Value ceilDivide(Value x, Value y) { return divi(subi(addi(x, y), index(1)), y); }
  void call(StringRef text, ValueRange operands) { CallOp::create(b, loc, text, operands); }

  /// Tells the team one number or two of this block; `collected` are then those of all.
  void exchange(ValueRange values) {
    call(values.size() == 1 ? "team.publish($0)" : "team.publish($0, $1)", values);
    collected.clear();
    for (Value value : values)
      collected.push_back(kernel.sharedMemory(value.getType(), TeamState::blocks));
    call(values.size() == 1 ? "team.collect($0)" : "team.collect($0, $1)", collected);
  }
  void chooseHeld();
  void load(Value row);
  void reduce(ArrayRef<Stage> stages);
  void storeResults(Value next);
  void buildRows(ArrayRef<Stage> stages, Value team);
  std::pair<Value, Value> formTeams();
  void prefetch(Value row, Value slot);
  SmallVector<Values> neighbours(Value group, ArrayRef<DimExpr> dims);
  void enterHeld(Value slot, ArrayRef<Values> group, ArrayRef<DimExpr> dims);
  Value overPiece(ArrayRef<DimExpr> dims, Value init, function_ref<Value(ArrayRef<Values>, Value)> body,
                  function_ref<void(Value slot)> afterHeld = nullptr);
  Value foldBlock(ArrayRef<DimExpr> dims, Value init, function_ref<Value(Value, Value)> combine, function_ref<Value(ValueRange)> element);
  Value joinTeam(Value init, function_ref<Value(Value, Value)> combine, function_ref<Value(Value)> partial);
  void meanAndSquares(Stage stage);
  void maximumAndExponentials(Stage stage);
  /// The elements of a value in the row `at`.
  std::function<Value(ValueRange)> elementsOf(Value value) {
    return [this, value](ValueRange inside) {
      Values full(at);
      llvm::append_range(full, inside);
      return element(value, full);
    };
  }
  void storeRow(ArrayRef<unsigned> results, Value next);
  void storeOther(ArrayRef<unsigned> results);

  SmallVector<unsigned> whole;              // results of whole rows
  SmallVector<SmallVector<unsigned>> other; // those of one shape together
  Values at; // of the row

  using Key = SmallVector<Value, 6>;
  /// Appends an index without its dims of one element, for which every number is the same.
  static void appendKey(Key &key, ArrayRef<DimExpr> dims, ValueRange index) {
    for (auto [dim, i] : llvm::zip(dims, index))
      if (!dim.isConstant(1))
        key.push_back(i);
  }
};

} // namespace

void SplitRowBuilder::chooseHeld() {
  SmallVector<DimExpr> full(outer);
  llvm::append_range(full, inner);
  int64_t bytes = 0;
  for (BlockArgument input : kernel.region.getBlock()->getArguments()) {
    int size = width * storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth() / 8;
    bool copies = size == 4 || size == 8 || size == 16;
    if (shapes().dims(input) == ArrayRef<DimExpr>(full) && copies && !input.use_empty()) {
      held.push_back({input, {}, size});
      bytes += size;
    }
  }
  if (held.empty())
    return;
  capacity = pieceBytes / bytes / threads * threads;
  capacity = std::min<int64_t>(capacity, (groups + threads - 1) / threads * threads);
  for (Held &h : held)
    h.memory = kernel.dynamicSharedMemory(storageType(getElementTypeOrSelf(h.input.getType())), capacity * width);
  kernel.templates.push_back("ptx/Copy.h");
  kernel.heldElement = [this](Value value, ValueRange index) {
    Key key;
    appendKey(key, shapes().dims(value), index);
    auto found = elements.find({value, key});
    return found == elements.end() ? Value() : found->second;
  };
}

/// As many teams as rows can be held at once, and no more than keep all of them equally busy. This block's team, and the
/// most rows that a team has.
std::pair<Value, Value> SplitRowBuilder::formTeams() {
  int64_t blocks = capacity ? (groups + capacity - 1) / capacity : 1;
  Value grid = kernel.gridSize(), one = index(1), rowCount = expr(rows);
  Value most = mini(maxi(divi(grid, index(blocks)), one), rowCount);
  Value rounds = ceilDivide(rowCount, most);
  teams = ceilDivide(rowCount, rounds);
  teamSize = divi(grid, teams);
  Value team = divi(kernel.block, teamSize);
  member = subi(kernel.block, muli(team, teamSize));
  chunk = ceilDivide(index(groups), teamSize);
  begin = muli(member, chunk);
  count = clampi(subi(index(groups), begin), index(0), chunk);
  call("flame::Team team($0, $1, $2)", {kernel.stateMemory(), muli(team, teamSize), teamSize});
  return {team, rounds};
}

/// Starts the copies of this thread's slot of a row.
void SplitRowBuilder::prefetch(Value row, Value slot) {
  Value group = addi(addi(muli(row, index(groups)), begin), slot);
  for (Held &h : held)
    call("flame::copyAsync<" + std::to_string(h.bytes) + ">(flame::sharedAddress($0 + $1), $2 + $3, " + std::to_string(h.bytes) + ")",
         {h.memory, muli(slot, index(width)), kernel.bufferOf(h.input), muli(group, index(width))});
}

/// The indices of a group's elements.
SmallVector<Values> SplitRowBuilder::neighbours(Value group, ArrayRef<DimExpr> dims) {
  if (width == 1)
    return {delinearize(group, dims)};
  SmallVector<DimExpr> grouped(dims);
  grouped.back() = shapes().constant(*dims.back().constant() / width);
  Values first = delinearize(group, grouped);
  SmallVector<Values> all;
  for (int i = 0; i < width; ++i) {
    all.push_back(first);
    kernel.enterLane(*this, all.back(), group, dims, width, i);
  }
  return all;
}

/// From here on in this scope, loads of the group's elements find them in shared memory.
void SplitRowBuilder::enterHeld(Value slot, ArrayRef<Values> group, ArrayRef<DimExpr> dims) {
  for (Held &h : held) {
    Type type = cast<MemRefType>(h.memory.getType()).getElementType();
    Value position = muli(slot, index(width)), all;
    if (width > 1)
      all = vector::LoadOp::create(b, loc, VectorType::get({width}, type), h.memory, position);
    for (auto [lane, element] : llvm::enumerate(group)) {
      Key key;
      appendKey(key, outer, at);
      appendKey(key, dims, element);
      elements[{h.input, key}] =
          width > 1 ? vector::ExtractOp::create(b, loc, all, int64_t(lane)).getResult() : loadShared(h.memory, position);
    }
  }
}

/// Runs `body` with the indices of each group that this thread owns, what is held first.
Value SplitRowBuilder::overPiece(ArrayRef<DimExpr> dims, Value init, function_ref<Value(ArrayRef<Values>, Value)> body,
                                 function_ref<void(Value)> afterHeld) {
  auto part = [&](Value low, Value high, bool isHeld) {
    Values carried = loop(low, high, index(threads), init ? ValueRange(init) : ValueRange(), [&](Value slot, ValueRange c) {
      SmallVector<Values> group = neighbours(addi(begin, slot), dims);
      if (isHeld)
        enterHeld(slot, group, dims);
      Value next = body(group, init ? c[0] : Value());
      elements.clear();
      if (isHeld && afterHeld)
        afterHeld(slot);
      return init ? Values{next} : Values();
    });
    if (init)
      init = carried[0];
  };
  if (capacity)
    part(kernel.thread, mini(count, index(capacity)), true);
  part(addi(kernel.thread, index(capacity)), count, false);
  return init;
}

Value SplitRowBuilder::foldBlock(ArrayRef<DimExpr> dims, Value init, function_ref<Value(Value, Value)> combine,
                                 function_ref<Value(ValueRange)> element) {
  parallel = false;
  Value partial = overPiece(dims, init, [&](ArrayRef<Values> group, Value sum) {
    for (const Values &inside : group)
      sum = combine(sum, element(inside));
    return sum;
  });
  parallel = true;
  return joinBlock(kernel, *this, threads, threads, joinWarp(*this, partial, combine), combine);
}

/// Each warp joins what the blocks of the team have said.
Value SplitRowBuilder::joinTeam(Value init, function_ref<Value(Value, Value)> combine,
                                function_ref<Value(Value)> partial) {
  Value lane = remi(kernel.thread, index(warpSize));
  Value sum = loop(lane, teamSize, index(warpSize), init, [&](Value block, ValueRange carried) {
    return Values{combine(carried[0], partial(block))};
  })[0];
  return joinWarp(*this, sum, combine);
}

void SplitRowBuilder::meanAndSquares(Stage stage) {
  Value mean = stage.first.getResult(), x = stage.first.getX(), squares = stage.second.getX();
  Type elementType = getElementTypeOrSelf(mean.getType());
  ScalarBuilder s = scalars(elementType);
  Value zero = s.number(elementType, 0);
  auto add = [&](Value a, Value c) { return s.add(a, c); };
  // Elements of a block of the team, at least 1: a block without any has sums of 0.
  auto size = [&](Value block) {
    Value its = clampi(subi(index(groups), muli(block, chunk)), index(0), chunk);
    return fromIndex(maxi(muli(its, index(width)), index(1)), elementType);
  };
  Value own = s.div(foldBlock(inner, zero, add, elementsOf(x)), size(member));
  setScalar(mean, own);
  Value ownSquare = foldBlock(inner, zero, add, elementsOf(squares));
  clearScalar(mean);
  exchange({own, ownSquare});
  Value means = collected[0], allSquares = collected[1];
  Value total = fromIndex(index(columns), elementType);
  Value sum = joinTeam(zero, add, [&](Value block) { return s.mul(size(block), loadShared(means, block)); });
  Value all = s.div(sum, total);
  Value square = joinTeam(zero, add, [&](Value block) {
    Value n = size(block), off = s.sub(loadShared(means, block), all);
    // A block without elements is no part of it.
    Value between = select(cmpi(CmpIPredicate::slt, muli(block, chunk), index(groups)), s.mul(n, s.mul(off, off)), zero);
    return s.add(loadShared(allSquares, block), between);
  });
  setScalar(mean, all);
  setScalar(stage.second.getResult(), stage.second.getKind() == "mean" ? s.div(square, total) : square);
}

void SplitRowBuilder::maximumAndExponentials(Stage stage) {
  Value maximum = stage.first.getResult();
  Type elementType = getElementTypeOrSelf(maximum.getType());
  ScalarBuilder s = scalars(elementType);
  Value zero = s.number(elementType, 0), lowest = s.lowest(elementType);
  auto add = [&](Value a, Value c) { return s.add(a, c); };
  auto larger = [&](Value a, Value c) { return s.max(a, c); };
  // Infinity minus infinity is no number: what is not finite stays in the exponent.
  auto reference = [&](Value x) {
    return s.select(s.lt(s.abs(x), s.number(elementType, std::numeric_limits<double>::infinity())), x, zero);
  };
  Value own = foldBlock(inner, lowest, larger, elementsOf(stage.first.getX()));
  setScalar(maximum, reference(own));
  Value ownSum = foldBlock(inner, zero, add, elementsOf(stage.second.getX()));
  clearScalar(maximum);
  exchange({own, ownSum});
  Value maxima = collected[0], sums = collected[1];
  Value all = joinTeam(lowest, larger, [&](Value block) { return loadShared(maxima, block); });
  setScalar(stage.second.getResult(), joinTeam(zero, add, [&](Value block) {
              Value sum = loadShared(sums, block);
              Value scaled = s.mul(sum, s.exp(s.sub(reference(loadShared(maxima, block)), all)));
              return s.select(s.eq(sum, zero), zero, scaled); // of a block without numbers
            }));
  setScalar(maximum, all);
}

/// Stores results of whole rows; `next`, where this block loads a piece of another row afterwards, is that row.
void SplitRowBuilder::storeRow(ArrayRef<unsigned> results, Value next) {
  parallel = false;
  auto store = [&](ArrayRef<Values> group, Value) {
    SmallVector<Values> scalars(results.size()), indices;
    for (const Values &inside : group) {
      Values full(at);
      llvm::append_range(full, inside);
      for (auto [i, result] : llvm::enumerate(results))
        scalars[i].push_back(element(kernel.region.getYielded()[result], full));
      indices.push_back(std::move(full));
    }
    for (auto [i, result] : llvm::enumerate(results))
      for (auto [index, scalar] : llvm::zip(indices, scalars[i]))
        kernel.storeResult(*this, result, index, scalar);
    return Value();
  };
  overPiece(inner, {}, store, [&](Value slot) {
    ifThen(cmpi(CmpIPredicate::slt, next, expr(rows)), [&] { prefetch(next, slot); });
  });
  parallel = true;
}

/// Stores results of other lengths, most often one number a row.
void SplitRowBuilder::storeOther(ArrayRef<unsigned> results) {
  parallel = false;
  ArrayRef<DimExpr> own = ArrayRef<DimExpr>(shapes().dims(kernel.region.getYielded()[results.front()])).drop_front(outer.size());
  SmallVector<DimExpr> dims(own);
  DimExpr size = shapes().constant(1);
  for (DimExpr dim : dims)
    size = size * dim;
  loop(addi(muli(member, index(threads)), kernel.thread), expr(size), muli(teamSize, index(threads)), {},
       [&](Value column, ValueRange) {
         Values full(at);
         llvm::append_range(full, delinearize(column, dims));
         for (unsigned result : results)
           kernel.storeResult(*this, result, full, element(kernel.region.getYielded()[result], full));
         return Values();
       });
  parallel = true;
}

/// Starts the copies of this block's piece of a row, if there is such a row.
void SplitRowBuilder::load(Value row) {
  ifThen(cmpi(CmpIPredicate::slt, row, expr(rows)), [&] {
    loop(kernel.thread, mini(count, index(capacity)), index(threads), {}, [&](Value slot, ValueRange) {
      prefetch(row, slot);
      return Values();
    });
  });
}

void SplitRowBuilder::reduce(ArrayRef<Stage> stages) {
  parallel = true;
  for (Stage stage : stages) {
    if (stage.second) {
      stage.first.getKind() == "mean" ? meanAndSquares(stage) : maximumAndExponentials(stage);
      continue;
    }
    Value result = stage.first.getResult();
    Values full(at);
    full.resize(shapes().rank(result), index(0));
    setScalar(result, element(result, full));
  }
}

/// Stores what depends on row `at`; loads the piece of row `next` into its place.
void SplitRowBuilder::storeResults(Value next) {
  for (auto &group : other)
    storeOther(group);
  if (!whole.empty())
    storeRow(whole, next);
  else if (capacity)
    load(next);
}

/// One row after the other.
void SplitRowBuilder::buildRows(ArrayRef<Stage> stages, Value team) {
  if (capacity) {
    load(team);
    call("flame::commitCopies()", {});
  }
  loop(team, expr(rows), teams, {}, [&](Value row, ValueRange) {
    if (capacity)
      call("flame::waitCopies<0>()", {});
    at = delinearize(row, outer);
    reduce(stages);
    storeResults(addi(row, teams));
    if (capacity)
      call("flame::commitCopies()", {});
    return Values();
  });
}

void SplitRowBuilder::build(ArrayRef<Stage> stages) {
  kernel.kernel.threads = threads;
  kernel.kernel.minBlocks = blocksPerMultiprocessor;
  kernel.kernel.cooperative = true;
  kernel.kernel.state = TeamState::bytes;
  kernel.templates.push_back("tile/Team.h");
  for (auto [i, value] : llvm::enumerate(kernel.region.getYielded())) {
    ArrayRef<DimExpr> dims = shapes().dims(value);
    auto *same = llvm::find_if(other, [&](auto &g) { return shapes().dims(kernel.region.getYielded()[g.front()]) == dims; });
    if (dims.drop_front(outer.size()) == inner)
      whole.push_back(i);
    else if (same != other.end())
      same->push_back(i);
    else
      other.push_back({unsigned(i)});
  }
  chooseHeld();
  auto [team, rounds] = formTeams();
  ifThen(cmpi(CmpIPredicate::slt, team, teams), [&, team = team] { buildRows(stages, team); });
  call("team.leave((int)($0))", {muli(rounds, index(stages.size()))});
  DimExpr useful = rows * shapes().constant((groups + threads - 1) / threads);
  kernel.kernel.extent = min(useful, shapes().constant(TeamState::blocks));
}

static bool isDifferenceFrom(Value value, ReduceOp reduction) {
  auto difference = value.getDefiningOp<SubOp>();
  return difference && difference->getOperand(0) == reduction.getX() && difference->getOperand(1) == reduction.getResult();
}

/// Reductions that can be joined at once become one stage.
static SmallVector<Stage> stagesOf(ArrayRef<Operation *> reductions) {
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
  SmallVector<Stage> stages;
  for (size_t i = 0; i < reductions.size(); ++i) {
    Stage stage{cast<ReduceOp>(reductions[i]), {}};
    if (i + 1 < reductions.size() && belongTogether(stage.first, cast<ReduceOp>(reductions[i + 1])))
      stage.second = cast<ReduceOp>(reductions[++i]);
    stages.push_back(stage);
  }
  return stages;
}

bool flame::cuda::emitSplitRow(KernelBuilder &kernel, ArrayRef<Operation *> reductions, ArrayRef<DimExpr> outer,
                               ArrayRef<DimExpr> inner) {
  int64_t columns = 1, bytes = 0;
  for (DimExpr dim : inner) {
    if (!dim.constant() || *dim.constant() == 0)
      return false;
    columns *= *dim.constant();
  }
  SmallVector<DimExpr> full(outer);
  llvm::append_range(full, inner);
  for (BlockArgument input : kernel.region.getBlock()->getArguments())
    if (kernel.shapes.dims(input) == ArrayRef<DimExpr>(full))
      bytes += columns * storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth() / 8;
  if (bytes < leastRowBytes)
    return false;
  int width = vectorWidth(kernel, inner.back(), kernel.shapes.constant(INT64_MAX));
  SplitRowBuilder(kernel, outer, inner, width).build(stagesOf(reductions));
  return true;
}
