//===- EmitReduce.cpp - reductions over any dims ----------------------------------------------------------------------===//
//
// Sums over leading or middle dims, over everything, positions of extremes: results that are functions of one or several
// reductions of the same shape. A block of 256 threads has `columns` × `lanes` of them: `columns` neighbouring results, and
// `lanes` threads that share the elements of each. Where the operand's last dim is reduced, lanes are neighbouring threads
// and read neighbouring elements; otherwise columns are. A thread has a few neighbouring elements or results at a time,
// where sizes allow.
//
// Where there are fewer blocks of results than keep the GPU busy, several blocks share the elements of a result: each writes
// what it has to scratch memory, and the block that comes last combines all, in their order. So results do not depend on
// which block that is, and one launch is enough.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "flame/Analysis/Demand.h"
#include "flame/Body/Reduction.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "schedule/Team.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

constexpr int64_t threads = 256;
/// Four blocks for each of 132 multiprocessors.
constexpr int64_t manyBlocks = 528;
/// Fewer elements are done by the thread of their result.
constexpr int64_t leastElements = 32;
/// Elements for each thread before more blocks share a result.
constexpr int64_t leastSteps = 8;

struct Plan {
  SmallVector<Operation *> reductions;
  SmallVector<DimExpr> operand, kept, reduced; // dims
  bool alongReduced; // the operand's last dim of more than one element is reduced
  size_t outer;      // how many of `kept` come before the last reduced dim; all, if `alongReduced`
};

DimExpr product(ShapeContext &shapes, ArrayRef<DimExpr> dims) {
  DimExpr size = shapes.constant(1);
  for (DimExpr dim : dims)
    size = size * dim;
  return size;
}

class ReduceBuilder : public ElementBuilder {
public:
  ReduceBuilder(KernelBuilder &kernel, const Plan &plan)
      : ElementBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), plan(plan) {}
  void build();

private:
  KernelBuilder &kernel;
  const Plan &plan;
  int64_t columns, lanes;
  int elementWidth = 1, resultWidth = 1; // neighbours that a thread has at a time
  Value column, lane;                    // of this thread

  /// Values that reductions carry, one list for each of the thread's results.
  using Carried = SmallVector<Values>;

  DimExpr chooseTiles();
  Values loopOver(DimExpr size, Value split, DimExpr splits, ArrayRef<Reduction> reductions, ArrayRef<Values> at);
  Carried step(ArrayRef<Reduction> reductions, ArrayRef<Values> at, ArrayRef<Values> elements, Carried carried);
  Values combine(ArrayRef<Reduction> reductions, ValueRange x, ValueRange y);
  Carried joinLanes(ArrayRef<Reduction> reductions, Carried carried);
  SmallVector<Values> resultIndices(Value outerTile, Value innerGroup);
  Value toWord(Value value);
  Value fromWord(Value word, Type type);

  static Values flatten(const Carried &carried) {
    Values all;
    for (const Values &values : carried)
      llvm::append_range(all, values);
    return all;
  }
  Carried unflatten(ValueRange all) const {
    Carried carried(resultWidth);
    size_t each = all.size() / resultWidth;
    for (auto [i, values] : llvm::enumerate(carried))
      values.assign(all.begin() + i * each, all.begin() + (i + 1) * each);
    return carried;
  }
};

} // namespace

