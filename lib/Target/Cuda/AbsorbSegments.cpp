//===- AbsorbSegments.cpp - norms and rotations of heads move into the product that makes them ---------------------------===//
//
// The columns of a projection are heads, and what follows for queries and keys, a norm over each head, a rotation of its elements, or
// both, needs nothing but the head. A tile by wgmma has whole heads in its registers, so such a row program can be the product's
// body. Its results take the place of their columns: attention reads queries, keys and values out of one tensor.
//
// Before:  %p = flame.region "contract"(%x, %w) { … flame.matmul … } : … -> tensor<?x?x9216xbf16>
//          %h = flame.reshape %p : … -> tensor<?x?x72x128xbf16>
//          %r:2 = flame.region "row"(%h, …) { … slices of some heads, normed, turned … yield %k, %q } : … -> (tensor<?x?x24x128xbf16>, …)
//          %a = flame.region "attention"(%r#1, %h, %r#0) { … }
// After:   %h = flame.region "contract"(%x, %w, …) { … flame.matmul … flame.reshape … yield flame.concat %q, %k, %v } : … -> tensor<?x?x72x128xbf16>
//          %a = flame.region "attention"(%h, %h, %h) { … slices … }
//
// Only where all code is for sm_90a; the generator (SegmentEpilogue.h) has no other way for such a region. Runs after kernel
// regions are formed.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "SegmentEpilogue.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"
#include "flame/Target/Cuda/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace {

/// Segments [begin, end) of the last dim but one.
struct Range {
  int64_t begin, end;
  bool meets(const Range &other) const { return begin < other.end && other.begin < end; }
};

class Absorber {
public:
  explicit Absorber(func::FuncOp function) : function(function), context(std::in_place, exprs) {}

  void run() {
    SmallVector<ReshapeOp> views;
    function.walk([&](ReshapeOp view) {
      if (!view->getParentOfType<RegionOp>())
        views.push_back(view);
    });
    for (ReshapeOp view : views)
      absorb(view);
  }

private:
  func::FuncOp function;
  DimContext exprs;
  std::optional<ShapeContext> context; // of the function as it is
  ShapeContext &shapes = *context;

  /// The region of a product of many rows whose only result is `whole`, by elements that wgmma multiplies.
  RegionOp productOf(Value whole) {
    auto region = whole.getDefiningOp<RegionOp>();
    if (!region || region.getAnchor() != "contract" || region.getNumResults() != 1)
      return {};
    auto products = region.getBlock()->getOps<MatMulOp>();
    if (!llvm::hasSingleElement(products) || !region.getBlock()->getOps<ScaledMatMulOp>().empty())
      return {};
    MatMulOp product = *products.begin();
    Type left = getElementTypeOrSelf(product.getX().getType()), right = getElementTypeOrSelf(product.getY().getType());
    if (left != right || !(left.isF16() || left.isBF16()) || getElementTypeOrSelf(whole.getType()) != left || product.getPackedColumns() ||
        product.getTransposeX() || shapes.dims(product.getResult()) != shapes.dims(whole))
      return {};
    // Lines that the copy engine can read. Of fewer rows there are few tiles a multiprocessor, and what a kernel beside the product does in all
    // threads of the GPU would take its eight warps longer than it saves: at 2048 rows 5 %, where 4608 gain 1 %.
    constexpr int64_t lineElements = 8, manyRows = 4096;
    auto hasLines = [&](Value operand) {
      return shapes.rank(operand) >= 2 && shapes.dims(operand).back().constant().value_or(1) % lineElements == 0;
    };
    DimExpr rows = shapes.constant(1);
    for (DimExpr dim : shapes.dims(product.getX()).drop_back())
      rows = rows * dim;
    return hasLines(product.getX()) && hasLines(product.getY()) && shapes.rank(product.getY()) == 2 &&
                   isa<BlockArgument>(product.getX()) && isa<BlockArgument>(product.getY()) && cuda::likely(rows) >= manyRows
               ? region
               : RegionOp();
  }

