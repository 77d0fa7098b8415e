//===- SegmentEpilogue.cpp - see SegmentEpilogue.h ----------------------------------------------------------------===//
#include "SegmentEpilogue.h"
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

/// Which elements of a segment an element of a value needs, found by following it through the ops in between.
class Needs {
public:
  Needs(Value segments, ShapeContext &shapes) : segments(segments), shapes(shapes), width(*shapes.dims(segments).back().constant()) {}

  ReduceOp sum;
  std::optional<int64_t> begin; // the segment that the value's first one is computed of

  /// Adds the columns that column `column` of `value` needs; false where an op is none that moves or computes element by element.
  bool add(Value value, int64_t column, llvm::SmallSet<int64_t, 4> &columns) {
    if (value == segments) {
      columns.insert(column);
      return beginsAt(0);
    }
    Operation *op = value.getDefiningOp();
    if (!op || isConstantLike(op))
      return true;
    ArrayRef<DimExpr> dims = shapes.dims(value);
    if (auto reduce = dyn_cast<ReduceOp>(op))
      return isSum(reduce);
    if (auto slice = dyn_cast<SliceOp>(op)) {
      const int64_t last = int64_t(dims.size()) - 1;
      auto start = shapes.element(slice.getStarts(), last).constant(), step = shapes.element(slice.getSteps(), last).constant();
      if (!start || !step)
        return false;
      // What is taken of other dims and broadcast again would be of another row, or another segment.
      if (slice.getX() != segments)
        return shapes.dims(slice.getX()).drop_back() == dims.drop_back() && add(slice.getX(), *start + column * *step, columns);
      auto first = shapes.element(slice.getStarts(), last - 1).constant();
      columns.insert(*start + column * *step);
      return first && shapes.element(slice.getSteps(), last - 1).isConstant(1) && beginsAt(*first);
    }
    if (auto concat = dyn_cast<ConcatOp>(op)) {
      if (int64_t(concat.getAxis()) != int64_t(dims.size()) - 1)
        return false;
      for (Value part : concat.getXs()) {
        auto size = shapes.dims(part).back().constant();
        if (!size)
          return false;
        if (column < *size)
          return add(part, column, columns);
        column -= *size;
      }
      return false;
    }
    if (!isa<PointwiseInterface>(op) || op->getNumResults() != 1)
      return false;
    return llvm::all_of(op->getOperands(), [&](Value operand) {
      ArrayRef<DimExpr> own = shapes.dims(operand);
      return add(operand, own.empty() || own.back().isConstant(1) ? 0 : column, columns);
    });
  }
  int64_t size() const { return width; }

private:
  Value segments;
  ShapeContext &shapes;
  int64_t width;

  bool beginsAt(int64_t segment) {
    if (!begin)
      begin = segment;
    return *begin == segment;
  }
  static bool isConstantLike(Operation *op) { return op->getNumOperands() == 0; }

  /// The only reduction, over the whole segment, by additions.
  bool isSum(ReduceOp reduce) {
    if (sum && sum != reduce)
      return false;
    auto rank = int64_t(shapes.rank(reduce.getX()));
    sum = reduce;
    return (reduce.getKind() == "mean" || reduce.getKind() == "sum") && reduce.getKeepdims() && reduce.getAxes().size() == 1 &&
           reduce.getAxes()[0] == rank - 1 && shapes.dims(reduce.getX()).back().isConstant(width) &&
           getElementTypeOrSelf(reduce.getX().getType()).isF32();
  }
};

int64_t placeOf(Pairing pairing, int64_t pair, int which, int64_t width) {
  return pairing == Pairing::Neighbours ? 2 * pair + which : pair + which * width / 2;
}

} // namespace

std::optional<SegmentPairing> flame::cuda::pairingOf(Value value, Value segments, ShapeContext &shapes) {
  Needs needs(segments, shapes);
  const int64_t width = needs.size();
  SmallVector<llvm::SmallSet<int64_t, 4>> ofValue(width), ofSum(width);
  for (int64_t column = 0; column < width; ++column)
    if (!needs.add(value, column, ofValue[column]))
      return std::nullopt;
  // The sum's elements depend on no other sum.
  ReduceOp sum = needs.sum;
  if (sum) {
    Needs inner(segments, shapes);
    for (int64_t column = 0; column < width; ++column)
      if (!inner.add(sum.getX(), column, ofSum[column]) || inner.sum)
        return std::nullopt;
    if (inner.begin && !needs.begin)
      needs.begin = inner.begin;
    if (inner.begin != needs.begin)
      return std::nullopt;
  }
  if (!needs.begin)
    return std::nullopt;
  auto fits = [&](ArrayRef<llvm::SmallSet<int64_t, 4>> columns, Pairing in, Pairing out) {
    for (int64_t pair = 0; pair < width / 2; ++pair)
      for (int which = 0; which < 2; ++which)
        for (int64_t column : columns[placeOf(out, pair, which, width)])
          if (column != placeOf(in, pair, 0, width) && column != placeOf(in, pair, 1, width))
            return false;
    return true;
  };
  constexpr Pairing neighbours = Pairing::Neighbours, halves = Pairing::Halves;
  constexpr std::pair<Pairing, Pairing> pairings[] = {{neighbours, neighbours}, {halves, halves}, {neighbours, halves}};
  for (auto [in, out] : pairings)
    if (fits(ofValue, in, out) && (!sum || fits(ofSum, in, in)))
      return SegmentPairing{in, out, sum, *needs.begin};
  return std::nullopt;
}