/// The region's reductions, if all have the same shape, none needs another, and the results are functions of them.
static std::optional<Plan> match(KernelBuilder &kernel) {
  ShapeContext &shapes = kernel.shapes;
  Plan plan;
  llvm::SmallPtrSet<Value, 16> dependent;
  SmallVector<int64_t> axes;
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    bool depends = llvm::any_of(op.getOperands(), [&](Value v) { return dependent.contains(v); });
    if (!isReduction(&op)) {
      if (depends && !isa<PointwiseInterface>(op))
        return std::nullopt;
      auto pull = dyn_cast<ElementInterface>(&op);
      if (!isa<PointwiseInterface>(op) && !(pull && pull.isCheap()))
        return std::nullopt;
    } else {
      ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
      Value x = op.getOperand(0);
      SmallVector<int64_t> own;
      if (auto list = op.getAttrOfType<DenseI64ArrayAttr>("axes"))
        own.assign(list.asArrayRef().begin(), list.asArrayRef().end());
      else
        own.push_back(op.getAttrOfType<IntegerAttr>("axis").getInt());
      llvm::sort(own);
      if (depends || own.empty())
        return std::nullopt;
      if (plan.reductions.empty()) {
        axes = own;
        plan.operand.assign(shapes.dims(x));
      } else if (own != axes || shapes.dims(x) != ArrayRef<DimExpr>(plan.operand)) {
        return std::nullopt;
      }
      plan.reductions.push_back(&op);
    }
    if (depends || isReduction(&op))
      for (Value result : op.getResults())
        dependent.insert(result);
  }
  if (plan.reductions.empty())
    return std::nullopt;
  plan.alongReduced = true;
  plan.outer = 0;
  for (auto [d, dim] : llvm::enumerate(plan.operand)) {
    bool isReduced = llvm::is_contained(axes, int64_t(d));
    (isReduced ? plan.reduced : plan.kept).push_back(dim);
    if (isReduced && !dim.isConstant(1))
      plan.outer = plan.kept.size();
    if (!dim.isConstant(1))
      plan.alongReduced = isReduced;
  }
  if (plan.alongReduced)
    plan.outer = plan.kept.size();
  // Results have the dims that are left, and perhaps more of one element.
  auto significant = [](ArrayRef<DimExpr> dims) {
    SmallVector<DimExpr> left;
    llvm::copy_if(dims, std::back_inserter(left), [](DimExpr d) { return !d.isConstant(1); });
    return left;
  };
  ArrayRef<DimExpr> result = shapes.dims(plan.reductions.front()->getResult(0));
  if (significant(result) != significant(plan.kept))
    return std::nullopt;
  for (Operation *op : plan.reductions)
    if (shapes.dims(op->getResult(0)) != result)
      return std::nullopt;
  for (Value value : kernel.region.getYielded())
    if (shapes.dims(value) != result || !dependent.contains(value))
      return std::nullopt;
  return plan;
}

/// Decides columns, lanes and widths; the number of blocks of results.
DimExpr ReduceBuilder::chooseTiles() {
  auto power = [](int64_t n) { return int64_t(llvm::PowerOf2Ceil(std::max<int64_t>(n, 1))); };
  SmallVector<DimExpr> inner(ArrayRef<DimExpr>(plan.kept).drop_front(plan.outer));
  int64_t elements = likely(product(shapes(), plan.reduced));
  int widest = 8;
  for (BlockArgument input : kernel.region.getBlock()->getArguments())
    if (shapes().rank(input) > 0 && !llvm::all_of(input.getUses(), isShapeOperand))
      widest = std::max<int>(widest, storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth());
  int width = 16 * 8 / widest;
  auto fit = [&](ArrayRef<DimExpr> dims) {
    auto last = dims.empty() ? std::optional<int64_t>(1) : dims.back().constant();
    int fitting = width;
    while (fitting > 1 && (!last || *last % fitting != 0))
      fitting /= 2;
    return fitting;
  };
  if (plan.alongReduced) {
    elementWidth = fit(plan.reduced);
    lanes = std::clamp<int64_t>(power(elements / elementWidth / 4), 8, threads);
    columns = threads / lanes;
    return ceilDiv(product(shapes(), plan.kept), shapes().constant(columns));
  }
  resultWidth = std::min(fit(inner), 4);
  DimExpr groups = product(shapes(), inner);
  columns = std::min<int64_t>(power(likely(groups) / resultWidth), 32);
  lanes = threads / columns;
  return product(shapes(), ArrayRef<DimExpr>(plan.kept).take_front(plan.outer)) *
         ceilDiv(groups, shapes().constant(columns * resultWidth));
}

