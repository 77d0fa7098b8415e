//===- Attention.cpp - see Attention.h ------------------------------------------------------------------------------------===//
#include "flame/Analysis/Attention.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Shape.h"
#include "llvm/ADT/SetVector.h"
#include <limits>

using namespace mlir;
using namespace flame;

namespace {

constexpr int64_t maxHead = 256, wideUnit = 128;
constexpr unsigned maxOps = 40;

bool isOne(ShapeContext &shapes, Value value) {
  return llvm::all_of(shapes.dims(value), [](DimExpr dim) { return dim.isConstant(1); });
}
Value skipCasts(Value value) {
  while (auto cast = value.getDefiningOp<CastOp>()) {
    if (!isa<FloatType>(getElementTypeOrSelf(cast.getX().getType())))
      break;
    value = cast.getX();
  }
  return value;
}

/// What softmax is taken of, and its weights' ops.
class Matcher {
public:
  Matcher(ShapeContext &shapes, function_ref<bool(Operation *)> isIgnored, int64_t largestHead)
      : shapes(shapes), isIgnored(isIgnored), largestHead(largestHead) {}

  std::optional<Attention> match(MatMulOp context) {
    found.context = context;
    if (context.getPackedColumns() || context.getTransposeX() || !add(context))
      return std::nullopt;
    Type element = getElementTypeOrSelf(context.getY().getType());
    if (!isHalf(element) && !isByte(element))
      return std::nullopt;
    Value weights = unscaled(context.getX(), element);
    if (!weights || !isWide(weights.getType()) || !matchSoftmax(weights))
      return std::nullopt;
    full.assign(shapes.dims(found.score).begin(), shapes.dims(found.score).end());
    if (full.size() < 2 || full != shapes.dims(context.getX()))
      return std::nullopt;
    if (!dependsOnProduct(found.score) || !found.scores)
      return std::nullopt;
    if (!areOperandsSupported(element))
      return std::nullopt;
    findPositions();
    findLogSum();
    if (!isPrivate())
      return std::nullopt;
    found.ops.assign(ops.begin(), ops.end());
    return found;
  }

private:
  ShapeContext &shapes;
  function_ref<bool(Operation *)> isIgnored;
  int64_t largestHead;
  Attention found;
  SmallVector<DimExpr> full;
  llvm::SetVector<Operation *> ops;
  Value peak, sum; // of the softmax: its largest score, and the sum of exponentials relative to it

  /// Floats that are computed in f32.
  static bool isWide(Type type) {
    type = getElementTypeOrSelf(type);
    return type.isF32() || type.isF16() || type.isBF16();
  }
  static bool isHalf(Type type) { return type.isF16() || type.isBF16(); }
  /// Floats of 8 bits that matrix instructions multiply.
  static bool isByte(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); }

  /// The weights that `value` has as elements of the type, perhaps divided by a number. Null if they need not be finite then, or have 8 bits for
  /// another reason than rounding.
  Value unscaled(Value value, Type element) {
    auto rounded = value.getDefiningOp<CastOp>();
    if (!rounded || !getElementTypeOrSelf(rounded.getX().getType()).isF32())
      return isByte(element) ? Value() : value;
    auto scaling = matchScaling(rounded.getX().getDefiningOp(), shapes);
    auto number = scaling ? splatNumber(scaling->factor) : std::nullopt;
    if (!number && !isByte(element))
      return value;
    if (!add(rounded) || (number && !add(rounded.getX().getDefiningOp())))
      return {};
    found.weightScale = !number ? 1 : scaling->divides ? *number : 1 / *number;
    // Of a weight of 1; what is greater would be the largest finite number, or infinite.
    const double most = isa<Float8E4M3FNType>(element) ? 448 : isa<Float8E5M2Type>(element) ? 57344 : 65504;
    return found.weightScale > 0 && 1 / found.weightScale <= most ? (number ? scaling->x : rounded.getX()) : Value();
  }

  bool add(Operation *op) {
    if (!op || ops.size() >= maxOps || op->getBlock() != found.context->getBlock())
      return false;
    ops.insert(op);
    return true;
  }

  bool addCasts(Value value) {
    while (auto cast = value.getDefiningOp<CastOp>()) {
      if (!isWide(cast.getX().getType()) || !add(cast))
        return false;
      value = cast.getX();
    }
    return true;
  }

