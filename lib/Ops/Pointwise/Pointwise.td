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
  let extraClassDefinition = [{
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
def AddOp : Binary<"add", "x + y", "Same", [Commutative]>;
def SubOp : Binary<"sub", "x - y">;
def MulOp : Binary<"mul", "x * y", "Same", [Commutative]>;
def DivOp : Binary<"div", "x / y; integers truncate toward zero">;

// ---- comparison ----------------------------------------------------------------------------------------------------
def EqualOp : Binary<"equal", "x == y", "Bool", [Commutative, NotDifferentiable]>;

// ---- elementary functions ------------------------------------------------------------------------------------------
def ExpOp : Unary<"exp", "e^x">;

// ---- selection and conversion --------------------------------------------------------------------------------------
def WhereOp : Flame_PointwiseOp<"where", "Select", []> {
  let summary = "condition ? x : y";
  let arguments = (ins AnyFlameTensor:$condition, AnyFlameTensor:$x, AnyFlameTensor:$y);
}
def CastOp : Flame_PointwiseOp<"cast", "Attribute", []> {
  let summary = "conversion to another element type, with ONNX's Cast semantics";
  let description = [{
    Floats round to nearest even; float to integer truncates and saturates; anything to bool is `!= 0`. `saturate`
    applies to floats of 8 bits and fewer; `round_mode` ("up", "down", "nearest") to float8e8m0 alone.
  }];
  let arguments = (ins AnyFlameTensor:$x, TypeAttr:$to, DefaultValuedAttr<BoolAttr, "true">:$saturate,
                   DefaultValuedAttr<StrAttr, "\"\"">:$round_mode);
}

#endif // FLAME_POINTWISE_TD
