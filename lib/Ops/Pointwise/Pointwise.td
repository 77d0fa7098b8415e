//===- Pointwise.td - elementwise ops, one row each -------------------------------------------------------------------===//
//
// Operands broadcast as in numpy. A row gives the op's name and its result type rule; the body is in PointwiseBody.cpp.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_POINTWISE_TD
#define FLAME_POINTWISE_TD

include "flame/IR/FlameBase.td"

class Flame_PointwiseOp<string mnemonic, string rule, list<Trait> traits> : Flame_PureOp<mnemonic, traits> {
  let results = (outs AnyFlameTensor:$result);
  let hasFolder = 1;
  let extraClassDefinition = [{
    ::mlir::OpFoldResult $cppClass::fold(FoldAdaptor adaptor) {
      return ::flame::foldPointwise(*this, adaptor.getOperands());
    }
    ::llvm::LogicalResult $cppClass::inferResults(::flame::ShapeContext &context,
                                                  ::llvm::SmallVectorImpl<::flame::ResultInfo> &results) {
      return ::flame::inferPointwise(*this, ::flame::PointwiseRule::}] # rule # [{, context, results);
    }
  }];
}
class Unary<string mnemonic, string doc, string rule = "Same", list<Trait> traits = []>
    : Flame_PointwiseOp<mnemonic, rule, traits> {
  let arguments = (ins AnyFlameTensor:$x);
  let summary = doc;
}
class Binary<string mnemonic, string doc, string rule = "Same", list<Trait> traits = []>
    : Flame_PointwiseOp<mnemonic, rule, traits> {
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y);
  let summary = doc;
}

// ---- arithmetic ----------------------------------------------------------------------------------------------------
def AddOp : Binary<"add", "x + y", "Number", [Commutative]>;
def SubOp : Binary<"sub", "x - y", "Number">;
def MulOp : Binary<"mul", "x * y", "Number", [Commutative]>;
def DivOp : Binary<"div", "x / y; integers truncate toward zero", "Number">;
def ModOp : Binary<"mod", "remainder of x / y with the sign of y", "Number">;
def FModOp : Binary<"fmod", "remainder of x / y with the sign of x", "Number">;
def PowOp : Binary<"pow", "x to the power y, in x's element type; y may have another one", "First">;
def MaxOp : Binary<"max", "the greater of x and y; NaN wins", "Same", [Commutative]>;
def MinOp : Binary<"min", "the smaller of x and y; NaN wins", "Same", [Commutative]>;
def NegOp : Unary<"neg", "-x", "Number">;
def AbsOp : Unary<"abs", "|x|", "Number">;
def SignOp : Unary<"sign", "-1, 0 or 1; NaN stays", "Number", [NotDifferentiable]>;
def ReciprocalOp : Unary<"reciprocal", "1 / x", "Float">;
def SqrtOp : Unary<"sqrt", "square root", "Float">;

// ---- bits ----------------------------------------------------------------------------------------------------------
def BitAndOp : Binary<"bit_and", "x & y", "Integer", [Commutative, NotDifferentiable]>;
def BitOrOp : Binary<"bit_or", "x | y", "Integer", [Commutative, NotDifferentiable]>;
def BitXorOp : Binary<"bit_xor", "x ^ y", "Integer", [Commutative, NotDifferentiable]>;
def BitNotOp : Unary<"bit_not", "~x", "Integer", [NotDifferentiable]>;
def ShiftLeftOp : Binary<"shift_left", "x << y; 0 if y is not less than the width", "Integer", [NotDifferentiable]>;
def ShiftRightOp : Binary<"shift_right", "x >> y, arithmetic for signed integers; the sign if y is not less than the width",
                          "Integer", [NotDifferentiable]>;

// ---- logic ---------------------------------------------------------------------------------------------------------
def AndOp : Binary<"and", "x and y, of bools", "Logic", [Commutative, NotDifferentiable]>;
def OrOp : Binary<"or", "x or y, of bools", "Logic", [Commutative, NotDifferentiable]>;
def XorOp : Binary<"xor", "x or y but not both, of bools", "Logic", [Commutative, NotDifferentiable]>;
def NotOp : Unary<"not", "not x, of a bool", "Logic", [NotDifferentiable]>;

// ---- comparison ----------------------------------------------------------------------------------------------------
def EqualOp : Binary<"equal", "x == y", "Compare", [Commutative, NotDifferentiable]>;
def LessOp : Binary<"less", "x < y", "Compare", [NotDifferentiable]>;
def LessEqualOp : Binary<"less_equal", "x <= y", "Compare", [NotDifferentiable]>;
def GreaterOp : Binary<"greater", "x > y", "Compare", [NotDifferentiable]>;
def GreaterEqualOp : Binary<"greater_equal", "x >= y", "Compare", [NotDifferentiable]>;
def IsNaNOp : Unary<"is_nan", "true for NaN", "Classify", [NotDifferentiable]>;
def IsInfOp : Unary<"is_inf", "true for infinity of the signs asked for", "Classify", [NotDifferentiable]> {
  let arguments = (ins AnyFlameTensor:$x, DefaultValuedAttr<BoolAttr, "true">:$positive,
                   DefaultValuedAttr<BoolAttr, "true">:$negative);
}

