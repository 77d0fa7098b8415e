//===- EmitRowPipeline.cpp - rows that stream through the grid in chunks --------------------------------------------------===//
//
// The blocks of a cooperative kernel take the chunks of all rows in turns. Warps of a block fetch, count, join or store, each
// kind in its own time (tile/RowPipeline.h), so that memory is busy while numbers travel between blocks; teams of blocks that do one
// row after the other (EmitSplitRow.cpp) leave it idle then.
//
// Here are the four loops over a block's steps. The numbers of a step's row (its reductions' results, or what is made of them for
// the whole row) go from the warps that join to those that store through shared memory. What the latter need besides, such as factors
// of channels, they read before they wait for them.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "Schedules.h"
#include "SharedRow.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "schedule/RowPipeline.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using arith::CmpIPredicate;

namespace {

using Shape = RowPipelineShape;

/// Shared memory that a block can have on sm_90, and on every GPU from sm_80 on.
constexpr int64_t hopperBytes = 227 << 10, olderBytes = 99 << 10;
/// Groups of a chunk are a multiple of this, so that every copy begins at and consists of 16 bytes.
constexpr int64_t groupsTogether = 32;
/// Every chunk pays for its numbers' way between blocks as a team's piece of a row does (EmitSplitRow.cpp), so that teams are
/// faster where rows are short, as their pieces are larger than chunks, and where they are few, as a pipeline has to be
/// filled. Measured; see docs/rationale/performance.md.
constexpr int64_t leastChunks = 64, leastChunksOfAll = 2048;

class RowPipelineBuilder : public SharedRowBuilder {
public:
  using SharedRowBuilder::SharedRowBuilder;
  FailureOr<bool> build(RowStage stage);

private:
  int64_t chunksOfRow = 0, stageBytes = 0;
  /// Of a place, where so many blocks share a row's chunks: the last place is for the steps that wait.
  int64_t bytesOfSteps(int64_t blocks) const { return int64_t(llvm::PowerOf2Ceil(chunksOfRow / blocks + 3)) * Shape::stepWords * 8; }
  Value items; // chunks of all rows
  Value firstItem, blocks;
  Value keeps; // whether chunks stay in shared memory until their results are stored
  SmallVector<Value> handed;         // the row's numbers that the warps that store need
  DenseSet<Value> handedReciprocals; // those of them that are 1 / x

  FailureOr<bool> choose(RowStage stage);
  void overSteps(function_ref<void(Value step, Value row, Value before)> body);
  void enterChunk(Value item, Value row);
  void buildFetch();
  void buildCount(RowStage stage);
  void buildJoin(RowStage stage);
  void buildStore(RowStage stage);
  void ofWarps(int first, int last, function_ref<void()> build);
  Value ask(Type type, StringRef text, ValueRange operands = {}) { return ValueOp::create(b, loc, type, text, operands); }
};

SmallVector<Value> resultsOf(RowStage stage) {
  return stage.second ? SmallVector<Value>{stage.first.getResult(), stage.second.getResult()}
                      : SmallVector<Value>{stage.first.getResult()};
}

/// What is made of a stage's results for the whole row, one number each, and needed for its elements; those results themselves where
/// that would be more numbers than can be handed over, or numbers of several types.
SmallVector<Value> numbersOfRow(RowStage stage, ShapeContext &shapes) {
  SmallVector<Value> results = resultsOf(stage), needed;
  DenseSet<Value> ofRow(results.begin(), results.end());
  auto isOfRow = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return ofRow.contains(value) ||
           (op && op->getName().getStringRef() == "flame.constant" && shapes.numElements(value).isConstant(1));
  };
  for (Operation &op : stage.first->getBlock()->without_terminator())
    if (isa<PointwiseInterface>(op) && op.getNumResults() == 1 && shapes.dims(op.getResult(0)) == shapes.dims(results[0]) &&
        llvm::all_of(op.getOperands(), isOfRow))
      ofRow.insert(op.getResult(0));
  for (Operation &op : *stage.first->getBlock())
    if (op.getNumResults() != 1 || !ofRow.contains(op.getResult(0)))
      for (Value operand : op.getOperands())
        if (ofRow.contains(operand) && !llvm::is_contained(needed, operand))
          needed.push_back(operand);
  Type type = computeType(getElementTypeOrSelf(results[0].getType()));
  bool fit = !needed.empty() && needed.size() <= 2 &&
             llvm::all_of(needed, [&](Value v) { return computeType(getElementTypeOrSelf(v.getType())) == type; });
  return fit ? needed : results;
}