ReduceBuilder::Values ReduceBuilder::combine(ArrayRef<Reduction> reductions, ValueRange x, ValueRange y) {
  Values all;
  size_t next = 0;
  for (const Reduction &r : reductions) {
    size_t count = r.init.size();
    llvm::append_range(all, r.combine(x.slice(next, count), y.slice(next, count)));
    next += count;
  }
  return all;
}

/// With the elements whose reduced indices are `elements`, for each of the thread's results.
ReduceBuilder::Carried ReduceBuilder::step(ArrayRef<Reduction> reductions, ArrayRef<Values> at, ArrayRef<Values> elements,
                                           Carried carried) {
  for (const Values &element : elements)
    for (auto [index, values] : llvm::zip(at, carried)) {
      size_t next = 0;
      for (const Reduction &r : reductions) {
        size_t count = r.init.size();
        Values now = r.step(ValueRange(values).slice(next, count), r.indexOf(index, element));
        llvm::copy(now, values.begin() + next);
        next += count;
      }
    }
  return carried;
}

/// What a thread carries after its share of the elements of piece `split`.
Values ReduceBuilder::loopOver(DimExpr size, Value split, DimExpr splits, ArrayRef<Reduction> reductions,
                               ArrayRef<Values> at) {
  SmallVector<DimExpr> dims(plan.reduced), grouped(plan.reduced);
  if (elementWidth > 1)
    grouped.back() = shapes().constant(*dims.back().constant() / elementWidth);
  DimExpr groups = product(shapes(), grouped), piece = ceilDiv(groups, splits);
  Value begin = muli(split, expr(piece)), end = mini(addi(begin, expr(piece)), expr(groups));
  Values init;
  for (int i = 0; i < resultWidth; ++i)
    for (const Reduction &r : reductions)
      llvm::append_range(init, r.init);
  return loop(addi(begin, lane), end, index(lanes), init, [&](Value group, ValueRange carried) {
    Values first = delinearize(group, grouped);
    SmallVector<Values> elements;
    for (int i = 0; i < elementWidth; ++i) {
      elements.push_back(first);
      if (elementWidth > 1)
        kernel.enterLane(*this, elements.back(), group, dims, elementWidth, i);
    }
    return flatten(step(reductions, at, elements, unflatten(carried)));
  });
}

/// Combines what the lanes of each column carry; lane 0 gets it. All threads of the block call it.
ReduceBuilder::Carried ReduceBuilder::joinLanes(ArrayRef<Reduction> reductions, Carried carried) {
  Values all = flatten(carried), memory;
  for (Value value : all)
    memory.push_back(kernel.sharedMemory(value.getType(), threads));
  Value own = addi(muli(lane, index(columns)), column);
  kernel.barrier(); // what was there before has been read
  for (auto [value, shared] : llvm::zip(all, memory))
    memref::StoreOp::create(b, loc, value, shared, own);
  auto read = [&](Value at) {
    Values values;
    for (Value shared : memory)
      values.push_back(memref::LoadOp::create(b, loc, shared, at));
    return unflatten(values);
  };
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    kernel.barrier();
    ifThen(cmpi(CmpIPredicate::slt, lane, index(half)), [&] {
      Carried mine = read(own), theirs = read(addi(own, index(half * columns)));
      for (auto [x, y] : llvm::zip(mine, theirs))
        x = combine(reductions, x, y);
      for (auto [value, shared] : llvm::zip(flatten(mine), memory))
        memref::StoreOp::create(b, loc, value, shared, own);
    });
  }
  return read(own);
}