  /// What a slice takes out of segments, all else being whole; none for any other use.
  std::optional<Range> rangeOf(Operation *user, Value segments) {
    auto slice = dyn_cast<SliceOp>(user);
    if (!slice || slice.getX() != segments)
      return {};
    SmallVector<DimExpr> from(shapes.dims(segments)), to(shapes.dims(slice.getResult()));
    const int64_t axis = int64_t(from.size()) - 2;
    for (int64_t d = 0; d < int64_t(from.size()); ++d)
      if (!shapes.element(slice.getSteps(), d).isConstant(1) || (d != axis && from[d] != to[d]))
        return {};
    auto begin = shapes.element(slice.getStarts(), axis).constant(), size = to[axis].constant();
    if (!begin || !size)
      return {};
    return Range{*begin, *begin + *size};
  }

  /// The one range that a result of the region is computed of; none if it also, or only, depends on another one.
  std::optional<Range> sourceOf(Value result, Value segments) {
    std::optional<Range> range;
    llvm::SetVector<Operation *> behind;
    auto add = [&](Value value) {
      if (Operation *op = value.getDefiningOp())
        behind.insert(op);
    };
    add(result);
    for (size_t i = 0; i < behind.size(); ++i) {
      Operation *op = behind[i];
      if (llvm::is_contained(op->getOperands(), segments)) {
        auto own = rangeOf(op, segments);
        if (!own || (range && (range->begin != own->begin || range->end != own->end)))
          return {};
        range = own;
      }
      for (Value operand : op->getOperands())
        add(operand);
    }
    return range;
  }

  /// All uses of a value as a region's input are slices of ranges that keep clear of `ranges`.
  bool readsOthers(RegionOp reader, Value whole, ArrayRef<Range> ranges) {
    for (auto [input, argument] : llvm::zip(reader.getInputs(), reader.getBlock()->getArguments()))
      if (input == whole)
        for (Operation *user : argument.getUsers()) {
          auto range = rangeOf(user, argument);
          if (!range || llvm::any_of(ranges, [&](const Range &other) { return other.meets(*range); }))
            return false;
        }
    return true;
  }

  /// A region that computes segments of some, all of the same rows; `ranges`: which ones each result is of.
  struct Rows {
    RegionOp region;
    unsigned input;
    SmallVector<Range> ranges;
  };

  /// The reader as such a region whose results attention alone reads; none if it does anything else.
  std::optional<Rows> rowsOf(RegionOp reader, Value whole) {
    if ((reader.getAnchor() != "row" && reader.getAnchor() != "loop") || llvm::count(reader.getInputs(), whole) != 1)
      return {};
    Rows rows{reader, unsigned(llvm::find(reader.getInputs(), whole) - reader.getInputs().begin()), {}};
    Value segments = reader.getBlock()->getArgument(rows.input);
    SmallVector<DimExpr> dims(shapes.dims(whole));
    for (Value result : reader.getYielded()) {
      auto range = sourceOf(result, segments);
      SmallVector<DimExpr> own(shapes.dims(result));
      if (!range || own.size() != dims.size() || getElementTypeOrSelf(result.getType()) != getElementTypeOrSelf(whole.getType()) ||
          own.back() != dims.back() || !own[own.size() - 2].isConstant(range->end - range->begin) ||
          ArrayRef(own).drop_back(2) != ArrayRef(dims).drop_back(2) || !cuda::pairingOf(result, segments, shapes))
        return {};
      rows.ranges.push_back(*range);
    }
    for (Operation *user : reader->getUsers()) {
      auto region = dyn_cast<RegionOp>(user);
      if (!region || region.getAnchor() != "attention" || region->getBlock() != reader->getBlock())
        return {};
    }
    return rows;
  }

