//===- AbsorbFolds.cpp - products begin the reductions of their results -----------------------------------------------===//
//
// A reduction of a product's result reads from memory what the product had in registers: the largest magnitude that a tensor is scaled by
// before it is quantised, the sums of its rows. Such a reduction can begin in the product's epilogue, with one number for each run of 32
// columns of a row, and go on from these. The result is stored as before; whoever else reads it still does.
//
// Before:  %y = flame.region "contract"(%x, %w) { … flame.matmul … } : … -> tensor<4096x14336xbf16>
//          %m = flame.region "row"(%y) { flame.abs … flame.reduce {axes = [0, 1], kind = "max"} … } : … -> tensor<1x1xbf16>
// After:   %y:2 = flame.region "contract"(%x, %w) { … flame.matmul … flame.abs … flame.reshape flame.reduce {axes = [2], kind = "max"}
//                                         flame.transpose … } : … -> (tensor<4096x14336xbf16>, tensor<448x4096xf32>)
//          %m = flame.region "loop"(%y#1) { flame.reduce {axes = [0, 1], kind = "max"} … } : … -> tensor<1x1xbf16>
//
// A kernel that needs the product itself, too, such as a norm, keeps its rows on chip and reads it once in any case. Only where it reduces all
// of a tensor that no GPU holds does it become two kernels, one of the partial results and one of the product:
//
//   %q = flame.region "row"(%y) { flame.abs … flame.reduce {axes = [0, 1], kind = "max"} … flame.div … flame.cast … } : … -> tensor<…xf8E4M3FN>
//   →  %m = flame.region "loop"(%y#1) { flame.reduce … }      %q = flame.region "loop"(%y#0, %m) { flame.div … flame.cast … }
//
// And only where that is likely faster: tiles must hold whole runs of columns, and folding takes instructions.
//
// Runs after kernel regions are formed.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "FoldEpilogue.h"
#include "StridedOperand.h"
#include "flame/Analysis/PairedProducts.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"
#include "flame/Target/Cuda/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace {

class Absorber {
public:
  Absorber(func::FuncOp function, bool wgmma, bool tf32) : function(function), wgmma(wgmma), tf32(tf32), context(std::in_place, exprs) {}

  void run() {
    SmallVector<RegionOp> products;
    function.walk([&](RegionOp region) {
      if (region.getAnchor() == "contract" && region.getNumResults() == 1)
        products.push_back(region);
    });
    for (RegionOp product : products)
      absorb(product);
  }

private:
  func::FuncOp function;
  bool wgmma, tf32;
  DimContext exprs;
  std::optional<ShapeContext> context; // of the function as it is
  ShapeContext &shapes = *context;

  /// A kernel that reduces a product's result.
  struct Reader {
    RegionOp region;
    unsigned input; // the product's result
    SmallVector<ReduceOp, 1> folds;
    bool needsProduct; // for something else, too
  };

  /// What a product is to those who choose its tiles.
  struct Problem {
    Arithmetic type;
    cuda::ContractSizes sizes;
    std::optional<cuda::WgmmaProblem> wgmma;
  };

