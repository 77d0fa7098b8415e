//===- EmitRow.cpp - reductions over trailing dims --------------------------------------------------------------------===//
//
// A row program: the leading dims are rows; for each row reductions in their order, each over what the earlier ones gave,
// then the results. Short rows belong to a warp or a part of one; a longer row has a block of its own. The threads of a
// row take its elements in turns, a few neighbours at a time where sizes allow, so that a warp reads neighbouring addresses;
// their partial results are joined by shuffles, and between warps through shared memory. A row of known length that fits
// in the registers of its threads is read once: all loops over it are unrolled, and what they read in common is shared
// (shareLoads). Where rows are so short that a thread would read next to nothing, it takes part in several.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "JoinThreads.h"
#include <numeric>

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

namespace {

constexpr int warp = 32;

/// How the elements of a row are dealt out: in groups of `width` neighbours, group g to thread g % lanes.
struct Deal {
  int lanes = warp; // threads of a row: a power of two
  int width = 1;
  int turns = 0; // groups of one thread, where they are known and few enough to unroll; 0: a loop
  int rows = 1;  // that a thread takes part in, one after the other
};

/// Folds by all threads of a row.
class RowBuilder : public ElementBuilder {
public:
  RowBuilder(KernelBuilder &kernel, Deal deal, DimExpr length, Value lane)
      : ElementBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), deal(deal), length(length), lane(lane) {}

  /// Off while a body runs that only some of the threads take part in.
  bool parallel = true;

  Value fold(ArrayRef<DimExpr> extents, Value init, function_ref<Value(Value, Value)> combine,
             function_ref<Value(ValueRange)> element) override {
    DimExpr size = shapes().constant(1);
    for (DimExpr extent : extents)
      size = size * extent;
    if (!parallel || size != length)
      return ElementBuilder::fold(extents, init, combine, element);
    parallel = false;
    // Neighbours are joined by themselves, so that sums need not wait for each other.
    Values partials = forEachGroup(Values(std::min(deal.width, 4), init), [&](Value group, Value inside, ValueRange sums) {
      Values next(sums);
      for (auto [i, at] : llvm::enumerate(neighbours(group, extents))) {
        Value &sum = next[i % next.size()];
        sum = combine(sum, element(at));
      }
      if (inside)
        for (auto [sum, before] : llvm::zip(next, sums))
          sum = select(inside, sum, before);
      return next;
    });
    Value partial = partials.front();
    for (Value other : llvm::drop_begin(partials))
      partial = combine(partial, other);
    parallel = true;
    partial = joinWarp(*this, partial, combine, std::min(deal.lanes, warp));
    if (deal.lanes > warp)
      partial = joinBlock(kernel, *this, deal.lanes, static_cast<int>(kernel.kernel.threads), partial, combine);
    return partial;
  }

  /// Computes the reductions of a row, in their order.
  void reduceRow(ArrayRef<Operation *> reductions, ValueRange at) {
    for (Operation *op : reductions)
      clearScalar(op->getResult(0)); // of an earlier row
    for (Operation *op : reductions) {
      Value result = op->getResult(0);
      Values full(at);
      full.resize(shapes().rank(result), index(0));
      setScalar(result, element(result, full));
    }
  }

  /// Stores the results of a row; `at` is its index.
  void storeResults(const Values &at) {
    SmallVector<bool> done(kernel.region.getNumResults(), false);
    for (unsigned i = 0; i < done.size(); ++i) {
      if (done[i])
        continue;
      SmallVector<DimExpr> dims(shapes().dims(kernel.region.getYielded()[i]));
      SmallVector<unsigned> group;
      for (unsigned j = i; j < done.size(); ++j)
        if (shapes().dims(kernel.region.getYielded()[j]) == ArrayRef<DimExpr>(dims)) {
          group.push_back(j);
          done[j] = true;
        }
      ArrayRef<DimExpr> inner = ArrayRef<DimExpr>(dims).drop_front(at.size());
      DimExpr size = shapes().constant(1);
      for (DimExpr dim : inner)
        size = size * dim;
      if (size == length) {
        storeRow(at, inner, group);
        continue;
      }
      // One number a row, most often.
      parallel = false;
      loop(lane, expr(size), index(deal.lanes), {}, [&](Value column, ValueRange) {
        Values full = at;
        llvm::append_range(full, delinearize(column, inner));
        for (unsigned j : group)
          kernel.storeResult(*this, j, full, element(kernel.region.getYielded()[j], full));
        return Values();
      });
      parallel = true;
    }
  }

