//===- GraphPointwise.cpp - elementwise building blocks ---------------------------------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Pointwise.h"

using namespace mlir;
using namespace flame;

#define FLAME_UNARY(name, Op)                                                                                          \
  Value GraphBuilder::name(Value x) { return op<Op>(x); }
#define FLAME_BINARY(name, Op)                                                                                         \
  Value GraphBuilder::name(Value x, Value y) { return op<Op>({x, y}); }

FLAME_BINARY(add, AddOp)
FLAME_BINARY(sub, SubOp)
FLAME_BINARY(mul, MulOp)
FLAME_BINARY(div, DivOp)
FLAME_BINARY(pow, PowOp)
FLAME_BINARY(max, MaxOp)
FLAME_BINARY(min, MinOp)
FLAME_UNARY(neg, NegOp)
FLAME_UNARY(abs, AbsOp)
FLAME_UNARY(exp, ExpOp)
FLAME_UNARY(log, LogOp)
FLAME_UNARY(sqrt, SqrtOp)
FLAME_UNARY(reciprocal, ReciprocalOp)
FLAME_UNARY(tanh, TanhOp)
FLAME_UNARY(sigmoid, SigmoidOp)
FLAME_BINARY(equal, EqualOp)
FLAME_BINARY(less, LessOp)
FLAME_BINARY(lessEqual, LessEqualOp)
FLAME_BINARY(greater, GreaterOp)
FLAME_BINARY(greaterEqual, GreaterEqualOp)
FLAME_BINARY(logicalAnd, AndOp)
FLAME_BINARY(logicalOr, OrOp)
FLAME_UNARY(logicalNot, NotOp)
#undef FLAME_UNARY
#undef FLAME_BINARY

Value GraphBuilder::where(Value condition, Value x, Value y) { return op<WhereOp>({condition, x, y}); }

Value GraphBuilder::cast(Value x, Type type, bool saturate) {
  if (elementType(x) == type)
    return x;
  SmallVector<NamedAttribute> attributes{attr("to", TypeAttr::get(type))};
  if (!saturate)
    attributes.push_back(flag("saturate", false));
  return op<CastOp>(x, attributes);
}

Value GraphBuilder::narrow(Value x, Type type) {
  if (elementType(x) == type)
    return x;
  return op<CastOp>(x, {attr("to", TypeAttr::get(type)), attr("excess", UnitAttr::get(type.getContext()))});
}