  /// None for a region that the templates have no folds for.
  std::optional<Problem> problemOf(RegionOp region) {
    SmallVector<MatMulOp> ops(region.getBlock()->getOps<MatMulOp>());
    if (ops.empty() || ops.size() > 2 || !region.getBlock()->getOps<ScaledMatMulOp>().empty() ||
        !region.getBlock()->getOps<GroupedMatMulOp>().empty() || (ops.size() == 2 && !arePaired(ops[0], ops[1], shapes, tf32)))
      return {};
    MatMulOp op = ops.front();
    Type left = getElementTypeOrSelf(op.getX().getType()), right = getElementTypeOrSelf(op.getY().getType()),
         sum = getElementTypeOrSelf(op.getResult().getType());
    auto type = left != right                   ? std::optional<Arithmetic>()
                : left.isF16()                  ? Arithmetic::F16
                : left.isBF16()                 ? Arithmetic::BF16
                : isa<Float8E4M3FNType>(left)   ? Arithmetic::E4M3
                : isa<Float8E5M2Type>(left)     ? Arithmetic::E5M2
                : left.isF32() && tf32          ? Arithmetic::TF32
                                                : std::optional<Arithmetic>();
    // Rows are those of one matrix, which lies in memory as it is.
    if (!type || !isa<FloatType>(sum) || sum.isF64() || op.getPackedColumns() || op.getTransposeX() || !isa<BlockArgument>(op.getX()) ||
        shapes.rank(op.getX()) < 2 || shapes.rank(op.getY()) != 2)
      return {};
    // The result is the products' element by element.
    Value stored = region.getYielded().front();
    SmallVector<DimExpr> dims(shapes.dims(op.getResult()));
    llvm::SmallPtrSet<Value, 8> dependent;
    for (MatMulOp each : ops)
      dependent.insert(each.getResult());
    for (Operation &inner : region.getBlock()->without_terminator())
      if (llvm::any_of(inner.getOperands(), [&](Value value) { return dependent.contains(value); })) {
        if (!isa<PointwiseInterface>(inner) || inner.getNumResults() != 1 || shapes.dims(inner.getResult(0)) != ArrayRef(dims))
          return {};
        dependent.insert(inner.getResult(0));
      }
    Type elementType = getElementTypeOrSelf(stored.getType());
    if (!dependent.contains(stored) || !(elementType.isF16() || elementType.isBF16() || elementType.isF32()) ||
        !cuda::isMultiple(dims.back(), foldColumns))
      return {};
    DimExpr rows = shapes.constant(1);
    for (DimExpr dim : ArrayRef(dims).drop_back())
      rows = rows * dim;
    Problem problem{*type, {1, cuda::likely(rows), cuda::likely(dims.back()), cuda::likely(shapes.dims(op.getX()).back()), int(ops.size())}, {}};
    problem.sizes.y = op.getTransposeY() ? Major::Depth : Major::Side;
    if (wgmma && (sizeOf(*type) == 2 || op.getTransposeY()))
      problem.wgmma = cuda::WgmmaProblem{*type, Major::Depth, problem.sizes.y, rows.constant()};
    return problem;
  }

  /// Whether a reduction over rows, or over everything, of a function of single elements of `whole`.
  bool isFold(ReduceOp reduce, Value whole) {
    const int64_t rank = shapes.rank(whole);
    StringRef kind = reduce.getKind();
    SmallVector<int64_t> axes(reduce.getAxes());
    llvm::sort(axes);
    const bool ofRows = axes == SmallVector<int64_t>{rank - 1}, ofAll = axes == llvm::to_vector(llvm::seq<int64_t>(rank));
    Type type = getElementTypeOrSelf(reduce.getX().getType());
    return (kind == "sum" || kind == "mean" || kind == "max" || kind == "min") && (ofRows || ofAll) &&
           (type.isF16() || type.isBF16() || type.isF32()) && cuda::isElementwise(reduce.getX(), whole, shapes);
  }