// ---- elementary functions ------------------------------------------------------------------------------------------
def ExpOp : Unary<"exp", "e^x", "Float">;
def LogOp : Unary<"log", "natural logarithm", "Float">;
def SinOp : Unary<"sin", "sine", "Float">;
def CosOp : Unary<"cos", "cosine", "Float">;
def TanOp : Unary<"tan", "tangent", "Float">;
def AsinOp : Unary<"asin", "inverse sine", "Float">;
def AcosOp : Unary<"acos", "inverse cosine", "Float">;
def AtanOp : Unary<"atan", "inverse tangent", "Float">;
def SinhOp : Unary<"sinh", "hyperbolic sine", "Float">;
def CoshOp : Unary<"cosh", "hyperbolic cosine", "Float">;
def TanhOp : Unary<"tanh", "hyperbolic tangent", "Float">;
def AsinhOp : Unary<"asinh", "inverse hyperbolic sine", "Float">;
def AcoshOp : Unary<"acosh", "inverse hyperbolic cosine", "Float">;
def AtanhOp : Unary<"atanh", "inverse hyperbolic tangent", "Float">;
def ErfOp : Unary<"erf", "error function", "Float">;
def FloorOp : Unary<"floor", "greatest integer not above x", "Float", [NotDifferentiable]>;
def CeilOp : Unary<"ceil", "smallest integer not below x", "Float", [NotDifferentiable]>;
def RoundOp : Unary<"round", "nearest integer, ties to even", "Float", [NotDifferentiable]>;

// ---- activations ---------------------------------------------------------------------------------------------------
class Activation<string mnemonic, string doc, dag attributes> : Unary<mnemonic, doc, "Float"> {
  let arguments = !con((ins AnyFlameTensor:$x), attributes);
}
class F64Default<string value> : DefaultValuedAttr<F64Attr, value>;

def ReluOp : Unary<"relu", "max(x, 0)", "Number">;
def SigmoidOp : Unary<"sigmoid", "1 / (1 + e^-x)", "Float">;
def SoftplusOp : Unary<"softplus", "log(1 + e^x), without overflow", "Float">;
def MishOp : Unary<"mish", "x * tanh(softplus(x))", "Float">;
def LeakyReluOp : Activation<"leaky_relu", "x < 0 ? alpha * x : x", (ins F64Default<"0.01">:$alpha)>;
def EluOp : Activation<"elu", "x < 0 ? alpha * (e^x - 1) : x", (ins F64Default<"1.0">:$alpha)>;
def CeluOp : Activation<"celu", "x < 0 ? alpha * (e^(x / alpha) - 1) : x", (ins F64Default<"1.0">:$alpha)>;
def SeluOp : Activation<"selu", "gamma * (x > 0 ? x : alpha * (e^x - 1))",
                        (ins F64Default<"1.67326319217681884765625">:$alpha,
                         F64Default<"1.05070102214813232421875">:$gamma)>;
def SiluOp : Activation<"silu", "x * sigmoid(alpha * x), also called swish", (ins F64Default<"1.0">:$alpha)>;
def GeluOp : Activation<"gelu", "x * P(X <= x) of a standard normal X",
                        (ins DefaultValuedAttr<BoolAttr, "false">:$approximate)> {
  let description = [{ By erf, or with `approximate` by tanh(sqrt(2/pi) * (x + 0.044715 x^3)). }];
}
def HardSigmoidOp : Activation<"hard_sigmoid", "min(max(alpha * x + beta, 0), 1)",
                               (ins F64Default<"0.2">:$alpha, F64Default<"0.5">:$beta)>;
def ThresholdedReluOp : Activation<"thresholded_relu", "x > alpha ? x : 0", (ins F64Default<"1.0">:$alpha)>;
def ShrinkOp : Activation<"shrink", "x < -lambd ? x + bias : x > lambd ? x - bias : 0",
                          (ins F64Default<"0.0">:$bias, F64Default<"0.5">:$lambd)>;

// ---- selection and conversion --------------------------------------------------------------------------------------
def WhereOp : Flame_PointwiseOp<"where", "Select", []> {
  let summary = "condition ? x : y";
  let arguments = (ins AnyFlameTensor:$condition, AnyFlameTensor:$x, AnyFlameTensor:$y);
}
def CastOp : Flame_PointwiseOp<"cast", "Convert", []> {
  let summary = "conversion to another element type, with ONNX's Cast semantics";
  let description = [{
    Floats round to nearest even; float to integer truncates and saturates (4 and 2 bits wrap); anything to bool is
    `!= 0`. `saturate` applies to floats of 8 bits and fewer; `round_mode` ("up", "down", "nearest") to float8e8m0 alone.

    `excess`: a result that does not go through memory may keep the precision of x, as the results of other ops keep that of
    the registers that they are computed in. It stands where an op computes in a wider type than its operands have; a
    conversion that a model asks for always rounds.
  }];
  let arguments = (ins AnyFlameTensor:$x, TypeAttr:$to, DefaultValuedAttr<BoolAttr, "true">:$saturate,
                   DefaultValuedAttr<StrAttr, "\"up\"">:$round_mode, UnitAttr:$excess);
}
def BitcastOp : Flame_PointwiseOp<"bitcast", "Reinterpret", [NotDifferentiable]> {
  let summary = "the same bits read as another element type of the same width";
  let arguments = (ins AnyFlameTensor:$x, TypeAttr:$to);
}

#endif // FLAME_POINTWISE_TD