/// Reads of inputs behind `wait` come before it if their addresses are known there: they are the same for a whole chunk.
void readBefore(Operation *wait, function_ref<bool(Value)> isInput) {
  auto isKnown = [&](Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return argument.getOwner()->findAncestorOpInBlock(*wait) != nullptr;
    Operation *ancestor = value.getDefiningOp()->getBlock()->findAncestorOpInBlock(*wait);
    return ancestor && value.getDefiningOp()->isBeforeInBlock(ancestor);
  };
  std::function<bool(Value)> canBeKnown = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return isKnown(value) || (op && isPure(op) && op->getNumRegions() == 0 && llvm::all_of(op->getOperands(), canBeKnown));
  };
  std::function<void(Value)> make = [&](Value value) {
    if (isKnown(value))
      return;
    for (Value operand : value.getDefiningOp()->getOperands())
      make(operand);
    value.getDefiningOp()->moveBefore(wait);
  };
  SmallVector<memref::LoadOp> loads;
  for (Operation *op = wait->getNextNode(); op; op = op->getNextNode())
    op->walk([&](memref::LoadOp load) {
      // A branch around a read may be what makes its address one.
      Operation *parent = load->getParentOp();
      while (isa<scf::ForOp>(parent))
        parent = parent->getParentOp();
      bool always = parent->getBlock() == wait->getBlock() || load->getBlock() == wait->getBlock();
      if (always && isInput(load.getMemRef()) && llvm::all_of(load.getIndices(), canBeKnown))
        loads.push_back(load);
    });
  for (memref::LoadOp load : loads) {
    llvm::for_each(load.getIndices(), make);
    load->moveBefore(wait);
  }
}

} // namespace