  std::optional<Reader> readerOf(RegionOp region, Value result) {
    if ((region.getAnchor() != "row" && region.getAnchor() != "loop") || llvm::count(region.getInputs(), result) != 1)
      return {};
    Reader reader{region, unsigned(llvm::find(region.getInputs(), result) - region.getInputs().begin()), {}, false};
    Value whole = region.getBlock()->getArgument(reader.input);
    for (ReduceOp reduce : region.getBlock()->getOps<ReduceOp>()) {
      // What others reduce are rows of another kind.
      if (!isFold(reduce, whole) || (!reader.folds.empty() && (reduce.getAxes() != reader.folds.front().getAxes() ||
                                                               reduce.getKeepdims() != reader.folds.front().getKeepdims())))
        return {};
      reader.folds.push_back(reduce);
    }
    if (reader.folds.empty())
      return {};
    // All that reads the product leads to folds alone.
    llvm::SetVector<Operation *> readers(whole.user_begin(), whole.user_end());
    for (size_t i = 0; i < readers.size(); ++i) {
      if (isa<YieldOp>(readers[i]))
        reader.needsProduct = true;
      if (!isa<ReduceOp>(readers[i]))
        readers.insert_range(SmallVector<Operation *>(readers[i]->getUsers()));
    }
    // A kernel of reductions alone stores functions of them.
    ArrayRef<DimExpr> dims = shapes.dims(reader.folds.front().getResult());
    const bool isWhole = llvm::all_of(region.getYielded(), [&](Value value) { return shapes.dims(value) == dims; });
    return (reader.needsProduct ? canDivide(reader) : isWhole) ? std::optional<Reader>(reader) : std::nullopt;
  }

  /// Whether the kernel may become two: of the results some are pointwise functions of folds alone, all others need the product. What passes from
  /// one to the other must lose nothing in memory.
  bool canDivide(const Reader &reader) {
    RegionOp region = reader.region;
    auto isExact = [&](ReduceOp fold) {
      return int64_t(fold.getAxes().size()) == shapes.rank(fold.getX()) && !shapes.dims(fold.getX()).empty() &&
             (fold.getKind() == "max" || fold.getKind() == "min" || getElementTypeOrSelf(fold.getResult().getType()).isF32());
    };
    if (!llvm::all_of(reader.folds, isExact))
      return false;
    llvm::SmallPtrSet<Operation *, 16> small = ofFolds(reader);
    ArrayRef<DimExpr> dims = shapes.dims(ReduceOp(reader.folds.front()).getResult());
    for (Operation &op : region.getBlock()->without_terminator())
      if (!isa<PointwiseInterface, ReduceOp>(op) && op.getNumOperands() != 0)
        return false;
    return llvm::all_of(region.getYielded(), [&](Value value) {
      Operation *op = value.getDefiningOp();
      return op && (!small.contains(op) || shapes.dims(value) == dims);
    });
  }

  /// Ops that need folds, but not the product itself.
  llvm::SmallPtrSet<Operation *, 16> ofFolds(const Reader &reader) {
    RegionOp region = reader.region;
    Value whole = region.getBlock()->getArgument(reader.input);
    llvm::SmallPtrSet<Value, 16> ofWhole{whole};
    llvm::SmallPtrSet<Operation *, 16> small;
    for (Operation &op : region.getBlock()->without_terminator()) {
      if (isa<ReduceOp>(op)) {
        small.insert(&op);
        continue;
      }
      if (llvm::any_of(op.getOperands(), [&](Value value) { return ofWhole.contains(value); }))
        ofWhole.insert_range(op.getResults());
      else if (llvm::any_of(op.getOperands(), [&](Value value) { return value.getDefiningOp() && small.contains(value.getDefiningOp()); }))
        small.insert(&op);
    }
    return small;
  }

  /// Whether a product with these folds is likely faster than it and kernels that read its result again, in nanoseconds of an H200.
  bool pays(Problem problem, Type stored, ArrayRef<Reader> readers) {
    // What memory gives, and what is lost among the differences of prices.
    constexpr double bytes = 4000, least = 1000;
    // What the shared memory of all multiprocessors holds is read once by a kernel that needs it twice.
    constexpr double held = 26e6;
    const double elements = double(problem.sizes.rows) * double(problem.sizes.columns), size = elements * (stored.getIntOrFloatBitWidth() / 8);
    unsigned folds = 0, reads = 0;
    for (const Reader &reader : readers) {
      folds += reader.folds.size();
      reads += !reader.needsProduct || size > held;
    }
    auto time = [&] { return cuda::likelyTime(problem.type, problem.wgmma, problem.sizes); };
    const double without = time();
    problem.sizes.folds = int(folds);
    const double with = time() + folds * elements * (2 * sizeof(float) / double(foldColumns)) / bytes,
                 read = reads * size / bytes;
    return with + least < without + read;
  }

