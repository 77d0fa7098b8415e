//===- SegmentEpilogue.cpp - see SegmentEpilogue.h ----------------------------------------------------------------===//
#include "SegmentEpilogue.h"
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/MapVector.h"
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

/// Functions that do the same for several parts with other operands, such as the weights of norms: they choose by their argument `part`.
class SameFunctions {
public:
  explicit SameFunctions(SmallVector<Value> functions) : functions(std::move(functions)), choices(this->functions.size()) {
    eraseUnused(this->functions);
  }

  /// Adds a part with `others`, which are no more then, unless they do something else.
  bool join(ArrayRef<Value> others) {
    eraseUnused(others);
    SmallVector<llvm::MapVector<Value, Value>> found(functions.size());
    for (auto [function, other, operands] : llvm::zip_equal(functions, others, found))
      if (!isSame(region(function), region(other), operands)) {
        erase(others);
        return false;
      }
    for (auto [operands, chosen] : llvm::zip_equal(found, choices))
      for (auto [own, other] : operands) {
        SmallVector<Value> &of = chosen[own];
        of.resize(parts, own); // where nothing was said of it, it was the same
        of.push_back(other);
      }
    ++parts;
    erase(others);
    return true;
  }

  /// The functions, which choose now.
  ArrayRef<Value> finish(OpBuilder &b) {
    OpBuilder::InsertionGuard guard(b);
    for (auto [function, chosen] : llvm::zip_equal(functions, choices)) {
      Block &body = region(function).front();
      b.setInsertionPointToStart(&body);
      for (auto &[own, others] : chosen) {
        others.resize(parts, own);
        if (llvm::all_equal(others))
          continue;
        Value choice = own;
        llvm::SmallPtrSet<Operation *, 4> choosing;
        for (auto [part, other] : llvm::enumerate(others)) {
          if (other == own)
            continue;
          Value number = arith::ConstantIndexOp::create(b, function.getLoc(), int64_t(part));
          Value is = arith::CmpIOp::create(b, function.getLoc(), CmpIPredicate::eq, body.getArgument(partArgument), number);
          choice = arith::SelectOp::create(b, function.getLoc(), is, other, choice);
          choosing.insert(choice.getDefiningOp());
        }
        own.replaceUsesWithIf(choice, [&](OpOperand &use) {
          return region(function).isAncestor(use.getOwner()->getParentRegion()) && !choosing.contains(use.getOwner());
        });
      }
    }
    return functions;
  }

private:
  static constexpr unsigned partArgument = 2;
  SmallVector<Value> functions;
  SmallVector<llvm::MapVector<Value, SmallVector<Value>>> choices; // of each function: a buffer that the first part reads, what each part does
  unsigned parts = 1;

  static Region &region(Value function) { return function.getDefiningOp()->getRegion(0); }

  static void erase(ArrayRef<Value> functions) {
    for (Value function : functions)
      function.getDefiningOp()->erase();
  }

  /// Such as the segment of the product, of which values are at hand.
  static void eraseUnused(ArrayRef<Value> functions) {
    for (Value function : functions)
      region(function).walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
        if (isOpTriviallyDead(op))
          op->erase();
      });
  }

  /// Whether they differ in no more than buffers, which `operands` tells.
  static bool isSame(Region &region, Region &other, llvm::MapVector<Value, Value> &operands) {
    llvm::DenseMap<Value, Value> inside;
    auto isEqual = [&](Value a, Value b) {
      if (auto found = inside.find(a); found != inside.end())
        return found->second == b;
      Operation *definition = a.getDefiningOp(), *ofOther = b.getDefiningOp();
      if (definition && ofOther && definition->hasTrait<OpTrait::ConstantLike>())
        return OperationEquivalence::isEquivalentTo(definition, ofOther, OperationEquivalence::IgnoreLocations);
      if (a == b && !isa<MemRefType>(a.getType()))
        return true;
      return isa<MemRefType>(a.getType()) && a.getType() == b.getType() && operands.try_emplace(a, b).first->second == b;
    };
    return OperationEquivalence::isRegionEquivalentTo(
        &region, &other, [&](Value a, Value b) { return success(isEqual(a, b)); }, [&](Value a, Value b) { inside[a] = b; },
        OperationEquivalence::IgnoreLocations);
  }
};

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