  /// A sum or maximum over the last dim that keeps it; what it is taken of.
  Value reduced(Value value, StringRef kind) {
    auto reduce = value.getDefiningOp<ReduceOp>();
    if (!reduce || reduce.getKind() != kind || !reduce.getKeepdims())
      return {};
    int64_t last = shapes.rank(reduce.getX()) - 1;
    return reduce.getAxes() == ArrayRef<int64_t>(last) ? reduce.getX() : Value();
  }

  /// exp(s - max s) / sum, spelled with a reciprocal or a division.
  bool matchSoftmax(Value weights) {
    if (!addCasts(weights))
      return false;
    if (auto where = skipCasts(weights).getDefiningOp<WhereOp>()) {
      auto isNaN = where.getCondition().getDefiningOp<IsNaNOp>();
      weights = where.getY();
      if (!isNaN || splatNumber(where.getX()) != 0.0 || skipCasts(isNaN.getX()) != skipCasts(weights) || !add(where) || !add(isNaN) ||
          !addCasts(isNaN.getX()) || !addCasts(weights))
        return false;
      found.zeroesNaN = true;
    }
    Operation *normalized = skipCasts(weights).getDefiningOp();
    Value exponential;
    if (auto mul = dyn_cast_or_null<MulOp>(normalized)) {
      for (auto [e, r] : {std::pair(mul.getX(), mul.getY()), std::pair(mul.getY(), mul.getX())})
        if (auto reciprocal = r.getDefiningOp<ReciprocalOp>(); reciprocal && e.getDefiningOp<ExpOp>()) {
          exponential = e;
          sum = reciprocal.getX();
          if (!add(mul) || !add(reciprocal))
            return false;
        }
    } else if (auto div = dyn_cast_or_null<DivOp>(normalized)) {
      exponential = div.getX();
      sum = div.getY();
      if (!add(div))
        return false;
    }
    if (!exponential || reduced(sum, "sum") != exponential || !add(sum.getDefiningOp()))
      return false;
    auto exp = exponential.getDefiningOp<ExpOp>();
    auto sub = exp ? exp.getX().getDefiningOp<SubOp>() : SubOp();
    if (!sub || !isWide(sub.getX().getType()) || reduced(sub.getY(), "max") != sub.getX())
      return false;
    found.score = sub.getX();
    peak = sub.getY();
    return add(exp) && add(sub) && add(sub.getY().getDefiningOp());
  }