  void absorb(RegionOp product) {
    auto problem = problemOf(product);
    if (!problem)
      return;
    constexpr unsigned mostFolds = 3; // registers beside the sums
    Value result = product.getResult(0);
    SmallVector<Reader> all;
    unsigned folds = 0;
    for (Operation *user : llvm::SetVector<Operation *>(result.user_begin(), result.user_end())) {
      auto region = dyn_cast<RegionOp>(user);
      auto reader = region && region->getBlock() == product->getBlock() ? readerOf(region, result) : std::optional<Reader>();
      if (!reader || folds + reader->folds.size() > mostFolds)
        continue;
      folds += reader->folds.size();
      all.push_back(std::move(*reader));
    }
    if (!all.empty() && pays(*problem, getElementTypeOrSelf(result.getType()), all))
      build(product, all);
  }

  RankedTensorType typeOf(ArrayRef<DimExpr> dims, Type elementType) {
    SmallVector<int64_t> shape;
    for (DimExpr dim : dims)
      shape.push_back(dim.constant().value_or(ShapedType::kDynamic));
    return RankedTensorType::get(shape, elementType);
  }

  void build(RegionOp product, ArrayRef<Reader> all) {
    OpBuilder b(product);
    Type f32 = b.getF32Type();
    SmallVector<Location> locations{product.getLoc()};
    for (const Reader &reader : all)
      locations.push_back(reader.region->getLoc());
    Location loc = FusedLoc::get(b.getContext(), locations);
    SmallVector<DimExpr> dims(shapes.dims(product.getResult(0))), split(dims);
    const int64_t rank = int64_t(dims.size());
    split.back() = floorDiv(split.back(), shapes.constant(foldColumns));
    split.push_back(shapes.constant(foldColumns));
    Value sizes = GraphBuilder(b, loc, shapes).shapeTensor(split);

    // The ops of a product with those that fold its result behind them.
    SmallVector<Type> types(product->getResultTypes());
    SmallVector<Value> inputs(product.getInputs());
    inputs.push_back(sizes);
    Block *body = new Block();
    IRMapping mapping;
    for (auto [value, argument] : llvm::zip(product.getInputs(), product.getBlock()->getArguments()))
      mapping.map(argument, body->addArgument(value.getType(), value.getLoc()));
    Value shape = body->addArgument(sizes.getType(), loc);
    SmallVector<Value> results;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(body);
      for (Operation &op : product.getBlock()->without_terminator())
        b.clone(op, mapping);
      results.push_back(mapping.lookup(product.getYielded().front()));
      for (const Reader &reader : all)
        for (ReduceOp fold : reader.folds) {
          Value x = of(b, fold.getX(), reader, results.front());
          if (!getElementTypeOrSelf(x.getType()).isF32())
            x = CastOp::create(b, loc, typeOf(dims, f32), x, f32);
          SmallVector<DimExpr> kept(split);
          SmallVector<int64_t> perm{rank - 1};
          for (int64_t d = 0; d < rank - 1; ++d)
            perm.push_back(d);
          const bool hasLast = keepsLast(fold);
          kept.pop_back();
          if (hasLast)
            perm.push_back(rank), kept.push_back(shapes.constant(1));
          Value runs = ReshapeOp::create(b, loc, typeOf(split, f32), x, shape);
          Value partial = ReduceOp::create(b, loc, typeOf(kept, f32), runs, fold.getKind() == "mean" ? StringRef("sum") : fold.getKind(),
                                           ArrayRef(rank), hasLast);
          SmallVector<DimExpr> turned;
          for (int64_t d : perm)
            turned.push_back(kept[d]);
          types.push_back(typeOf(turned, f32));
          results.push_back(TransposeOp::create(b, loc, types.back(), partial, perm));
        }
      YieldOp::create(b, loc, results);
    }
    auto region = RegionOp::create(b, loc, types, inputs, product.getAnchorAttr(), product.getLabelAttr());
    region.getBody().push_back(body);
    product.getResult(0).replaceAllUsesWith(region.getResult(0));
    unsigned next = 1;
    for (const Reader &reader : all) {
      goOn(reader, region, next);
      next += reader.folds.size();
    }
    product.erase();
    context.emplace(exprs); // what it knew is of ops that are gone
  }

  /// A reduction of rows that keeps its dim goes on over partials that have that dim, too.
  bool keepsLast(ReduceOp fold) { return fold.getKeepdims() && fold.getAxes().size() == 1 && shapes.rank(fold.getX()) > 1; }

  /// The ops of the reader that lead from the product's result to `value`, of `stored`.
  Value of(OpBuilder &b, Value value, const Reader &reader, Value stored) {
    IRMapping mapping;
    RegionOp region = reader.region;
    mapping.map(region.getBlock()->getArgument(reader.input), stored);
    llvm::SetVector<Operation *> behind;
    auto add = [&](Value operand) {
      if (Operation *op = operand.getDefiningOp())
        behind.insert(op);
    };
    add(value);
    for (size_t i = 0; i < behind.size(); ++i)
      llvm::for_each(behind[i]->getOperands(), add);
    for (Operation &op : region.getBlock()->without_terminator())
      if (behind.contains(&op))
        b.clone(op, mapping);
    return mapping.lookup(value);
  }

  /// The reader, of the partial results from `first` on in place of the product's.
  void goOn(const Reader &reader, RegionOp product, unsigned first) {
    RegionOp from = reader.region;
    llvm::SmallPtrSet<Operation *, 16> small = ofFolds(reader);
    SmallVector<Value> partials, ofFirst, ofSecond; // what the kernels store
    for (size_t i = 0; i < reader.folds.size(); ++i)
      partials.push_back(product.getResult(first + i));
    for (Value value : from.getYielded())
      (!reader.needsProduct || small.contains(value.getDefiningOp()) ? ofFirst : ofSecond).push_back(value);
    if (reader.needsProduct)
      for (ReduceOp fold : reader.folds)
        if (!llvm::is_contained(ofFirst, fold.getResult()))
          ofFirst.push_back(fold.getResult());
    SmallVector<Value> folds(llvm::map_range(reader.folds, [](ReduceOp fold) { return fold.getResult(); }));
    RegionOp kernel = part(from, ofFirst, folds, partials, /*reduces=*/true), other;
    if (reader.needsProduct) {
      SmallVector<Value> stored;
      for (Value fold : folds)
        stored.push_back(kernel.getResult(llvm::find(ofFirst, fold) - ofFirst.begin()));
      other = part(from, ofSecond, folds, stored, /*reduces=*/false);
    }
    for (auto [result, value] : llvm::zip(from->getResults(), from.getYielded())) {
      auto at = llvm::find(ofFirst, value);
      result.replaceAllUsesWith(at != ofFirst.end() ? kernel.getResult(at - ofFirst.begin())
                                                    : other.getResult(llvm::find(ofSecond, value) - ofSecond.begin()));
    }
    from.erase();
  }

  /// A kernel of what leads to `yielded` in the region, given `folds` by `values`: what they are, or what they are the reductions of.
  RegionOp part(RegionOp from, ArrayRef<Value> yielded, ArrayRef<Value> folds, ArrayRef<Value> values, bool reduces) {
    llvm::SmallPtrSet<Value, 16> needed;
    SmallVector<Value> way(yielded);
    while (!way.empty()) {
      Value value = way.pop_back_val();
      if (!needed.insert(value).second || llvm::is_contained(folds, value))
        continue;
      if (Operation *op = value.getDefiningOp())
        llvm::append_range(way, op->getOperands());
    }
    OpBuilder b(from);
    SmallVector<Value> inputs;
    auto *body = new Block();
    IRMapping mapping;
    for (auto [value, argument] : llvm::zip(from.getInputs(), from.getBlock()->getArguments()))
      if (needed.contains(argument)) {
        inputs.push_back(value);
        mapping.map(argument, body->addArgument(argument.getType(), argument.getLoc()));
      }
    SmallVector<Value> given;
    for (auto [fold, value] : llvm::zip(folds, values)) {
      inputs.push_back(value);
      given.push_back(body->addArgument(value.getType(), fold.getLoc()));
    }
    SmallVector<Value> results;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(body);
      for (Operation &op : from.getBlock()->without_terminator()) {
        if (!llvm::any_of(op.getResults(), [&](Value value) { return needed.contains(value); }))
          continue;
        if (auto fold = dyn_cast<ReduceOp>(op)) {
          Value argument = given[llvm::find(folds, fold.getResult()) - folds.begin()];
          mapping.map(fold.getResult(), reduces ? rest(b, fold, argument) : argument);
        } else {
          b.clone(op, mapping);
        }
      }
      for (Value value : yielded)
        results.push_back(mapping.lookup(value));
      YieldOp::create(b, from.getLoc(), results);
    }
    auto region = RegionOp::create(b, from.getLoc(), TypeRange(ValueRange(results)), inputs, b.getStringAttr("loop"), from.getLabelAttr());
    region.getBody().push_back(body);
    return region;
  }

  /// The reduction of partial results.
  Value rest(OpBuilder &b, ReduceOp fold, Value partials) {
    Location loc = fold.getLoc();
    auto type = cast<RankedTensorType>(fold.getResult().getType());
    const int64_t rank = shapes.rank(fold.getX());
    const bool ofAll = int64_t(fold.getAxes().size()) == rank;
    SmallVector<int64_t> axes{0};
    if (ofAll)
      axes = llvm::to_vector(llvm::seq<int64_t>(rank));
    auto wide = RankedTensorType::get(type.getShape(), b.getF32Type());
    Value value = ReduceOp::create(b, loc, wide, partials, fold.getKind(), axes, ofAll && fold.getKeepdims());
    if (fold.getKind() == "mean") {
      // So far it is that of sums of runs.
      auto number = RankedTensorType::get({}, b.getF32Type());
      Value part = ConstantOp::create(b, loc, number, DenseElementsAttr::get(number, b.getF32FloatAttr(1.0f / foldColumns)));
      value = MulOp::create(b, loc, wide, value, part);
    }
    return type.getElementType().isF32() ? value : CastOp::create(b, loc, type, value, type.getElementType()).getResult();
  }
};

struct AbsorbFoldsPass : PassWrapper<AbsorbFoldsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AbsorbFoldsPass)
  StringRef getArgument() const override { return "flame-absorb-folds"; }
  StringRef getDescription() const override { return "Let products begin the reductions of their results"; }
  AbsorbFoldsPass() = default;
  AbsorbFoldsPass(const AbsorbFoldsPass &other) : PassWrapper(other) {}
  AbsorbFoldsPass(bool wgmma, bool tf32) {
    this->wgmma = wgmma;
    this->tf32 = tf32;
  }

  Option<bool> wgmma{*this, "wgmma", llvm::cl::desc("Products may go by wgmma"), llvm::cl::init(false)};
  Option<bool> tf32{*this, "tf32", llvm::cl::desc("f32 is multiplied as TF32"), llvm::cl::init(false)};

  void runOnOperation() override { Absorber(getOperation(), wgmma, tf32).run(); }
};

} // namespace

std::unique_ptr<Pass> flame::cuda::createAbsorbFoldsPass(bool wgmma, bool tf32) { return std::make_unique<AbsorbFoldsPass>(wgmma, tf32); }