std::optional<SegmentEpilogue> SegmentEpilogue::match(KernelBuilder &kernel, Value product) {
  if (kernel.region.getNumResults() != 1)
    return std::nullopt;
  ShapeContext &shapes = kernel.shapes;
  Value yielded = kernel.region.getYielded()[0];
  ReshapeOp segments;
  for (auto reshape : kernel.region.getBlock()->getOps<ReshapeOp>()) {
    if (segments || reshape.getType() != yielded.getType())
      return std::nullopt;
    segments = reshape;
  }
  SmallVector<DimExpr> dims(shapes.dims(yielded));
  if (!segments || dims.size() != shapes.dims(product).size() + 1 || !dims.back().constant() || !hasWidth(*dims.back().constant()))
    return std::nullopt;
  SegmentEpilogue epilogue(kernel, product, segments);
  const int64_t axis = int64_t(dims.size()) - 2;
  auto concat = yielded.getDefiningOp<ConcatOp>();
  const bool hasParts = concat && int64_t(concat.getAxis()) == axis;
  SmallVector<Value> values = hasParts ? SmallVector<Value>(concat.getXs()) : SmallVector<Value>{yielded};
  for (Value value : values) {
    auto count = shapes.dims(value)[axis].constant();
    auto pairing = pairingOf(value, segments, shapes);
    const int64_t begin = epilogue.parts.empty() ? 0 : epilogue.parts.back().end;
    if (!count || !pairing || pairing->begin != begin)
      return std::nullopt;
    epilogue.parts.push_back({begin, begin + *count, value, *pairing});
  }
  return epilogue;
}

/// What elements of a row need of its sum: where one number for the row, of f32, is all that leads from the sum to them, that number, so that it
/// is computed once.
Value SegmentEpilogue::finished(ReduceOp sum) {
  ShapeContext &shapes = kernel.shapes;
  Value last = sum.getResult();
  while (last.hasOneUse()) {
    Operation *user = *last.user_begin();
    if (!isa<PointwiseInterface>(user) || user->getNumResults() != 1 || shapes.dims(user->getResult(0)) != shapes.dims(sum.getResult()) ||
        !getElementTypeOrSelf(user->getResult(0).getType()).isF32() || !llvm::all_of(user->getOperands(), [&](Value operand) {
          Operation *op = operand.getDefiningOp();
          return operand == last || (op && op->getNumOperands() == 0);
        }))
      break;
    last = user->getResult(0);
  }
  return last;
}