  /// Adds the pointwise ops that lead from one product to `value`. False if it is no function of it; sets `ambiguous`
  /// if there are two.
  bool dependsOnProduct(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || shapes.dims(value) != ArrayRef<DimExpr>(full))
      return false;
    if (ops.contains(op) && op != found.scores)
      return true;
    if (auto product = dyn_cast<MatMulOp>(op)) {
      if (found.scores && found.scores != product)
        return false;
      found.scores = product;
      return add(op);
    }
    if (!isa<PointwiseInterface>(op) || op->getNumResults() != 1)
      return false;
    bool depends = false;
    for (Value operand : op->getOperands())
      depends |= dependsOnProduct(operand);
    return depends && add(op);
  }

  bool areOperandsSupported(Type element) {
    MatMulOp scores = found.scores, context = found.context;
    if (scores.getPackedColumns() || !isWide(scores.getResult().getType()) || !isWide(context.getResult().getType()))
      return false;
    Type scored = getElementTypeOrSelf(scores.getX().getType());
    if (getElementTypeOrSelf(scores.getY().getType()) != scored || !(scored == element || isByte(scored) || (isByte(element) && isHalf(scored))))
      return false;
    for (Value operand : {scores.getX(), scores.getY(), context.getY()})
      if (shapes.rank(operand) < 2)
        return false;
    ArrayRef<DimExpr> q = shapes.dims(scores.getX()), result = shapes.dims(context.getResult());
    auto fits = [&](DimExpr dim) {
      int64_t size = dim.constant().value_or(0);
      return size >= 1 && (size <= maxHead || (size <= largestHead && size % wideUnit == 0));
    };
    return fits(q[q.size() - (scores.getTransposeX() ? 2 : 1)]) && fits(result.back()) &&
           result.drop_back(2) == ArrayRef<DimExpr>(full).drop_back(2);
  }

  /// From log(sum exp(score - p)) + p to what it adds to ops; p is the peak, or 0 where that is infinite (`where`).
  bool isLogSum(AddOp total, SmallVectorImpl<Operation *> &added) {
    for (auto [logarithm, base] : {std::pair(total.getX(), total.getY()), std::pair(total.getY(), total.getX())}) {
      auto log = logarithm.getDefiningOp<LogOp>();
      if (!log)
        continue;
      if (base == peak && log.getX() == sum) {
        added.assign({log, total});
        return true;
      }
      auto where = base.getDefiningOp<WhereOp>();
      auto isFinite = where ? where.getCondition().getDefiningOp<LessOp>() : LessOp();
      auto magnitude = isFinite ? isFinite.getX().getDefiningOp<AbsOp>() : AbsOp();
      if (!magnitude || magnitude.getX() != peak || where.getX() != peak || splatNumber(where.getY()) != 0.0 ||
          splatNumber(isFinite.getY()) != std::numeric_limits<double>::infinity())
        continue;
      Value terms = reduced(log.getX(), "sum");
      auto exp = terms ? terms.getDefiningOp<ExpOp>() : ExpOp();
      auto sub = exp ? exp.getX().getDefiningOp<SubOp>() : SubOp();
      if (!sub || sub.getX() != found.score || sub.getY() != base)
        continue;
      added.assign({magnitude, isFinite, where, sub, exp, log.getX().getDefiningOp(), log, total});
      return true;
    }
    return false;
  }

  /// A sum of exponentials in f32 whose logarithm somebody reads.
  void findLogSum() {
    if (!getElementTypeOrSelf(peak.getType()).isF32())
      return;
    SmallVector<Operation *> users(peak.getUsers());
    for (size_t i = 0; i < users.size(); ++i) {
      if (isa<WhereOp>(users[i]) && users[i]->getBlock() == found.context->getBlock())
        llvm::append_range(users, users[i]->getUsers());
      auto total = dyn_cast<AddOp>(users[i]);
      SmallVector<Operation *> added;
      if (!total || !isLogSum(total, added))
        continue;
      if (!llvm::all_of(added, [&](Operation *op) { return add(op); }))
        return;
      found.logSum = total.getResult();
      found.isNaNOfNothing = added.size() == 2;
      return;
    }
  }

  /// Nobody else reads a value on the way.
  bool isPrivate() {
    for (Operation *op : ops)
      if (op != found.context && (!found.logSum || op != found.logSum.getDefiningOp()))
        for (Operation *user : op->getUsers())
          if (!ops.contains(user) && !isIgnored(user))
            return false;
    return true;
  }

  void findPositions() {
    llvm::SetVector<Operation *> positions;
    for (Operation *op : ops)
      if (auto where = dyn_cast<WhereOp>(op); where && !where.getCondition().getDefiningOp<IsNaNOp>())
        addPositions(where.getCondition(), positions, /*compare=*/true);
    found.positions.assign(positions.begin(), positions.end());
  }

  /// Adds the ops of a value that is computed of positions alone; `compare`: one side of a comparison may be anything.
  bool addPositions(Value value, llvm::SetVector<Operation *> &positions, bool compare) {
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != found.context->getBlock())
      return false;
    if (positions.contains(op))
      return true;
    llvm::SetVector<Operation *> before = positions;
    bool ok = false;
    if (isa<IotaOp>(op)) {
      ok = true;
    } else if (auto reshape = dyn_cast<ReshapeOp>(op)) {
      ok = addPositions(reshape.getX(), positions, false);
    } else if (isa<AddOp, SubOp, CastOp>(op)) {
      bool any = false;
      ok = true;
      for (Value operand : op->getOperands())
        if (addPositions(operand, positions, false))
          any = true;
        else
          ok &= isOne(shapes, operand);
      ok &= any;
    } else if (isa<LessOp, LessEqualOp, GreaterOp, GreaterEqualOp>(op) && compare) {
      bool left = addPositions(op->getOperand(0), positions, false);
      ok = addPositions(op->getOperand(1), positions, false) || left;
    } else if (isa<AndOp>(op) && compare) {
      bool left = addPositions(op->getOperand(0), positions, true);
      ok = addPositions(op->getOperand(1), positions, true) || left;
    }
    if (ok)
      positions.insert(op);
    else
      positions = before;
    return ok;
  }
};