  void absorb(ReshapeOp view) {
    Value whole = view.getResult();
    RegionOp product = productOf(view.getX());
    if (!product || product->getBlock() != view->getBlock() ||
        !llvm::all_of(view.getX().getUsers(), [&](Operation *user) { return user == view; }))
      return;
    SmallVector<DimExpr> flat(shapes.dims(view.getX())), dims(shapes.dims(whole));
    if (dims.size() != flat.size() + 1 || ArrayRef(dims).drop_back(2) != ArrayRef(flat).drop_back() || !dims.back().constant() ||
        !dims[dims.size() - 2].constant() || !cuda::SegmentEpilogue::hasWidth(*dims.back().constant()))
      return;
    SmallVector<Rows> all;
    SmallVector<Range> ranges;
    SmallVector<RegionOp> others;
    Operation *last = view;
    for (Operation *user : llvm::SetVector<Operation *>(view->user_begin(), view->user_end())) {
      auto reader = dyn_cast<RegionOp>(user);
      if (!reader || reader->getBlock() != view->getBlock())
        return;
      auto rows = rowsOf(reader, whole);
      if (!rows) {
        others.push_back(reader);
        continue;
      }
      for (const Range &range : rows->ranges) {
        if (llvm::any_of(ranges, [&](const Range &other) { return other.meets(range); }))
          return;
        ranges.push_back(range);
      }
      if (last->isBeforeInBlock(reader))
        last = reader;
      all.push_back(std::move(*rows));
    }
    // Everybody else reads other segments, or what is computed of these, and comes later.
    auto comesLater = [&](Operation *user) { return last->isBeforeInBlock(user); };
    if (all.empty() || !llvm::all_of(others, [&](RegionOp reader) { return comesLater(reader) && readsOthers(reader, whole, ranges); }) ||
        !llvm::all_of(all, [&](const Rows &rows) { return llvm::all_of(rows.region->getUsers(), comesLater); }))
      return;
    build(all, product, view, last);
  }

  void build(ArrayRef<Rows> all, RegionOp product, ReshapeOp view, Operation *last) {
    OpBuilder b(last);
    SmallVector<Location> locations{product.getLoc()};
    for (const Rows &rows : all)
      locations.push_back(rows.region->getLoc());
    Location loc = FusedLoc::get(b.getContext(), locations);
    GraphBuilder g(b, loc, shapes);
    SmallVector<DimExpr> dims(shapes.dims(view.getResult()));
    const size_t axis = dims.size() - 2;
    const int64_t count = *dims[axis].constant();
    // Parts from the first segment to the last: a result of `rows`, or what stays as it is.
    struct Part {
      Range range;
      Value result; // null: none
      Value sizes;
    };
    SmallVector<Part> computed, parts;
    auto sizesOf = [&](const Range &range) {
      SmallVector<DimExpr> sizes(dims);
      sizes[axis] = shapes.constant(range.end - range.begin);
      return g.shapeTensor(sizes);
    };
    for (const Rows &rows : all)
      for (auto [range, result] : llvm::zip(rows.ranges, rows.region->getResults()))
        computed.push_back({range, result, sizesOf(range)});
    llvm::sort(computed, [&](const Part &a, const Part &c) { return a.range.begin < c.range.begin; });
    int64_t next = 0;
    auto addRest = [&](int64_t end) {
      if (next < end)
        parts.push_back({{next, end}, {}, sizesOf({next, end})});
    };
    for (const Part &part : computed) {
      addRest(part.range.begin);
      parts.push_back(part);
      next = part.range.end;
    }
    addRest(count);

    llvm::SetVector<Value> inputs(product.getInputs().begin(), product.getInputs().end());
    for (const Rows &rows : all)
      for (auto [i, value] : llvm::enumerate(rows.region->getOperands()))
        if (i != rows.input)
          inputs.insert(value);
    inputs.insert(view.getShape());
    for (const Part &part : parts)
      if (!part.result)
        inputs.insert(part.sizes);
    auto region = RegionOp::create(b, loc, view.getType(), inputs.getArrayRef(), b.getStringAttr("contract"), StringAttr());
    {
      OpBuilder::InsertionGuard guard(b);
      IRMapping mapping;
      Block *body = b.createBlock(&region.getBody());
      DenseMap<Value, Value> argumentOf;
      for (Value value : inputs)
        argumentOf[value] = body->addArgument(value.getType(), value.getLoc());
      auto clone = [&](RegionOp from) {
        for (auto [value, argument] : llvm::zip(from.getInputs(), from.getBlock()->getArguments()))
          if (!mapping.contains(argument))
            mapping.map(argument, argumentOf.lookup(value));
        for (Operation &op : from.getBlock()->without_terminator())
          b.clone(op, mapping);
        for (auto [result, yielded] : llvm::zip(from->getResults(), from.getYielded()))
          mapping.map(result, mapping.lookup(yielded));
      };
      clone(product);
      Value segments = ReshapeOp::create(b, loc, view.getType(), mapping.lookup(view.getX()), argumentOf.lookup(view.getShape()));
      for (Rows rows : all) {
        mapping.map(rows.region.getBlock()->getArgument(rows.input), segments);
        clone(rows.region);
      }
      SmallVector<Value> values;
      for (const Part &part : parts)
        values.push_back(part.result ? mapping.lookup(part.result)
                                     : slice(b, loc, segments, part.range, argumentOf.lookup(part.sizes)));
      if (values.size() > 1)
        values = {ConcatOp::create(b, loc, view.getType(), values, b.getI64IntegerAttr(axis))};
      YieldOp::create(b, loc, values);
    }
    for (const Part &part : computed)
      readFrom(region.getResult(0), part.result, part.range, part.sizes);
    view.getResult().replaceUsesWithIf(region.getResult(0), [&](OpOperand &use) {
      return llvm::none_of(all, [&](const Rows &rows) { return rows.region == use.getOwner(); });
    });
    for (const Rows &rows : all)
      rows.region->erase();
    view.erase();
    product.erase();
    context.emplace(exprs); // what it knew is of ops that are gone
  }