  /// Stores the elements of results whose inner dims are `inner`.
  void storeRow(ValueRange outer, ArrayRef<DimExpr> inner, ArrayRef<unsigned> results) {
    parallel = false;
    forEachGroup({}, [&](Value group, Value inside, ValueRange) {
      auto store = [&] {
        SmallVector<Values> elements(results.size()), indices;
        for (const Values &at : neighbours(group, inner)) {
          Values full(outer);
          llvm::append_range(full, at);
          for (auto [i, result] : llvm::enumerate(results))
            elements[i].push_back(this->element(kernel.region.getYielded()[result], full));
          indices.push_back(std::move(full));
        }
        for (auto [i, result] : llvm::enumerate(results))
          for (auto [index, scalar] : llvm::zip(indices, elements[i]))
            kernel.storeResult(*this, result, index, scalar);
      };
      if (inside)
        ifThen(inside, store);
      else
        store();
      return Values();
    });
    parallel = true;
  }

private:
  KernelBuilder &kernel;
  Deal deal;
  DimExpr length;
  Value lane;

  /// Runs `body` with each group of this thread, its position clamped to the row, and, where a group may lie beyond the row,
  /// whether it is inside; carries values along.
  Values forEachGroup(Values carried, function_ref<Values(Value, Value, ValueRange)> body) {
    if (deal.turns == 0) {
      Value groups = expr(floorDiv(length, shapes().constant(deal.width))); // a row may be several dims, of which the last is known
      return loop(lane, groups, index(deal.lanes), carried, [&](Value group, ValueRange c) { return body(group, {}, c); });
    }
    int64_t groups = *length.constant() / deal.width;
    for (int64_t turn = 0; turn < deal.turns; ++turn) {
      Value group = addi(lane, index(turn * deal.lanes)), inside;
      if ((turn + 1) * deal.lanes > groups) {
        inside = cmpi(arith::CmpIPredicate::slt, group, index(groups));
        group = select(inside, group, index(0));
      }
      carried = body(group, inside, carried);
    }
    return carried;
  }

