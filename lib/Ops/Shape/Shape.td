//===- Shape.td - movement of elements that shapes alone decide -------------------------------------------------------===//
//
// Element types are any. Sizes, starts, steps, pads are i64 vectors, one element a dimension, negative indices already
// resolved: importers do that with symbolic arithmetic or, where the numbers come from data, with small integer ops.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SHAPE_TD
#define FLAME_SHAPE_TD

include "flame/IR/FlameBase.td"

class Flame_ShapeOp<string mnemonic, list<Trait> traits = []> : Flame_PureOp<mnemonic, traits> {
  let results = (outs AnyFlameTensor:$result);
}
/// Operands from the second on are sizes and the like.
defvar ShapeOperandsAfterFirst = [{ bool isShapeOperand(unsigned operand) { return operand >= 1; } }];

def ReshapeOp : Flame_ShapeOp<"reshape", [ViewLike]> {
  let summary = "the same elements in row-major order under another shape";
  let description = [{ `shape` holds the final sizes: no -1, no 0 that means "as before". }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$shape);
  let extraClassDeclaration = ShapeOperandsAfterFirst;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def TransposeOp : Flame_ShapeOp<"transpose"> {
  let summary = "dimension d of the result is dimension perm[d] of x";
  let arguments = (ins AnyFlameTensor:$x, DenseI64ArrayAttr:$perm);
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def ExpandOp : Flame_ShapeOp<"expand"> {
  let summary = "x broadcast to a shape, as numpy.broadcast_to";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$shape);
  let extraClassDeclaration = ShapeOperandsAfterFirst;
  let hasFolder = 1;
}

def ConcatOp : Flame_ShapeOp<"concat"> {
  let summary = "tensors one after the other along an axis";
  let arguments = (ins Variadic<AnyFlameTensor>:$xs, I64Attr:$axis);
  let hasFolder = 1;
}

def SliceOp : Flame_ShapeOp<"slice"> {
  let summary = "elements starts[d] + i * steps[d], i < sizes[d], of each dimension";
  let description = [{
    Steps may be negative but not zero. All numbers are final: every start is an index of `x` (if the size is not zero), and so is
    the last element taken.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$starts, AnyFlameTensor:$sizes, AnyFlameTensor:$steps);
  let extraClassDeclaration = ShapeOperandsAfterFirst;
  let hasFolder = 1;
}

def PadOp : Flame_ShapeOp<"pad"> {
  let summary = "x with low[d] elements before and high[d] after each dimension";
  let description = [{
    Negative numbers cut off. `mode` is "constant" (`value` of rank 0; zero if absent), "reflect" (mirrored at the edge element),
    "edge" or "wrap".
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$low, AnyFlameTensor:$high, Optional<AnyFlameTensor>:$value,
                   DefaultValuedAttr<StrAttr, "\"constant\"">:$mode);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand == 1 || operand == 2; } }];
  let hasFolder = 1;
}

def TileOp : Flame_ShapeOp<"tile"> {
  let summary = "x repeated repeats[d] times along each dimension";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$repeats);
  let extraClassDeclaration = ShapeOperandsAfterFirst;
  let hasFolder = 1;
}

def ShapeOfOp : Flame_ShapeOp<"shape_of", [NotDifferentiable]> {
  let summary = "the sizes of x as an i64 vector";
  let description = [{ Reads no element of `x`, which counts as a shape operand. }];
  let arguments = (ins AnyFlameTensor:$x);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return true; } }];
  let hasFolder = 1;
}

#endif // FLAME_SHAPE_TD