/// Chooses chunks and how many of them shared memory has places for; a file of schedules may have others.
FailureOr<bool> RowPipelineBuilder::choose(RowStage stage) {
  const int64_t bytes = chooseHeld([&](int size) { return size * groups % 16 == 0 && size * groupsTogether % 16 == 0; });
  if (held.empty())
    return false;
  for (BlockArgument input : kernel.region.getBlock()->getArguments()) {
    // Rows that are read and cannot be copied would be read twice.
    SmallVector<DimExpr> full(outer);
    llvm::append_range(full, inner);
    if (shapes().dims(input) == ArrayRef<DimExpr>(full) && !input.use_empty() &&
        llvm::none_of(held, [&](Held &h) { return h.input == input; }))
      return false;
  }
  Type number = computeType(getElementTypeOrSelf(stage.first.getType()));
  const int64_t numberBytes = number.getIntOrFloatBitWidth() / 8 * resultsOf(stage).size();
  int64_t stages = 0, olderStages = 0;
  auto fits = [&](int64_t most) {
    chunksOfRow = (groups + most - 1) / most;
    capacity = chunksOfRow == 1 ? (groups + groupsTogether - 1) / groupsTogether * groupsTogether : most;
    // Static shared memory: barriers, what chunks have counted, and what warps hand each other.
    const int64_t statics = Shape::words * 8 + chunksOfRow * numberBytes +
                            (Shape::countingWarps + Shape::joiningWarps + 1) * 2 * numberBytes;
    stageBytes = capacity * bytes;
    stages = std::min<int64_t>(Shape::maxStages, (hopperBytes - statics) / stageBytes);
    olderStages = std::min<int64_t>(Shape::maxStages, (olderBytes - statics) / stageBytes);
    return stages >= Shape::minStages && olderStages >= Shape::minStages &&
           stageBytes >= bytesOfSteps(Shape::minBlocks);
  };
  auto choose = [&](int chunkBytes) {
    int64_t most = chunkBytes / bytes / groupsTogether * groupsTogether;
    while (most > 0 && !fits(most))
      most -= groupsTogether * 8;
    return most > 0 && chunksOfRow <= Shape::maxChunks;
  };
  std::optional<LongRowSchedule> chosen = LongRowSchedule();
  if (!choose(chosen->chunkBytes) || chunksOfRow < leastChunks ||
      (rows.constant() && *rows.constant() * chunksOfRow < leastChunksOfAll))
    chosen.reset();
  llvm::Error error = settle<LongRowSchedule>(
      kernel.schedules, "long-row", llvm::json::Object{{"rows", likely(rows)}, {"bytes", groups * bytes}}, chosen,
      [&](const LongRowSchedule &s) { return s.ahead > 0 && s.ahead <= Shape::maxStages && choose(s.chunkBytes); });
  if (error) {
    kernel.region.emitOpError() << toString(std::move(error));
    return failure();
  }
  if (!chosen || !choose(chosen->chunkBytes))
    return false;
  for (Held &h : held)
    h.memory = kernel.dynamicSharedMemory(storageType(getElementTypeOrSelf(h.input.getType())), capacity * width);
  placeBytes = kernel.kernel.shared;
  kernel.kernel.shared = placeBytes * stages;
  kernel.kernel.sharedBefore90 = placeBytes * olderStages;
  kernel.templates.push_back("tile/RowPipeline.h");

  evenPieces = capacity;
  pieces = index(chunksOfRow);
  chunk = index(capacity);
  items = muli(expr(rows), pieces);
  Value memory = kernel.sharedMemory(b.getI64Type(), Shape::words);
  const std::string type = "flame::RowPipeline<" + std::to_string(stages) + ", " + std::to_string(olderStages) +
                           (chosen->ahead == Shape::ahead ? "" : ", flame::RowPipelineShape, " + std::to_string(chosen->ahead)) + ">";
  call("const " + type + " pipeline($0, (unsigned long long *)$1, flame::dynamicShared() + " + std::to_string(placeBytes) +
           " * (" + type + "::stages - 1), (int)($2), (int)($3))",
       {kernel.stateMemory(), memory, pieces, items});
  return true;
}

/// Builds what warps `first` to `last` - 1 of the block do.
void RowPipelineBuilder::ofWarps(int first, int last, function_ref<void()> build) {
  self = subi(kernel.thread, index(first * warpSize));
  members = (last - first) * warpSize;
  Value warp = divi(kernel.thread, index(warpSize));
  ifThen(inRange(warp, index(first), index(last)), build);
}

/// `before` is the row of the step before, -1 in the first.
void RowPipelineBuilder::overSteps(function_ref<void(Value, Value, Value)> body) {
  loop(firstItem, items, blocks, Values{index(0), index(-1)}, [&](Value item, ValueRange carried) {
    Value row = divi(item, pieces);
    enterChunk(item, row);
    body(carried[0], row, carried[1]);
    return Values{addi(carried[0], index(1)), row};
  });
}

void RowPipelineBuilder::enterChunk(Value item, Value row) {
  member = subi(item, muli(row, pieces));
  begin = muli(member, chunk);
  count = mini(subi(index(groups), begin), chunk);
  at = delinearize(row, outer);
}

