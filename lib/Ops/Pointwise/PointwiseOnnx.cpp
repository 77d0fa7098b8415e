//===- PointwiseOnnx.cpp - elementwise ONNX operators -----------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

static void takes(OnnxNode &n, unsigned count) {
  if (n.numInputs() > count)
    n.fail("has " + Twine(n.numInputs()) + " inputs, the operator takes " + Twine(count));
}
template <typename Op> static void unary(OnnxNode &n) {
  takes(n, 1);
  n.setOutput(0, n.op<Op>(n.input(0)));
}
template <typename Op> static void binary(OnnxNode &n) {
  takes(n, 2);
  n.setOutput(0, n.op<Op>({n.input(0), n.input(1)}));
}

/// Before opset 7 the second operand was broadcast on request, its dims aligned with those of the first from `axis` on.
static Value legacyOperand(OnnxNode &n) {
  Value x = n.input(0), y = n.input(1);
  if (!n.intAttr("broadcast", 0) || !n.hasAttr("axis"))
    return y;
  int64_t axis = n.axis(n.intAttr("axis"), std::max<int64_t>(n.rank(x), 1)), behind = n.rank(x) - axis - n.rank(y);
  if (behind < 0)
    n.fail("B has rank " + Twine(n.rank(y)) + ", which doesn't fit in A's rank " + Twine(n.rank(x)) + " from axis " +
           Twine(axis) + " on");
  return behind == 0 ? y : n.unsqueeze(y, llvm::to_vector(llvm::seq<int64_t>(n.rank(y), n.rank(y) + behind)));
}
template <typename Op> static void legacyBinary(OnnxNode &n) { n.setOutput(0, n.op<Op>({n.input(0), legacyOperand(n)})); }
template <typename Op> static void addBinary(OnnxRegistry &r, StringRef name, StringRef dtypes = "numeric") {
  r.add(name, legacyBinary<Op>, 1, "", dtypes);
  r.add(name, binary<Op>, 7, "", dtypes);
}

/// Max, Min and Sum take any number of inputs.
template <typename Op> static Value fold(OnnxNode &n) {
  Value result = n.input(0);
  for (unsigned i = 1; i < n.numInputs(); ++i)
    result = n.op<Op>({result, n.input(i)});
  return result;
}
template <typename Op> static void variadic(OnnxNode &n) { n.setOutput(0, fold<Op>(n)); }
static void mean(OnnxNode &n) {
  Value sum = fold<AddOp>(n);
  n.setOutput(0, n.numInputs() == 1 ? sum : n.div(sum, n.scalarLike(sum, n.numInputs())));
}

/// An activation whose attributes have the names that ONNX gives them; `defaults` are ONNX's.
template <typename Op> static OnnxRegistry::Import activation(std::vector<std::pair<std::string, double>> defaults) {
  return [defaults](OnnxNode &n) {
    SmallVector<NamedAttribute> attributes;
    for (const auto &[name, value] : defaults)
      attributes.push_back(n.attrF(name, n.floatAttr(name, value)));
    n.setOutput(0, n.op<Op>(n.input(0), attributes));
  };
}

static bool isString(OnnxNode &n, Value v) { return isa<StringType>(n.elementType(v)); }
/// An op of the string family, which the runtime executes.
static Value stringOp(OnnxNode &n, StringRef name, ValueRange operands, ArrayRef<NamedAttribute> attributes = {}) {
  if (!RegisteredOperationName::lookup(name, n.b.getContext()))
    n.fail("strings are not supported here");
  return n.create(name, operands, attributes)->getResult(0);
}

static void equal(OnnxNode &n) {
  if (isString(n, n.input(0)) && isString(n, n.input(1)))
    return n.setOutput(0, stringOp(n, "flame.equal_string", {n.input(0), n.input(1)}));
  binary<EqualOp>(n);
}

static void where(OnnxNode &n) {
  if (isString(n, n.input(1)) && isString(n, n.input(2)))
    return n.setOutput(0, stringOp(n, "flame.where_string", {n.input(0), n.input(1), n.input(2)}));
  n.setOutput(0, n.where(n.input(0), n.input(1), n.input(2)));
}

static Value convert(OnnxNode &n, Value x, Type to) {
  Type from = n.elementType(x);
  if (from == to)
    return x;
  if (isa<StringType>(to))
    return stringOp(n, "flame.cast_to_string", x);
  auto target = n.attr("to", TypeAttr::get(to));
  if (isa<StringType>(from))
    return stringOp(n, "flame.cast_from_string", x, target);
  SmallVector<NamedAttribute> attributes{target};
  if (n.intAttr("saturate", 1) == 0)
    attributes.push_back(n.flag("saturate", false));
  std::string mode = n.stringAttr("round_mode", "up");
  if (mode != "up" && mode != "down" && mode != "nearest")
    n.fail("attribute 'round_mode' is \"" + mode + "\"; it must be \"up\", \"down\" or \"nearest\"");
  if (isa<Float8E8M0FNUType>(to) && mode != "up")
    attributes.push_back(n.attrS("round_mode", mode));
  return n.op<CastOp>(x, attributes);
}

