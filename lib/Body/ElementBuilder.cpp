//===- ElementBuilder.cpp - pulling elements through ops --------------------------------------------------------------===//
#include "flame/Body/ElementBuilder.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace flame;
using arith::CmpIPredicate;

static std::optional<int64_t> constantOf(Value v) { return getConstantIntValue(getAsOpFoldResult(v)); }

Value ElementBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

Value ElementBuilder::addi(Value x, Value y) {
  if (constantOf(x) == 0)
    return y;
  if (constantOf(y) == 0)
    return x;
  return b.createOrFold<arith::AddIOp>(loc, x, y);
}
Value ElementBuilder::subi(Value x, Value y) { return b.createOrFold<arith::SubIOp>(loc, x, y); }
Value ElementBuilder::muli(Value x, Value y) {
  if (constantOf(x) == 1)
    return y;
  return b.createOrFold<arith::MulIOp>(loc, x, y);
}
Value ElementBuilder::divi(Value x, Value y) { return b.createOrFold<arith::DivUIOp>(loc, x, y); }
Value ElementBuilder::remi(Value x, Value y) {
  if (constantOf(y) == 1)
    return index(0);
  return b.createOrFold<arith::RemUIOp>(loc, x, y);
}
Value ElementBuilder::floorDivi(Value x, Value y) {
  // floor(x / y) from the truncated quotient: one less if the remainder is non-zero and the signs differ.
  Value quotient = arith::DivSIOp::create(b, loc, x, y), remainder = arith::RemSIOp::create(b, loc, x, y);
  Value zero = index(0);
  Value inexact = cmpi(CmpIPredicate::ne, remainder, zero);
  Value differ = cmpi(CmpIPredicate::slt, b.createOrFold<arith::XOrIOp>(loc, x, y), zero);
  Value adjust = arith::AndIOp::create(b, loc, inexact, differ);
  return select(adjust, subi(quotient, index(1)), quotient);
}
Value ElementBuilder::mini(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(loc, x, y); }
Value ElementBuilder::maxi(Value x, Value y) { return b.createOrFold<arith::MaxSIOp>(loc, x, y); }
Value ElementBuilder::clampi(Value x, Value low, Value high) { return mini(maxi(x, low), high); }
Value ElementBuilder::cmpi(CmpIPredicate predicate, Value x, Value y) {
  return b.createOrFold<arith::CmpIOp>(loc, predicate, x, y);
}
Value ElementBuilder::select(Value condition, Value x, Value y) {
  return b.createOrFold<arith::SelectOp>(loc, condition, x, y);
}
Value ElementBuilder::inRange(Value x, Value low, Value high) {
  return arith::AndIOp::create(b, loc, cmpi(CmpIPredicate::sge, x, low), cmpi(CmpIPredicate::slt, x, high));
}

Value ElementBuilder::fromIndex(Value position, Type elementType) {
  Type type = computeType(elementType);
  if (isa<FloatType>(type)) {
    Value wide = arith::IndexCastOp::create(b, loc, b.getI64Type(), position);
    return arith::SIToFPOp::create(b, loc, type, wide);
  }
  if (type.isInteger(1))
    return cmpi(CmpIPredicate::ne, position, index(0));
  return arith::IndexCastOp::create(b, loc, type, position);
}

Value ElementBuilder::toIndex(Value scalar, Type elementType) {
  Type type = scalar.getType();
  if (isa<FloatType>(type))
    return arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                      arith::FPToSIOp::create(b, loc, b.getI64Type(), scalar));
  if (elementType.isUnsignedInteger() || type.isInteger(1))
    return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), scalar);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), scalar);
}

void BodyEnvironment::forgetSplits(Region &region) {
  SmallVector<std::pair<Value, Value>> inside;
  for (auto &[parts, split] : splits)
    for (Value value : {parts.first, parts.second, split.whole})
      if (region.isAncestor(value.getParentRegion())) {
        inside.push_back(parts);
        break;
      }
  for (auto &parts : inside)
    splits.erase(parts);
}