/// The offset of a value that counts along dim `fromLast` (0: the last) and is the same along all others.
std::optional<DimExpr> countsAlong(Value value, unsigned fromLast, ShapeContext &shapes) {
  ArrayRef<DimExpr> dims = shapes.dims(value);
  if (dims.size() <= fromLast)
    return std::nullopt;
  for (size_t d = 0; d < dims.size(); ++d)
    if (d + 1 + fromLast != dims.size() && !dims[d].isConstant(1))
      return std::nullopt;
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<IotaOp>(op))
    return shapes.constant(0);
  auto cast = dyn_cast_or_null<CastOp>(op);
  if (cast && isa<IntegerType>(getElementTypeOrSelf(cast.getX().getType())))
    return countsAlong(cast.getX(), fromLast, shapes);
  if (auto reshape = dyn_cast_or_null<ReshapeOp>(op)) {
    ArrayRef<DimExpr> from = shapes.dims(reshape.getX());
    for (unsigned d = 0; d < from.size(); ++d)
      if (from[from.size() - 1 - d] == dims[dims.size() - 1 - fromLast])
        if (auto offset = countsAlong(reshape.getX(), d, shapes))
          return offset;
    return std::nullopt;
  }
  if (!isa_and_nonnull<AddOp, SubOp>(op))
    return std::nullopt;
  auto number = [&](Value v) -> std::optional<DimExpr> {
    auto values = isOne(shapes, v) ? shapes.values(v) : std::nullopt;
    return values && values->size() == 1 ? std::optional(values->front()) : std::nullopt;
  };
  if (auto offset = countsAlong(op->getOperand(0), fromLast, shapes))
    if (auto by = number(op->getOperand(1)))
      return isa<AddOp>(op) ? *offset + *by : *offset - *by;
  if (isa<AddOp>(op))
    if (auto offset = countsAlong(op->getOperand(1), fromLast, shapes))
      if (auto by = number(op->getOperand(0)))
        return *offset + *by;
  return std::nullopt;
}

} // namespace

std::optional<Attention> flame::matchAttention(MatMulOp context, ShapeContext &shapes,
                                               function_ref<bool(Operation *)> isIgnored, int64_t largestHead) {
  return Matcher(shapes, isIgnored, largestHead).match(context);
}

std::optional<KeyBound> flame::matchKeyBound(Value mask, ShapeContext &shapes) {
  Operation *op = mask.getDefiningOp();
  if (!isa_and_nonnull<LessOp, LessEqualOp, GreaterOp, GreaterEqualOp>(op))
    return std::nullopt;
  bool swapped = isa<GreaterOp, GreaterEqualOp>(op);
  Value key = op->getOperand(swapped ? 1 : 0), bound = op->getOperand(swapped ? 0 : 1);
  if (!isa<IntegerType>(getElementTypeOrSelf(key.getType())))
    return std::nullopt;
  auto offset = countsAlong(key, 0, shapes);
  ArrayRef<DimExpr> dims = shapes.dims(bound);
  if (!offset || (!dims.empty() && !dims.back().isConstant(1)))
    return std::nullopt;
  if (dims.size() >= 2 && !dims[dims.size() - 2].isConstant(1) && !countsAlong(bound, 1, shapes))
    return std::nullopt;
  return KeyBound{bound, *offset, isa<LessEqualOp, GreaterEqualOp>(op)};
}

std::optional<Scaling> flame::matchScaling(Operation *op, ShapeContext &shapes) {
  if (!isa_and_nonnull<MulOp, DivOp>(op))
    return std::nullopt;
  Value x = op->getOperand(0), y = op->getOperand(1), result = op->getResult(0);
  if (isOne(shapes, y) && shapes.dims(x) == shapes.dims(result))
    return Scaling{x, y, isa<DivOp>(op)};
  if (isa<MulOp>(op) && isOne(shapes, x) && shapes.dims(y) == shapes.dims(result))
    return Scaling{y, x, false};
  return std::nullopt;
}

std::optional<double> flame::splatNumber(Value value) {
  Operation *op = value.getDefiningOp();
  auto elements = isa_and_nonnull<ConstantOp>(op) ? op->getAttrOfType<DenseElementsAttr>("value") : DenseElementsAttr();
  if (!elements || !elements.isSplat() || !isa<FloatType>(elements.getElementType()))
    return std::nullopt;
  APFloat number = elements.getSplatValue<APFloat>();
  bool lost;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
  return number.convertToDouble();
}