static void castTo(OnnxNode &n) {
  Type to = n.dtypeAttr("to");
  if (!to)
    n.fail("attribute 'to' is missing; it must hold the element type to cast to");
  n.setOutput(0, convert(n, n.input(0), to));
}
static void castLike(OnnxNode &n) { n.setOutput(0, convert(n, n.input(0), n.elementType(n.input(1)))); }

static void bitCast(OnnxNode &n) {
  Type to = n.dtypeAttr("to");
  if (!to)
    n.fail("attribute 'to' is missing; it must hold the element type to read the bits as");
  Value x = n.input(0);
  n.setOutput(0, n.elementType(x) == to ? x : n.op<BitcastOp>(x, n.attr("to", TypeAttr::get(to))));
}

static void bitShift(OnnxNode &n) {
  std::string direction = n.stringAttr("direction");
  if (direction == "LEFT")
    return binary<ShiftLeftOp>(n);
  if (direction == "RIGHT")
    return binary<ShiftRightOp>(n);
  n.fail("attribute 'direction' is \"" + direction + "\"; it must be \"LEFT\" or \"RIGHT\"");
}

static void modulo(OnnxNode &n) {
  if (n.intAttr("fmod", 0))
    binary<FModOp>(n);
  else
    binary<ModOp>(n);
}

static void clip(OnnxNode &n) {
  Value x = n.input(0);
  auto bound = [&](unsigned i, StringRef attribute) -> Value {
    if (n.hasInput(i))
      return n.rank(n.input(i)) == 0 ? n.input(i) : n.reshape(n.input(i), GraphBuilder::Axes());
    return n.hasAttr(attribute) ? n.scalarLike(x, n.floatAttr(attribute)) : Value();
  };
  Value low = bound(1, "min"), high = bound(2, "max");
  if (low)
    x = n.max(x, low);
  if (high)
    x = n.min(x, high);
  n.setOutput(0, x);
}

static void prelu(OnnxNode &n) {
  Value x = n.input(0), slope = n.input(1);
  // Before opset 7 a vector of slopes counted the channels.
  if (n.opset < 7 && n.rank(slope) == 1 && n.rank(x) > 2)
    slope = n.unsqueeze(slope, llvm::to_vector(llvm::seq<int64_t>(1, n.rank(x) - 1)));
  if (n.rank(slope) > n.rank(x))
    n.fail("slope has rank " + Twine(n.rank(slope)) + ", more than X's rank " + Twine(n.rank(x)) +
           ": it can't be broadcast to X");
  n.setOutput(0, n.where(n.less(x, n.scalarLike(x, 0)), n.mul(slope, x), x));
}

static void gelu(OnnxNode &n) {
  std::string mode = n.stringAttr("approximate", "none");
  if (mode != "none" && mode != "tanh")
    n.fail("attribute 'approximate' is \"" + mode + "\"; it must be \"none\" or \"tanh\"");
  n.setOutput(0, n.op<GeluOp>(n.input(0), n.flag("approximate", mode == "tanh")));
}

static void hardSwish(OnnxNode &n) {
  Value x = n.input(0);
  n.setOutput(0, n.mul(x, n.op<HardSigmoidOp>(x, {n.attrF("alpha", 1.0 / 6), n.attrF("beta", 0.5)})));
}

static void softsign(OnnxNode &n) {
  Value x = n.input(0);
  n.setOutput(0, n.div(x, n.add(n.scalarLike(x, 1), n.abs(x))));
}

static void shrink(OnnxNode &n) {
  Value x = n.input(0);
  Type type = n.elementType(x);
  Value real = isa<FloatType>(type) ? x : n.cast(x, n.b.getF64Type());
  Value y = n.op<ShrinkOp>(real, {n.attrF("bias", n.floatAttr("bias", 0)), n.attrF("lambd", n.floatAttr("lambd", 0.5))});
  n.setOutput(0, n.cast(y, type));
}

static void isInf(OnnxNode &n) {
  n.setOutput(0, n.op<IsInfOp>(n.input(0), {n.flag("positive", n.intAttr("detect_positive", 1) != 0),
                                            n.flag("negative", n.intAttr("detect_negative", 1) != 0)}));
}

/// Tensors, sequences and optionals alike.
static void identity(OnnxNode &n) { n.setOutput(0, n.input(0)); }