Value BodyEnvironment::linearize(OpBuilder &b, Location loc, ValueRange at, ArrayRef<DimExpr> dims) {
  // Dims of one element contribute nothing; neighbours that were split from one number are joined again.
  SmallVector<std::pair<Value, DimExpr>> parts;
  for (auto [i, dim] : llvm::enumerate(dims)) {
    if (dim.isConstant(1))
      continue;
    parts.push_back({at[i], dim});
    while (parts.size() >= 2) {
      auto [low, size] = parts.back();
      auto &[high, highSize] = parts[parts.size() - 2];
      auto it = splits.find({high, low});
      if (it == splits.end() || it->second.size != size)
        break;
      DimExpr both = highSize * size;
      Value whole = it->second.whole;
      parts.pop_back();
      parts.back() = {whole, both};
    }
  }
  Value position;
  for (auto &[part, size] : parts) {
    if (position)
      position = b.createOrFold<arith::AddIOp>(loc, b.createOrFold<arith::MulIOp>(loc, position, expr(size)), part);
    else
      position = part;
  }
  return position ? position : arith::ConstantIndexOp::create(b, loc, 0);
}

Value ElementBuilder::linearize(ValueRange at, ArrayRef<DimExpr> dims) {
  return environment.linearize(b, loc, at, dims);
}

ElementBuilder::Values ElementBuilder::delinearize(Value position, ArrayRef<DimExpr> dims) {
  Values at(dims.size());
  // The first dim of more than one element takes what is left.
  size_t first = 0;
  while (first < dims.size() && dims[first].isConstant(1))
    ++first;
  for (size_t i = dims.size(); i-- > 0;) {
    if (i == first) {
      at[i] = position;
    } else if (dims[i].isConstant(1)) {
      at[i] = index(0);
    } else {
      Value size = expr(dims[i]), whole = position;
      at[i] = remi(whole, size);
      position = divi(whole, size);
      environment.noteSplit(position, at[i], dims[i], whole);
    }
  }
  return at;
}

void ElementBuilder::scope(function_ref<void()> build) {
  scopes.emplace_back();
  build();
  scopes.pop_back();
}

ElementBuilder::Values ElementBuilder::loop(Value low, Value high, ValueRange init,
                                            function_ref<Values(Value, ValueRange)> body) {
  return loop(low, high, index(1), init, body);
}

ElementBuilder::Values ElementBuilder::loop(Value low, Value high, Value step, ValueRange init,
                                            function_ref<Values(Value, ValueRange)> body) {
  // A single iteration needs no loop.
  auto lo = constantOf(low), hi = constantOf(high), by = constantOf(step);
  if (lo && hi && by && *lo < *hi && *lo + *by >= *hi)
    return body(low, init);
  auto loop = scf::ForOp::create(b, loc, low, high, step, init);
  OpBuilder::InsertionGuard guard(b);
  // A loop without results already has its terminator.
  if (init.empty())
    b.setInsertionPoint(loop.getBody()->getTerminator());
  else
    b.setInsertionPointToStart(loop.getBody());
  scope([&] {
    Values next = body(loop.getInductionVar(), loop.getRegionIterArgs());
    if (!init.empty())
      scf::YieldOp::create(b, loc, next);
  });
  return Values(loop.getResults());
}

ElementBuilder::Values ElementBuilder::loopNest(ArrayRef<Value> extents, ValueRange init,
                                                function_ref<Values(ValueRange, ValueRange)> body) {
  Values at;
  std::function<Values(unsigned, ValueRange)> nest = [&](unsigned depth, ValueRange carried) -> Values {
    if (depth == extents.size())
      return body(at, carried);
    return loop(index(0), extents[depth], carried, [&](Value i, ValueRange inner) {
      at.push_back(i);
      Values result = nest(depth + 1, inner);
      at.pop_back();
      return result;
    });
  };
  return nest(0, init);
}

Value ElementBuilder::fold(ArrayRef<DimExpr> extents, Value init, function_ref<Value(Value, Value)> combine,
                           function_ref<Value(ValueRange)> element) {
  Values sizes;
  for (DimExpr extent : extents)
    sizes.push_back(expr(extent));
  return loopNest(sizes, init, [&](ValueRange at, ValueRange carried) {
    return Values{combine(carried[0], element(at))};
  })[0];
}

