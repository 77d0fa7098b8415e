//===- Contraction.td - matrix products -------------------------------------------------------------------------------===//
#ifndef FLAME_CONTRACTION_TD
#define FLAME_CONTRACTION_TD

include "flame/IR/FlameBase.td"

def MatMulOp : Flame_PureOp<"matmul", [ContractAnchor]> {
  let summary = "matrix product with the semantics of numpy.matmul";
  let description = [{
    The last two dims are a matrix, those before are broadcast; an operand of rank 1 is a row (x) or a column (y), whose dim
    the result lacks. `transpose_x`, `transpose_y` swap the last two dims of an operand of rank 2 or more first.

    `type` is the result's element type, by default that of the operands. Elements are converted to it before they are
    multiplied (so `i8` times `i8` may give `i32`); floats narrower than f32 are multiplied and summed in f32. Operands
    of different integer types need `type`.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y, OptionalAttr<TypeAttr>:$type,
                   DefaultValuedAttr<BoolAttr, "false">:$transpose_x, DefaultValuedAttr<BoolAttr, "false">:$transpose_y);
  let results = (outs AnyFlameTensor:$result);
  let hasCanonicalizer = 1;
}

#endif // FLAME_CONTRACTION_TD