void flame::registerPointwiseOnnx(OnnxRegistry &r) {
  addBinary<AddOp>(r, "Add");
  addBinary<SubOp>(r, "Sub");
  addBinary<MulOp>(r, "Mul");
  addBinary<DivOp>(r, "Div");
  r.add("Mod", modulo, 10);
  addBinary<PowOp>(r, "Pow");
  r.add("Max", variadic<MaxOp>, 6);
  r.add("Min", variadic<MinOp>, 6);
  r.add("Sum", variadic<AddOp>, 6, "", "float");
  r.add("Mean", mean, 6, "", "float");
  r.add("Neg", unary<NegOp>, 6);
  r.add("Abs", unary<AbsOp>, 6);
  r.add("Sign", unary<SignOp>, 9);
  r.add("Reciprocal", unary<ReciprocalOp>, 6, "", "float");
  r.add("Sqrt", unary<SqrtOp>, 6, "", "float");

  r.add("BitwiseAnd", binary<BitAndOp>, 18, "", "integer");
  r.add("BitwiseOr", binary<BitOrOp>, 18, "", "integer");
  r.add("BitwiseXor", binary<BitXorOp>, 18, "", "integer");
  r.add("BitwiseNot", unary<BitNotOp>, 18, "", "integer");
  r.add("BitShift", bitShift, 11, "", "integer");
  addBinary<AndOp>(r, "And", "bool");
  addBinary<OrOp>(r, "Or", "bool");
  addBinary<XorOp>(r, "Xor", "bool");
  r.add("Not", unary<NotOp>, 1, "", "bool");

  r.add("Equal", legacyBinary<EqualOp>, 1, "", "bool, int32, int64");
  r.add("Equal", equal, 7, "", "all");
  addBinary<LessOp>(r, "Less");
  r.add("LessOrEqual", binary<LessEqualOp>, 12);
  addBinary<GreaterOp>(r, "Greater");
  r.add("GreaterOrEqual", binary<GreaterEqualOp>, 12);
  r.add("IsNaN", unary<IsNaNOp>, 9, "", "float");
  r.add("IsInf", isInf, 10, "", "float");

  r.add("Exp", unary<ExpOp>, 6, "", "float");
  r.add("Log", unary<LogOp>, 6, "", "float");
  r.add("Sin", unary<SinOp>, 7, "", "float");
  r.add("Cos", unary<CosOp>, 7, "", "float");
  r.add("Tan", unary<TanOp>, 7, "", "float");
  r.add("Asin", unary<AsinOp>, 7, "", "float");
  r.add("Acos", unary<AcosOp>, 7, "", "float");
  r.add("Atan", unary<AtanOp>, 7, "", "float");
  r.add("Sinh", unary<SinhOp>, 9, "", "float");
  r.add("Cosh", unary<CoshOp>, 9, "", "float");
  r.add("Tanh", unary<TanhOp>, 6, "", "float");
  r.add("Asinh", unary<AsinhOp>, 9, "", "float");
  r.add("Acosh", unary<AcoshOp>, 9, "", "float");
  r.add("Atanh", unary<AtanhOp>, 9, "", "float");
  r.add("Erf", unary<ErfOp>, 9, "", "float");
  r.add("Floor", unary<FloorOp>, 6, "", "float");
  r.add("Ceil", unary<CeilOp>, 6, "", "float");
  r.add("Round", unary<RoundOp>, 11, "", "float");

  r.add("Relu", unary<ReluOp>, 6);
  r.add("Sigmoid", unary<SigmoidOp>, 6, "", "float");
  r.add("Softplus", unary<SoftplusOp>, 1, "", "float");
  r.add("Softsign", softsign, 1, "", "float");
  r.add("Mish", unary<MishOp>, 18, "", "float");
  r.add("LeakyRelu", activation<LeakyReluOp>({{"alpha", 0.01}}), 6, "", "float");
  r.add("Elu", activation<EluOp>({{"alpha", 1.0}}), 6, "", "float");
  r.add("Celu", activation<CeluOp>({{"alpha", 1.0}}), 12, "", "float");
  r.add("Selu", activation<SeluOp>({{"alpha", 1.67326319217681884765625}, {"gamma", 1.05070102214813232421875}}), 6, "",
        "float");
  r.add("Swish", activation<SiluOp>({{"alpha", 1.0}}), 24, "", "float");
  r.add("HardSigmoid", activation<HardSigmoidOp>({{"alpha", 0.2}, {"beta", 0.5}}), 6, "", "float");
  r.add("ThresholdedRelu", activation<ThresholdedReluOp>({{"alpha", 1.0}}), 10, "", "float");
  r.add("Gelu", gelu, 20, "", "float");
  r.add("HardSwish", hardSwish, 14, "", "float");
  r.add("PRelu", prelu, 6);
  r.add("Shrink", shrink, 9);
  r.add("Clip", clip, 6);

  r.add("Where", where, 9, "", "all");
  r.add("Cast", castTo, 6, "", "all");
  r.add("CastLike", castLike, 15, "", "all");
  r.add("BitCast", bitCast, 26, "", "numeric");
  r.add("Identity", identity, 1, "", "all");
}