Value ReduceBuilder::toWord(Value value) {
  Type word = b.getI64Type(), type = value.getType();
  if (type.isIndex())
    return arith::IndexCastOp::create(b, loc, word, value);
  unsigned width = type.getIntOrFloatBitWidth();
  if (isa<FloatType>(type))
    value = arith::BitcastOp::create(b, loc, b.getIntegerType(width), value);
  return width == 64 ? value : arith::ExtUIOp::create(b, loc, word, value).getResult();
}

Value ReduceBuilder::fromWord(Value word, Type type) {
  if (type.isIndex()) {
    auto index = arith::IndexCastOp::create(b, loc, type, word);
    index->setAttr("flame.is_index", b.getUnitAttr());
    return index;
  }
  unsigned width = type.getIntOrFloatBitWidth();
  if (width < 64)
    word = arith::TruncIOp::create(b, loc, b.getIntegerType(width), word);
  return isa<FloatType>(type) ? arith::BitcastOp::create(b, loc, type, word).getResult() : word;
}

/// The indices, in the reductions' result, of the results that this thread has a part in.
SmallVector<Values> ReduceBuilder::resultIndices(Value outerTile, Value innerGroup) {
  ArrayRef<DimExpr> kept(plan.kept), outer = kept.take_front(plan.outer), inner = kept.drop_front(plan.outer);
  SmallVector<Values> all;
  if (plan.alongReduced) {
    all.push_back(delinearize(innerGroup, kept));
  } else {
    SmallVector<DimExpr> grouped(inner);
    if (resultWidth > 1)
      grouped.back() = shapes().constant(*inner.back().constant() / resultWidth);
    Values before = delinearize(outerTile, outer), first = delinearize(innerGroup, grouped);
    for (int i = 0; i < resultWidth; ++i) {
      Values at(first);
      if (resultWidth > 1)
        kernel.enterLane(*this, at, innerGroup, inner, resultWidth, i);
      Values full(before);
      llvm::append_range(full, at);
      all.push_back(std::move(full));
    }
  }
  // Reduced dims that are kept with one element.
  Operation *op = plan.reductions.front();
  Reduction r = reductionOf(op, *this);
  if (r.keepDims)
    for (Values &at : all)
      for (int64_t axis : r.axes)
        at.insert(at.begin() + axis, index(0));
  return all;
}