Value ElementBuilder::ifElse(Value condition, function_ref<Value()> then, function_ref<Value()> otherwise) {
  if (auto known = constantOf(condition))
    return *known ? then() : otherwise();
  // The result type is known once the first branch is built, so the op starts with a type that is patched afterwards.
  OpBuilder::InsertionGuard guard(b);
  OperationState state(loc, scf::IfOp::getOperationName());
  state.addOperands(condition);
  state.addTypes(b.getIndexType());
  state.addRegion();
  state.addRegion();
  Operation *op = b.create(state);
  auto build = [&](Region &region, function_ref<Value()> branch) {
    b.createBlock(&region);
    Value value;
    scope([&] { value = branch(); });
    scf::YieldOp::create(b, loc, value);
    return value.getType();
  };
  op->getResult(0).setType(build(op->getRegion(0), then));
  build(op->getRegion(1), otherwise);
  return op->getResult(0);
}

void ElementBuilder::ifThen(Value condition, function_ref<void()> then) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  scope(then);
}

Value ElementBuilder::element(Value value, ValueRange at) {
  if (auto it = fixed.find(value); it != fixed.end())
    return it->second;
  Key key{value, SmallVector<Value, 6>(at)};
  for (auto &scope : llvm::reverse(scopes))
    for (Memo &memo : scope)
      if (memo.key == key)
        return memo.scalar;
  Value scalar = compute(value, at);
  scopes.back().push_back({std::move(key), scalar});
  return scalar;
}

Value ElementBuilder::compute(Value value, ValueRange at) {
  Type elementType = cast<TensorType>(value.getType()).getElementType();
  if (environment.isMaterialized(value))
    return scalars(elementType).fromStorage(environment.load(b, loc, value, at), elementType);
  Operation *op = value.getDefiningOp();
  assert(op && "a region argument must be materialised");
  if (auto pointwise = dyn_cast<PointwiseInterface>(op)) {
    Values operands;
    SmallVector<DimExpr> dims(context.dims(value));
    for (Value operand : op->getOperands())
      operands.push_back(broadcastElement(operand, dims, at));
    Type first = op->getNumOperands() ? getElementTypeOrSelf(op->getOperand(0).getType()) : elementType;
    ScalarBuilder builder(b, loc, first, elementType);
    return pointwise.buildScalar(builder, operands);
  }
  auto pull = cast<ElementInterface>(op);
  return pull.buildElement(*this, cast<OpResult>(value).getResultNumber(), at);
}

Value ElementBuilder::elementIndex(Value value, ValueRange at) {
  return toIndex(element(value, at), cast<TensorType>(value.getType()).getElementType());
}

Value ElementBuilder::broadcastElement(Value value, ArrayRef<DimExpr> resultDims, ValueRange at) {
  SmallVector<DimExpr> dims(context.dims(value));
  Values inner;
  size_t shift = resultDims.size() - dims.size();
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].isConstant(1))
      inner.push_back(index(0));
    else if (dims[d] == resultDims[d + shift] || dims[d].constant())
      inner.push_back(at[d + shift]);
    else // Unknown until run time whether this dim is broadcast.
      inner.push_back(select(cmpi(CmpIPredicate::eq, expr(dims[d]), index(1)), index(0), at[d + shift]));
  }
  return element(value, inner);
}

void LoopsBuilder::store(Value result, ValueRange at, Value scalar) {
  Type elementType = cast<TensorType>(result.getType()).getElementType();
  environment.store(b, loc, result, at, scalars(elementType).toStorage(scalar, elementType));
}

Value LoopsBuilder::loadResult(Value result, ValueRange at) {
  Type elementType = cast<TensorType>(result.getType()).getElementType();
  return scalars(elementType).fromStorage(environment.load(b, loc, result, at), elementType);
}

void LoopsBuilder::unlessInPlace(Value x, Value result, function_ref<void()> build) {
  if (!environment.isMaterialized(x))
    return build();
  Value elsewhere = arith::XOrIOp::create(b, loc, environment.isInPlace(b, loc, x, result),
                                          arith::ConstantIntOp::create(b, loc, 1, 1));
  ifThen(elsewhere, build);
}
