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

    With `packed_columns` = N, y holds the matrices of N columns as `pack_panels` leaves them: […, ceil(N / w), K, w].
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y, OptionalAttr<TypeAttr>:$type,
                   DefaultValuedAttr<BoolAttr, "false">:$transpose_x, DefaultValuedAttr<BoolAttr, "false">:$transpose_y,
                   OptionalAttr<I64Attr>:$packed_columns);
  let results = (outs AnyFlameTensor:$result);
  let hasCanonicalizer = 1;
}

def ScaledMatMulOp : Flame_PureOp<"scaled_matmul", [ContractAnchor]> {
  let summary = "matrix product of elements that have a scale for each block of them";
  let description = [{
    x: […, M, K], y: [N, K], floats; scales are f32, of x: […, M, ceil(K / `depth`)], of y: [ceil(N / `columns`), ceil(K / `depth`)].

        result[…, m, n] = Σ_k x[…, m, k] · x_scale[…, m, k / depth] · y[n, k] · y_scale[n / columns, k / depth]

    Sums are f32, rounded to `type`. A target may multiply the elements of a block as they are and its sum by both scales, or
    operands that it scales before, rounded to `type`: what the dequantised operands of such a product are in a model.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y, AnyFlameTensor:$x_scale, AnyFlameTensor:$y_scale, I64Attr:$depth,
                   I64Attr:$columns, TypeAttr:$type);
  let results = (outs AnyFlameTensor:$result);
}

def PackPanelsOp : Flame_PureOp<"pack_panels", [NotDifferentiable]> {
  let summary = "matrices cut into panels of `width` columns, each contiguous";
  let description = [{
    x: […, K, N], or […, N, K] with `transpose`; result: […, ceil(N / width), K, width], with 0 in the columns beyond N. The
    order in which a matrix product reads a constant operand; made by the target.
  }];
  let arguments = (ins AnyFlameTensor:$x, I64Attr:$width, DefaultValuedAttr<BoolAttr, "false">:$transpose);
  let results = (outs AnyFlameTensor:$result);
}

#endif // FLAME_CONTRACTION_TD