  /// The indices of a group's elements.
  SmallVector<Values> neighbours(Value group, ArrayRef<DimExpr> dims) {
    if (deal.width == 1)
      return {delinearize(group, dims)};
    SmallVector<DimExpr> groups(dims);
    groups.back() = shapes().constant(*dims.back().constant() / deal.width);
    Values at = delinearize(group, groups);
    SmallVector<Values> all;
    for (int i = 0; i < deal.width; ++i) {
      all.push_back(at);
      kernel.enterLane(*this, all.back(), group, dims, deal.width, i);
    }
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

/// What all borders are multiples of at which rows are cut and joined; 0: there are none.
static int64_t commonBorder(KernelBuilder &kernel, DimExpr last) {
  int64_t border = 0;
  auto add = [&](Value value) {
    DimExpr size = kernel.shapes.dims(value).back();
    if (size != last)
      border = size.constant() ? std::gcd(border, *size.constant()) : 1;
  };
  for (Operation &op : kernel.region.getBlock()->without_terminator())
    if (StringRef name = op.getName().stripDialect(); name == "slice")
      add(op.getResult(0));
    else if (name == "concat")
      llvm::for_each(op.getOperands(), add);
  return border;
}

/// Short rows to a warp; longer ones to as many threads as keep a thread's share in registers, or as a block may have.
static Deal dealOut(KernelBuilder &kernel, DimExpr last, DimExpr columns, DimExpr rows) {
  constexpr int64_t registers = 64;        // elements of all inputs that a thread may hold
  constexpr int64_t manyThreads = 1 << 16; // enough to fill a GPU
  constexpr int threads = 256;
  Deal deal;
  int64_t length = columns.constant().value_or(2048);
  deal.width = vectorWidth(kernel, last, kernel.shapes.constant(INT64_MAX));
  int64_t knownRows = rows.constant().value_or(manyThreads);
  while (deal.width > 1 && length / deal.width < warp && length / deal.width * knownRows < manyThreads)
    deal.width /= 2; // work for more threads
  // Inputs of whole rows; a weight comes from the cache again.
  int64_t groups = length / deal.width, inputs = 0;
  for (BlockArgument argument : kernel.region.getBlock()->getArguments()) {
    ArrayRef<DimExpr> dims = kernel.shapes.dims(argument);
    bool ofEachRow = dims.size() > 1 && !llvm::all_of(dims.drop_back(), [](DimExpr d) { return d.isConstant(1); });
    inputs += ofEachRow && dims.back() == last;
  }
  int64_t most = std::max<int64_t>(1, registers / (deal.width * std::max<int64_t>(1, inputs)));
  bool known = columns.constant().has_value();
  deal.lanes = groups <= warp * std::max<int64_t>(most, 512 / (warp * deal.width)) ? warp : 64;
  while (deal.lanes > warp && deal.lanes < 1024 && groups > deal.lanes * most)
    deal.lanes *= 2;
  if (!known || groups > deal.lanes * most) {
    deal.lanes = !known ? 128 : length <= 512 ? warp : length <= 2048 ? 128 : length <= 8192 ? 256 : 512;
    return deal;
  }
  if (groups < warp)
    deal.lanes = llvm::PowerOf2Ceil(groups);
  // A thread that has both halves of what is cut in two needs no other thread's elements.
  if (int64_t border = commonBorder(kernel, last); border > 0 && deal.lanes <= warp)
    while (deal.lanes > 4 && border % (deal.lanes * deal.width) != 0)
      deal.lanes /= 2;
  deal.turns = (groups + deal.lanes - 1) / deal.lanes;
  // A warp keeps some kilobyte on its way, so that latency is hidden.
  constexpr int64_t elementsOnTheWay = 32, mostRows = 4;
  if (deal.lanes <= warp && rows.constant())
    while (deal.rows < mostRows && deal.turns * deal.width * deal.rows * 2 * std::max<int64_t>(1, inputs) <= elementsOnTheWay &&
           knownRows % (threads / deal.lanes * deal.rows * 2) == 0 &&
           knownRows * deal.lanes / (deal.rows * 2) >= 2 * manyThreads)
      deal.rows *= 2;
  return deal;
}

/// Inputs of all rows that are far larger than the second-level cache.
static void markStreams(KernelBuilder &kernel, ArrayRef<DimExpr> rowDims) {
  constexpr int64_t largeBytes = 128 << 20;
  for (BlockArgument input : kernel.region.getBlock()->getArguments()) {
    if (kernel.shapes.dims(input) != rowDims || input.use_empty())
      continue;
    std::optional<int64_t> elements = kernel.shapes.numElements(input).constant();
    int64_t bytes = storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth() / 8;
    if (elements && *elements > largeBytes / bytes)
      kernel.streams.insert(input.getArgNumber());
  }
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
  ArrayRef<DimExpr> rowDims = shapes.dims(reductions.front()->getOperand(0));
  for (DimExpr dim : rowDims.drop_front(outer.size()))
    columns = columns * dim;
  FailureOr<bool> isShared = emitSplitRow(kernel, reductions, outer, rowDims.drop_front(outer.size()));
  if (failed(isShared) || *isShared)
    return success(succeeded(isShared));
  markStreams(kernel, rowDims);
  Deal deal = dealOut(kernel, rowDims.back(), columns, rows);
  int lanes = deal.lanes;
  // A block has several rows, but not so many that multiprocessors are left without one. Rows of several warps that wait at more
  // than one barrier are better by themselves, as each would wait for all.
  constexpr int64_t enoughBlocks = 264;
  int threads = lanes > warp && reductions.size() > 1 ? lanes : std::max(256, lanes);
  while (rows.constant() && threads > std::max(lanes, warp) && *rows.constant() * lanes < threads * enoughBlocks)
    threads /= 2;
  bool shared = lanes < threads;
  kernel.kernel.threads = threads;
  int rowsAtOnce = kernel.kernel.threads / lanes, rowsPerBlock = rowsAtOnce * deal.rows;

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Value first = kernel.block, lane = kernel.thread;
  if (shared) {
    first = e.addi(e.muli(kernel.block, e.index(rowsPerBlock)), e.divi(kernel.thread, e.index(lanes)));
    lane = e.remi(kernel.thread, e.index(lanes));
  }
  RowBuilder r(kernel, deal, columns, lane);
  auto program = [&](Value row) {
    Values at = r.delinearize(row, outer);
    r.reduceRow(reductions, at);
    r.storeResults(at);
  };
  // Threads beyond the last row have nothing to do. But all threads of a warp take part in its shuffles, and all of a block in its
  // barriers: those that share one with another row compute the last row again, and store nothing.
  bool whole = rows.constant() && *rows.constant() % rowsPerBlock == 0;
  for (int i = 0; i < deal.rows; ++i) {
    Value row = r.addi(first, r.index(i * rowsAtOnce));
    if (!shared || whole) {
      r.scope([&] { program(row); });
      continue;
    }
    Value inside = r.cmpi(arith::CmpIPredicate::slt, row, r.expr(rows));
    if (lanes == warp) {
      r.ifThen(inside, [&] { program(row); });
    } else {
      Values at = r.delinearize(r.mini(row, r.expr(rows - shapes.constant(1))), outer);
      r.reduceRow(reductions, at);
      r.ifThen(inside, [&] { r.storeResults(at); });
    }
  }
  kernel.kernel.extent = ceilDiv(rows, shapes.constant(rowsPerBlock));
  return success();
}