std::string SegmentEpilogue::function(ElementBuilder &e, const Part &part, StringRef name, ArrayRef<DimExpr> rowDims, SmallVectorImpl<Value> &operands) {
  Type index = e.b.getIndexType(), elementType = getElementTypeOrSelf(segments.getType()), stored = storageType(elementType),
       f32 = e.b.getF32Type();
  const bool folds = name == "fold";
  ReduceOp sum = part.pairing.sum;
  const Value ofRow = sum ? finished(sum) : Value();
  SmallVector<Type> types{index, index, index, index, stored, stored};
  SmallVector<StringRef> names{"outer", "inner", "segment", "pair", "a", "b"};
  if (!folds)
    types.push_back(f32), names.push_back("total");
  // Of the pair's elements the one that is asked for. Once the function is inlined, where pairs are numbers, there is nothing to choose.
  Value first, second;
  kernel.heldValues.insert(segments);
  kernel.heldElement = [&](Value value, ValueRange at) -> Value {
    if (value != segments)
      return {};
    Value isSecond = part.pairing.in == Pairing::Neighbours ? e.cmpi(CmpIPredicate::ne, e.remi(at.back(), e.index(2)), e.index(0))
                                                            : e.cmpi(CmpIPredicate::uge, at.back(), e.index(width / 2));
    return arith::SelectOp::create(e.b, kernel.loc, isSecond, second, first);
  };
  auto done = llvm::make_scope_exit([&] {
    kernel.heldElement = nullptr;
    kernel.heldValues.clear();
  });
  auto place = [&](Pairing pairing, Value pair, int which) {
    return pairing == Pairing::Neighbours ? e.addi(e.muli(pair, e.index(2)), e.index(which)) : e.addi(pair, e.index(which * width / 2));
  };
  const std::string unique = (name + std::to_string(&part - parts.begin())).str();
  Value built = FunctionOp::create(e.b, kernel.loc, unique, types, names, [&](ValueRange args) {
    Value result;
    e.scope([&] {
      first = args[4], second = args[5];
      Values at = e.delinearize(args[0], rowDims.drop_back());
      at.push_back(args[1]);
      at.push_back(e.subi(args[2], e.index(part.begin)));
      at.push_back({});
      auto element = [&](Value value, Pairing pairing, int which) {
        at.back() = place(pairing, args[3], which);
        return e.element(value, at);
      };
      if (folds) {
        Value a = element(sum.getX(), part.pairing.in, 0), b = element(sum.getX(), part.pairing.in, 1);
        result = arith::AddFOp::create(e.b, kernel.loc, a, b);
        return;
      }
      if (sum)
        e.setScalar(ofRow, args[6]);
      result = e.scalars(elementType).toStorage(element(part.value, part.pairing.out, name == "first" ? 0 : 1), elementType);
      if (sum)
        e.clearScalar(ofRow);
    });
    return result;
  });
  operands.push_back(built);
  return "$" + std::to_string(operands.size() - 1);
}

std::string SegmentEpilogue::build(ElementBuilder &e, ArrayRef<DimExpr> rowDims, StringRef map, SmallVectorImpl<Value> &operands) {
  Type index = e.b.getIndexType(), elementType = getElementTypeOrSelf(segments.getType());
  Value source = segments.getX();
  Value body = FunctionOp::create(e.b, kernel.loc, "body", {index, index, computeType(getElementTypeOrSelf(product.getType()))},
                                  {"row", "column", "sum"}, [&](ValueRange args) {
                                    Value stored;
                                    e.scope([&] {
                                      Values at = e.delinearize(args[0], rowDims);
                                      at.push_back(args[1]);
                                      e.setScalar(product, args[2]);
                                      stored = e.scalars(elementType).toStorage(e.element(source, at), elementType);
                                      e.clearScalar(product);
                                    });
                                    return stored;
                                  });
  operands.append({e.expr(rowDims.back()), body});
  std::string text = "flame::segmentStore<" + std::to_string(width) + ", " + storageName(elementType) + ", $I>(" + map.str() + ", $" +
                     std::to_string(operands.size() - 2) + ", $" + std::to_string(operands.size() - 1);
  auto nameOf = [](Pairing pairing) { return pairing == Pairing::Neighbours ? "flame::Pairing::Neighbours" : "flame::Pairing::Halves"; };
  for (const Part &part : parts) {
    // A part of the product itself, in its place.
    auto slice = part.value.getDefiningOp<SliceOp>();
    if (part.value == segments || (slice && slice.getX() == segments && kernel.shapes.dims(part.value).back().isConstant(width))) {
      text += ",\n      flame::SamePart<" + std::to_string(part.end * width) + ">()";
      continue;
    }
    std::string fold;
    if (ReduceOp sum = part.pairing.sum) {
      fold = function(e, part, "fold", rowDims, operands) + ", ";
      Type f32 = e.b.getF32Type();
      Value finish = FunctionOp::create(e.b, kernel.loc, "finish" + std::to_string(&part - parts.begin()), {f32}, {"sum"}, [&](ValueRange args) {
        Value result;
        e.scope([&] {
          Value total = args[0];
          if (sum.getKind() == "mean")
            total = e.scalars(f32).div(total, e.fromIndex(e.index(width), f32));
          e.setScalar(sum.getResult(), total);
          result = e.element(finished(sum), Values(kernel.shapes.rank(sum.getResult()), e.index(0)));
          e.clearScalar(sum.getResult());
        });
        return result;
      });
      operands.push_back(finish);
      fold += "$" + std::to_string(operands.size() - 1) + ", ";
    }
    std::string first = function(e, part, "first", rowDims, operands), second = function(e, part, "second", rowDims, operands);
    text += ",\n      flame::segmentPart<" + std::to_string(part.end * width) + ", " + nameOf(part.pairing.in) + ", " +
            nameOf(part.pairing.out) + ">(" + fold + first + ", " + second + ")";
  }
  return text + ")";
}