Value SegmentEpilogue::function(ElementBuilder &e, const Part &part, StringRef name, ArrayRef<DimExpr> rowDims) {
  Type index = e.b.getIndexType(), elementType = getElementTypeOrSelf(segments.getType()), stored = storageType(elementType),
       f32 = e.b.getF32Type();
  const bool folds = name == "fold";
  ReduceOp sum = part.pairing.sum;
  const Value ofRow = sum ? finished(sum) : Value();
  SmallVector<Type> types{index, index, index, index, index, stored, stored};
  SmallVector<StringRef> names{"outer", "inner", "part", "segment", "pair", "a", "b"};
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
  return FunctionOp::create(e.b, kernel.loc, unique, types, names, [&](ValueRange args) {
    Value result;
    e.scope([&] {
      first = args[5], second = args[6];
      Values at = e.delinearize(args[0], rowDims.drop_back());
      at.push_back(args[1]);
      at.push_back(args[3]);
      at.push_back({});
      auto element = [&](Value value, Pairing pairing, int which) {
        at.back() = place(pairing, args[4], which);
        return e.element(value, at);
      };
      if (folds) {
        Value a = element(sum.getX(), part.pairing.in, 0), b = element(sum.getX(), part.pairing.in, 1);
        result = arith::AddFOp::create(e.b, kernel.loc, a, b);
        return;
      }
      if (sum)
        e.setScalar(ofRow, args[7]);
      result = e.scalars(elementType).toStorage(element(part.value, part.pairing.out, name == "first" ? 0 : 1), elementType);
      if (sum)
        e.clearScalar(ofRow);
    });
    return result;
  });
}

/// What the text calls fold, finish, first and second, or only the last two.
SmallVector<Value> SegmentEpilogue::functions(ElementBuilder &e, const Part &part, ArrayRef<DimExpr> rowDims) {
  SmallVector<Value> built;
  if (ReduceOp sum = part.pairing.sum) {
    built.push_back(function(e, part, "fold", rowDims));
    Type f32 = e.b.getF32Type();
    built.push_back(FunctionOp::create(e.b, kernel.loc, "finish" + std::to_string(&part - parts.begin()), {f32}, {"sum"}, [&](ValueRange args) {
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
    }));
  }
  built.push_back(function(e, part, "first", rowDims));
  built.push_back(function(e, part, "second", rowDims));
  return built;
}

/// Whether it is segments of the product itself, in their places.
bool SegmentEpilogue::isSame(const Part &part) {
  auto slice = part.value.getDefiningOp<SliceOp>();
  return part.value == segments || (slice && slice.getX() == segments && kernel.shapes.dims(part.value).back().isConstant(width));
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
  for (size_t i = 0; i < parts.size();) {
    const Part &part = parts[i];
    if (isSame(part)) {
      text += ",\n      flame::SamePart<" + std::to_string(part.end * width) + ">()";
      ++i;
      continue;
    }
    text += std::string(",\n      flame::segmentPart<") + nameOf(part.pairing.in) + ", " + nameOf(part.pairing.out);
    // With those behind it that do the same with other operands.
    SameFunctions built(functions(e, part, rowDims));
    do
      text += ", " + std::to_string(parts[i++].end * width);
    while (i < parts.size() && !isSame(parts[i]) && parts[i].pairing.in == part.pairing.in && parts[i].pairing.out == part.pairing.out &&
           bool(parts[i].pairing.sum) == bool(part.pairing.sum) && built.join(functions(e, parts[i], rowDims)));
    text += ">(";
    for (Value function : built.finish(e.b)) {
      text += (text.back() == '(' ? "$" : ", $") + std::to_string(operands.size());
      operands.push_back(function);
    }
    text += ")";
  }
  return text + ")";
}