void RowPipelineBuilder::buildFetch() {
  int64_t bytes = 0;
  for (Held &h : held)
    bytes += h.bytes;
  overSteps([&](Value step, Value row, Value) {
    Value first = addi(muli(row, index(groups)), begin);
    for (Held &h : held)
      call("pipeline.prefetch($0 + $1, (int)($2))",
           {kernel.bufferOf(h.input), muli(first, index(width)), muli(count, index(h.bytes))});
    call("pipeline.beginFetch((int)($0), (int)($1))", {step, muli(count, index(bytes))});
    Value stage = ask(b.getIndexType(), "pipeline.stageOf((int)($0))", step);
    for (Held &h : held) {
      const int64_t elementBytes = h.bytes / width;
      call("pipeline.fetch((int)($0), $1 + $2, $3 + $4, (int)($5))",
           {step, h.memory, muli(stage, index(placeBytes / elementBytes)), kernel.bufferOf(h.input), muli(first, index(width)),
            muli(count, index(h.bytes))});
    }
    call("pipeline.endFetch((int)($0))", step);
  });
}

void RowPipelineBuilder::buildCount(RowStage stage) {
  syncMembers = [&] { call("pipeline.syncCounting()", {}); };
  overSteps([&](Value step, Value, Value) {
    call("pipeline.awaitFetched((int)($0))", step);
    place = ask(b.getIndexType(), "pipeline.stageOf((int)($0))", step);
    if (stage.second && stage.first.getKind() == "mean") {
      Moments own = countWarp(stage);
      call("pipeline.endCounting((int)($0))", step);
      Value size = elementsIn(member, own.mean.getType());
      joinWarps(own, members / warpSize, self, size, remi(step, index(2)), /*everywhere=*/false,
                [&](Value mean, Value squares) { call("pipeline.publish((int)($0), $1, $2)", {step, mean, squares}); });
      return;
    }
    Values mine = countStage(stage);
    mine.insert(mine.begin(), step);
    call("pipeline.endCounting((int)($0))", step);
    call(mine.size() == 2 ? "pipeline.publish((int)($0), $1)" : "pipeline.publish((int)($0), $1, $2)", mine);
    call("pipeline.syncCounting()", {}); // nobody writes into what another still reads
  });
}

void RowPipelineBuilder::buildJoin(RowStage stage) {
  syncMembers = [&] { call("pipeline.syncJoining()", {}); };
  joinSelf = self;
  joiners = members;
  Values all, latest;
  auto memoryFor = [&](Value value, int64_t count) {
    return kernel.sharedMemory(computeType(getElementTypeOrSelf(value.getType())), count);
  };
  for (Value result : resultsOf(stage))
    all.push_back(memoryFor(result, chunksOfRow));
  handed = numbersOfRow(stage, shapes());
  for (Value number : handed)
    latest.push_back(memoryFor(number, 1));
  overSteps([&](Value step, Value row, Value before) {
    // A long row's chunks follow each other in a block, too.
    ifThen(cmpi(CmpIPredicate::ne, row, before), [&] {
      Values operands{row};
      llvm::append_range(operands, all);
      call(all.size() == 1 ? "pipeline.collect((int)($0), $1)" : "pipeline.collect((int)($0), $1, $2)", operands);
      joinStage(stage, all);
      for (auto [memory, value] : llvm::zip(latest, handed)) {
        Value number = element(value, Values(shapes().rank(value), index(0)));
        if (auto quotient = number.getDefiningOp<arith::DivFOp>(); quotient && matchPattern(quotient.getLhs(), m_OneFloat()))
          handedReciprocals.insert(value);
        memref::StoreOp::create(b, loc, number, memory, index(0));
      }
      llvm::for_each(resultsOf(stage), [&](Value result) { clearScalar(result); });
    });
    Values operands{step};
    for (Value memory : latest)
      operands.push_back(loadShared(memory, index(0)));
    call(latest.size() == 1 ? "pipeline.handOver((int)($0), $1)" : "pipeline.handOver((int)($0), $1, $2)", operands);
  });
}