  Value slice(OpBuilder &b, Location loc, Value segments, const Range &range, Value sizes) {
    auto type = cast<RankedTensorType>(segments.getType());
    SmallVector<int64_t> shape(type.getShape()), starts(type.getRank(), 0), steps(type.getRank(), 1);
    shape[type.getRank() - 2] = range.end - range.begin;
    starts[type.getRank() - 2] = range.begin;
    GraphBuilder g(b, loc, shapes);
    Value from = g.i64(starts), by = g.i64(steps);
    return SliceOp::create(b, loc, RankedTensorType::get(shape, type.getElementType()), segments, from, sizes, by);
  }

  /// Regions that read `part` take it out of `whole`.
  void readFrom(Value whole, Value part, const Range &range, Value sizes) {
    for (OpOperand &use : llvm::make_early_inc_range(part.getUses())) {
      auto reader = cast<RegionOp>(use.getOwner());
      Block *body = reader.getBlock();
      BlockArgument argument = body->getArgument(use.getOperandNumber());
      use.set(whole);
      reader.getInputsMutable().append(sizes);
      Value size = body->addArgument(sizes.getType(), sizes.getLoc());
      argument.setType(whole.getType());
      OpBuilder b(body, body->begin());
      Value taken = slice(b, reader.getLoc(), argument, range, size);
      argument.replaceAllUsesExcept(taken, taken.getDefiningOp());
    }
  }
};

struct AbsorbSegmentsPass : PassWrapper<AbsorbSegmentsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AbsorbSegmentsPass)
  StringRef getArgument() const override { return "flame-absorb-segments"; }
  StringRef getDescription() const override { return "Let products compute norms and rotations of their heads"; }
  void runOnOperation() override { Absorber(getOperation()).run(); }
};

} // namespace

std::unique_ptr<Pass> flame::cuda::createAbsorbSegmentsPass() { return std::make_unique<AbsorbSegmentsPass>(); }