void ReduceBuilder::build() {
  DimExpr tiles = chooseTiles(), one = shapes().constant(1);
  DimExpr groups = floorDiv(product(shapes(), plan.reduced), shapes().constant(elementWidth));
  // Pieces of the elements: one where there are enough blocks without, or little for each to do.
  DimExpr steps = floorDiv(groups, shapes().constant(lanes * leastSteps));
  DimExpr splits = max(one, min(steps, floorDiv(shapes().constant(manyBlocks), max(tiles, one))));
  bool shared = !splits.isConstant(1);

  kernel.kernel.threads = threads;
  kernel.kernel.extent = tiles * splits;
  Value tile = kernel.block, split = index(0);
  if (shared) {
    tile = remi(kernel.block, expr(tiles));
    split = divi(kernel.block, expr(tiles));
  }
  column = plan.alongReduced ? divi(kernel.thread, index(lanes)) : remi(kernel.thread, index(columns));
  lane = plan.alongReduced ? remi(kernel.thread, index(lanes)) : divi(kernel.thread, index(columns));

  // The thread's results.
  ArrayRef<DimExpr> inner = ArrayRef<DimExpr>(plan.kept).drop_front(plan.outer);
  DimExpr innerGroups = plan.alongReduced ? product(shapes(), plan.kept)
                                          : floorDiv(product(shapes(), inner), shapes().constant(resultWidth));
  Value outerTile = index(0), group = tile;
  if (!plan.alongReduced) {
    DimExpr innerTiles = ceilDiv(innerGroups, shapes().constant(columns));
    outerTile = divi(tile, expr(innerTiles));
    group = remi(tile, expr(innerTiles));
  }
  group = addi(muli(group, index(columns)), column);
  Value inside = cmpi(CmpIPredicate::slt, group, expr(innerGroups));
  group = select(inside, group, index(0)); // reads what is there, stores nothing
  SmallVector<Values> at = resultIndices(outerTile, group);

  SmallVector<Reduction> reductions;
  for (Operation *op : plan.reductions)
    reductions.push_back(reductionOf(op, *this));
  Carried carried = joinLanes(reductions, unflatten(loopOver(groups, split, splits, reductions, at)));

  auto store = [&](const Carried &all) {
    ifThen(arith::AndIOp::create(b, loc, inside, cmpi(CmpIPredicate::eq, lane, index(0))), [&] {
      unsigned results = kernel.region.getNumResults();
      SmallVector<Values> elements(results);
      for (auto [index, values] : llvm::zip(at, all)) {
        size_t next = 0;
        for (auto [op, r] : llvm::zip(plan.reductions, reductions)) {
          setScalar(op->getResult(0), r.finish(ValueRange(values).slice(next, r.init.size())));
          next += r.init.size();
        }
        scope([&] {
          for (unsigned i = 0; i < results; ++i)
            elements[i].push_back(element(kernel.region.getYielded()[i], index));
        });
      }
      for (unsigned i = 0; i < results; ++i)
        for (auto [index, value] : llvm::zip(at, elements[i]))
          kernel.storeResult(*this, i, index, value);
    });
  };
  if (!shared) {
    store(carried);
    return;
  }

  // Scratch: [values][splits][tiles × columns × results of a thread], 8 bytes each.
  Values mine = flatten(carried);
  DimExpr row = tiles * shapes().constant(columns * resultWidth);
  kernel.kernel.scratch = splits * row * shapes().constant(8 * int64_t(mine.size() / resultWidth));
  kernel.kernel.state = TicketState::bytes;
  kernel.templates.push_back("tile/Ticket.h");
  Value scratch = kernel.scratchMemory(b.getI64Type());
  size_t each = mine.size() / resultWidth;
  auto position = [&](Value piece, size_t i) {
    Value line = addi(muli(index(i % each), expr(splits)), piece);
    Value place = addi(muli(addi(muli(tile, index(columns)), column), index(resultWidth)), index(i / each));
    return addi(muli(line, expr(row)), place);
  };
  ifThen(cmpi(CmpIPredicate::eq, lane, index(0)), [&] {
    for (auto [i, value] : llvm::enumerate(mine))
      memref::StoreOp::create(b, loc, toWord(value), scratch, position(split, i));
  });
  Value last = kernel.sharedMemory(b.getI1Type(), 1);
  CallOp::create(b, loc, "flame::comesLast($0, (int)($1), (int)($2), $3)",
                 {kernel.stateMemory(), tile, expr(splits), last});
  ifThen(memref::LoadOp::create(b, loc, last, index(0)), [&] {
    Values init;
    for (int i = 0; i < resultWidth; ++i)
      for (const Reduction &r : reductions)
        llvm::append_range(init, r.init);
    Values all = loop(lane, expr(splits), index(lanes), init, [&](Value piece, ValueRange sum) {
      Carried next = unflatten(sum), theirs(resultWidth);
      for (auto [i, value] : llvm::enumerate(mine))
        theirs[i / each].push_back(
            fromWord(memref::LoadOp::create(b, loc, scratch, position(piece, i)), value.getType()));
      for (auto [x, y] : llvm::zip(next, theirs))
        x = combine(reductions, x, y);
      return flatten(next);
    });
    store(joinLanes(reductions, unflatten(all)));
  });
}

bool flame::cuda::emitReduce(KernelBuilder &kernel) {
  std::optional<Plan> plan = match(kernel);
  if (!plan || likely(product(kernel.shapes, plan->reduced)) < leastElements)
    return false;
  ReduceBuilder(kernel, *plan).build();
  return true;
}