void RowPipelineBuilder::buildStore(RowStage stage) {
  overSteps([&](Value step, Value, Value) {
    call("pipeline.awaitJoined((int)($0))", step);
    Operation *wait = &*std::prev(b.getInsertionPoint());
    for (auto [i, result] : llvm::enumerate(handed)) {
      Type type = computeType(getElementTypeOrSelf(result.getType()));
      std::string name = type.isF64() ? "double" : type.isF32() ? "float" : type.isInteger(64) ? "long long" : "int";
      Value number = ask(type, "pipeline.number<" + name + ">((int)($0), " + std::to_string(i) + ")", step);
      if (handedReciprocals.contains(result))
        number.getDefiningOp()->setAttr(isReciprocalNumber, b.getUnitAttr());
      setScalar(result, number);
    }
    // Results of other lengths are those of the row's first chunk.
    if (!other.empty())
      ifThen(cmpi(CmpIPredicate::eq, member, index(0)), [&] { storeOther(self, index(members)); });
    if (!whole.empty()) {
      place = ask(b.getIndexType(), "pipeline.stageOf((int)($0))", step);
      ifThen(keeps, [&] {
        holds = Holds::All;
        storeWhole();
      });
      Value again = arith::XOrIOp::create(b, loc, keeps, arith::ConstantIntOp::create(b, loc, b.getI1Type(), 1));
      ifThen(again, [&] {
        holds = Holds::Nothing;
        storeWhole();
      });
    }
    call("pipeline.endStoring((int)($0))", step);
    llvm::for_each(handed, [&](Value number) { clearScalar(number); });
    readBefore(wait, [&](Value memory) {
      auto buffer = dyn_cast<BlockArgument>(memory);
      return buffer && kernel.kernel.buffers[kernel.positionOf(buffer)] < kernel.region.getInputs().size();
    });
  });
}

FailureOr<bool> RowPipelineBuilder::build(RowStage stage) {
  FailureOr<bool> chosen = choose(stage);
  if (failed(chosen) || !*chosen)
    return chosen;
  kernel.kernel.threads = Shape::threads;
  kernel.kernel.minBlocks = 1;
  kernel.kernel.cooperative = true;
  // A GPU, or a part of one, with fewer would have more steps of a row than places for them.
  int64_t least = 1;
  while (stageBytes < bytesOfSteps(least))
    ++least;
  kernel.kernel.leastBlocks = int(least);
  kernel.kernel.state = Shape::bytes;
  sortResults();
  watchHeld();
  holds = Holds::All;
  unroll = 4; // several reads of shared memory are under way
  keeps = ask(b.getI1Type(), "pipeline.keeps()");
  firstItem = ask(b.getIndexType(), "pipeline.firstItem()"), blocks = ask(b.getIndexType(), "pipeline.blocks()");
  constexpr int joining = Shape::countingWarps, fetching = joining + Shape::joiningWarps,
                storing = fetching + Shape::fetchingWarps;
  ofWarps(0, joining, [&] { buildCount(stage); });
  ofWarps(joining, fetching, [&] { buildJoin(stage); });
  ofWarps(fetching, storing, [&] { buildFetch(); });
  ofWarps(storing, Shape::warps, [&] { buildStore(stage); });
  call("pipeline.leave()", {});
  kernel.kernel.extent = min(rows * shapes().constant(chunksOfRow), shapes().constant(Shape::maxBlocks));
  return true;
}

FailureOr<bool> flame::cuda::emitRowPipeline(KernelBuilder &kernel, ArrayRef<RowStage> stages, ArrayRef<DimExpr> outer,
                                             ArrayRef<DimExpr> inner, int width) {
  if (stages.size() != 1)
    return false;
  // Exponentials are dear, and both the warps that count and those that store would compute them.
  RowStage stage = stages.front();
  if (stage.second && stage.first.getKind() == "max")
    return false;
  return RowPipelineBuilder(kernel, outer, inner, width).build(stage);
}
