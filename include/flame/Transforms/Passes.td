//===- Passes.td - passes from flame IR to flame IR -------------------------------------------------------------------===//
#ifndef FLAME_TRANSFORMS_PASSES_TD
#define FLAME_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def FoldBatchNorm : Pass<"flame-fold-batch-norm", "::mlir::func::FuncOp"> {
  let summary = "Fold multiplications and additions by constants into the weights before them";
  let description = [{
    A batch normalisation at inference is a multiply-add whose factors depend on parameters alone. A chain of additions and
    multiplications by constants is gathered into one factor and one offset; after a `conv`, `conv_transpose` or `matmul`
    with a constant weight the factor goes into the weight, if it is one number for each output channel. The new factors
    and weights are ops on constants, which the plan's init block runs once. f32 and f64 only: narrower weights would be
    rounded twice.

    Before:

    ```mlir
    %y = flame.conv %x, %w, %pads {…} : (tensor<?x3x8x8xf32>, tensor<4x3x1x1xf32>, tensor<4xi64>) -> tensor<?x4x8x8xf32>
    %s = flame.mul %y, %factor : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
    %z = flame.add %s, %offset : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
    ```

    After:

    ```mlir
    %f = flame.reshape %factor, %shape : (tensor<4x1x1xf32>, tensor<4xi64>) -> tensor<4x1x1x1xf32>
    %v = flame.mul %w, %f : (tensor<4x3x1x1xf32>, tensor<4x1x1x1xf32>) -> tensor<4x3x1x1xf32>
    %y = flame.conv %x, %v, %pads {…} : (tensor<?x3x8x8xf32>, tensor<4x3x1x1xf32>, tensor<4xi64>) -> tensor<?x4x8x8xf32>
    %z = flame.add %y, %offset : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
    ```
  }];
}

def GroupHeads : Pass<"flame-group-heads", "::mlir::func::FuncOp"> {
  let summary = "Let the heads of a group read the same keys and values in place of repeating these for each";
  let description = [{
    Exported language models have fewer key heads than query heads, and write the former once for each of the latter: a unit dim is inserted,
    expanded and joined with the heads. Where the keys of one product and the values of the next are repeated alike, and all in between is
    computed head by head, that dim is one of queries, scores and results instead, which keys and values are broadcast along. Queries and results are
    split and joined beside the transposes that bring heads together, so nothing is copied.

    Before:

    ```mlir
    %k = flame.reshape %keys, %s : (tensor<1x4x70x64xf16>, tensor<5xi64>) -> tensor<1x4x1x70x64xf16>
    %e = flame.expand %k, %t : (tensor<1x4x1x70x64xf16>, tensor<5xi64>) -> tensor<1x4x3x70x64xf16>
    %r = flame.reshape %e, %u : (tensor<1x4x3x70x64xf16>, tensor<4xi64>) -> tensor<1x12x70x64xf16>
    %p = flame.matmul %q, %r {transpose_y = true} : (tensor<1x12x70x64xf16>, tensor<1x12x70x64xf16>) -> tensor<1x12x70x70xf16>
    ```

    After:

    ```mlir
    %g = flame.reshape %q, %v : (tensor<1x12x70x64xf16>, tensor<5xi64>) -> tensor<1x4x3x70x64xf16>
    %p = flame.matmul %g, %k {transpose_y = true} : (tensor<1x4x3x70x64xf16>, tensor<1x4x1x70x64xf16>) -> tensor<1x4x3x70x70xf16>
    ```
  }];
}

def SimplifyLayout : Pass<"flame-simplify-layout", "::mlir::func::FuncOp"> {
  let summary = "Move reshapes and transposes to where they cancel or cost nothing";
  let description = [{
    Reshapes of reshapes and transposes of transposes become one or none, slices of slices one, a transpose that moves only dims of one element
    becomes a reshape. A reshape moves up through pointwise ops and through products with one matrix where it meets
    another reshape or the product has as many rows either way, and down through pointwise ops to leave them with the
    op that makes their operand; not past functions of one value that a reduction reads, whose rows have the new shape. A
    transpose moves down through pointwise ops to another transpose or a product. A slice
    is taken after the reshape that splits the sliced dim. Sizes are compared as expressions, so that dynamic ones do.

    Before:

    ```mlir
    %r = flame.reshape %x, %flat : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    %m = flame.matmul %r, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
    %b = flame.add %m, %bias : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    %y = flame.reshape %b, %deep : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
    ```

    After:

    ```mlir
    %m = flame.matmul %x, %w : (tensor<?x?x4xf32>, tensor<4x8xf32>) -> tensor<?x?x8xf32>
    %y = flame.add %m, %bias : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
    ```
  }];
}

def JoinProducts : Pass<"flame-join-products", "::mlir::func::FuncOp"> {
  let summary = "Make one product of several that multiply the same operand by constant weights";
  let description = [{
    The weights are put side by side once, when the model is loaded, and the results are parts of one; biases are joined the
    same way. Queries, keys and values of an attention are the case in point: one launch instead of three, and three
    times the tiles for a GPU that one of them leaves idle. Only where nothing but movement and products read the parts,
    and with few rows: many keep the machine busy anyway.

    Before:

    ```mlir
    %q = flame.matmul %x, %wq : (tensor<?x64xf16>, tensor<64x32xf16>) -> tensor<?x32xf16>
    %k = flame.matmul %x, %wk : (tensor<?x64xf16>, tensor<64x32xf16>) -> tensor<?x32xf16>
    ```

    After:

    ```mlir
    %w = flame.concat %wq, %wk {axis = 1} : (tensor<64x32xf16>, tensor<64x32xf16>) -> tensor<64x64xf16>
    %b = flame.matmul %x, %w : (tensor<?x64xf16>, tensor<64x64xf16>) -> tensor<?x64xf16>
    %q = flame.slice %b, … : … -> tensor<?x32xf16>
    %k = flame.slice %b, … : … -> tensor<?x32xf16>
    ```
  }];
}

def SplitProducts : Pass<"flame-split-products", "::mlir::func::FuncOp"> {
  let summary = "A product whose two parts meet becomes two products of the same operand";
  let description = [{
    Gated layers are often stored as one: a linear layer of twice the columns, whose result is cut in two, one half of which gates
    the other. As two products with the parts of the weight they form a pair, which one kernel multiplies, parts staying where they
    are; the whole result would go to memory in between. Pointwise ops before the cut (a bias, scales) are cut as well. Only where
    all that reads the parts is pointwise until they have met, and both parts can be read by the copy engine.

    Before:

    ```mlir
    %p = flame.matmul %x, %w : (tensor<?x64xf16>, tensor<64x256xf16>) -> tensor<?x256xf16>
    %s = flame.slice %p, … : … -> tensor<?x128xf16>
    %g = flame.slice %p, … : … -> tensor<?x128xf16>
    %a = flame.gelu %g : (tensor<?x128xf16>) -> tensor<?x128xf16>
    %y = flame.mul %s, %a : (tensor<?x128xf16>, tensor<?x128xf16>) -> tensor<?x128xf16>
    ```

    After:

    ```mlir
    %v = flame.slice %w, … : … -> tensor<64x128xf16>
    %u = flame.slice %w, … : … -> tensor<64x128xf16>
    %s = flame.matmul %x, %v : (tensor<?x64xf16>, tensor<64x128xf16>) -> tensor<?x128xf16>
    %g = flame.matmul %x, %u : (tensor<?x64xf16>, tensor<64x128xf16>) -> tensor<?x128xf16>
    %a = flame.gelu %g : (tensor<?x128xf16>) -> tensor<?x128xf16>
    %y = flame.mul %s, %a : (tensor<?x128xf16>, tensor<?x128xf16>) -> tensor<?x128xf16>
    ```
  }];
  let options = [Option<"tf32", "tf32", "bool", "false", "f32 is multiplied as TF32">];
}

def ScaleAfterProducts : Pass<"flame-scale-after-products", "::mlir::func::FuncOp"> {
  let summary = "Multiply quantised operands as they are stored, and their scales into the result";
  let description = [{
    A product of two dequantised operands, each elements of one 8-bit type times a scale that is one number along the inner
    dim (per tensor, per row of x, per column of y), is the product of the elements times both scales: what matrix
    instructions for f8E4M3FN, f8E5M2 and i8 compute, reading half the bytes of f16. Sums are f32, of i8 i32. Dequantised
    numbers that do not go through memory are not rounded to the operands' type in between; a conversion that the model itself has
    there leaves the product alone. A constant y is transposed once, for these instructions read along the inner dim.
    Zero points must be 0. Between the scale and the product there may be movement, if the scale is one number, and multiplications by numbers.

    Floats with a scale for each 128 positions of the inner dim, of a row of x and of one or 128 columns of y, become operands of a
    `scaled_matmul` with their scales, however the model repeats these: by DequantizeLinear with `block_size`, by expansions and
    reshapes, or by a multiplication in a shape that has a dim for each block and one for the places in it.

    Before:

    ```mlir
    %a = flame.cast %q {to = f32} : (tensor<?x64xf8E4M3FN>) -> tensor<?x64xf32>
    %x = flame.mul %a, %s : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
    %b = flame.cast %w {to = f32} : (tensor<64x32xf8E4M3FN>) -> tensor<64x32xf32>
    %y = flame.mul %b, %t : (tensor<64x32xf32>, tensor<32xf32>) -> tensor<64x32xf32>
    %z = flame.matmul %x, %y : (tensor<?x64xf32>, tensor<64x32xf32>) -> tensor<?x32xf32>
    ```

    After:

    ```mlir
    %v = flame.transpose %w {perm = array<i64: 1, 0>} : (tensor<64x32xf8E4M3FN>) -> tensor<32x64xf8E4M3FN>
    %p = flame.matmul %q, %v {transpose_y = true, type = f32} : (tensor<?x64xf8E4M3FN>, tensor<32x64xf8E4M3FN>) -> tensor<?x32xf32>
    %r = flame.mul %p, %s : (tensor<?x32xf32>, tensor<?x1xf32>) -> tensor<?x32xf32>
    %z = flame.mul %r, %t : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
    ```
  }];
}

def WidenWeights : Pass<"flame-widen-weights", "::mlir::func::FuncOp"> {
  let summary = "Multiply weights and values of attention in 16 bits where a model has them in 8";
  let description = [{
    The sum over all keys is a long one, which matrix instructions for floats of 8 bits keep in some 14 bits: of positive numbers
    they lose 8 % at 4608 keys. What that would gain is less than what adding up shorter sums costs (docs/rationale/hopper.md). So weights that a model
    rounds to 8 bits are rounded to 16, and values that it has in 8 become numbers of 16, which hold them exactly: f16, or bf16 where queries
    and keys have it. The product of queries and keys stays one of 8 bits.

    Before:

    ```mlir
    %w = flame.div %weights, %s : (tensor<2x70x90xf32>, tensor<f32>) -> tensor<2x70x90xf32>
    %x = flame.cast %w {to = f8E4M3FN} : (tensor<2x70x90xf32>) -> tensor<2x70x90xf8E4M3FN>
    %y = flame.matmul %x, %v {type = f32} : (tensor<2x70x90xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x64xf32>
    ```

    After:

    ```mlir
    %w = flame.div %weights, %s : (tensor<2x70x90xf32>, tensor<f32>) -> tensor<2x70x90xf32>
    %x = flame.cast %w {to = f16} : (tensor<2x70x90xf32>) -> tensor<2x70x90xf16>
    %u = flame.cast %v {to = f16} : (tensor<2x90x64xf8E4M3FN>) -> tensor<2x90x64xf16>
    %y = flame.matmul %x, %u {type = f32} : (tensor<2x70x90xf16>, tensor<2x90x64xf16>) -> tensor<2x70x64xf32>
    ```
  }];
}

def SinkConvTransposes : Pass<"flame-sink-conv-transposes", "::mlir::func::FuncOp"> {
  let summary = "Compute what follows a convolution before the transpose that brings its channels to the end";
  let description = [{
    Models whose images have channels last write a convolution as one between transposes, and add a bias or a residual behind
    them. Before the second transpose these belong to the convolution, whose kernel stores channels last anyway. Operands
    of the result's size are transposed the other way, which their reading undoes; a bias of one dim is reshaped.

    Before:

    ```mlir
    %t = flame.transpose %c {perm = array<i64: 0, 2, 3, 1>} : tensor<1x64x?x?xf16> -> tensor<1x?x?x64xf16>
    %y = flame.add %t, %b : (tensor<1x?x?x64xf16>, tensor<64xf16>) -> tensor<1x?x?x64xf16>
    ```

    After:

    ```mlir
    %r = flame.reshape %b, … : (tensor<64xf16>, tensor<3xi64>) -> tensor<64x1x1xf16>
    %a = flame.add %c, %r : (tensor<1x64x?x?xf16>, tensor<64x1x1xf16>) -> tensor<1x64x?x?xf16>
    %y = flame.transpose %a {perm = array<i64: 0, 2, 3, 1>} : tensor<1x64x?x?xf16> -> tensor<1x?x?x64xf16>
    ```
  }];
}

def NormChannelsLast : Pass<"flame-norm-channels-last", "::mlir::func::FuncOp"> {
  let summary = "Compute group norms of large images position by position, with all channels of each";
  let description = [{
    Convolutions on a GPU read images with channels last in memory, where the elements of one group lie apart: a row program
    of a group would need a copy in either order. So a kernel computes mean and variance of each channel, reading the image
    once as it lies there, and another one the result. In between, a small one joins the channels of each group and
    turns statistics, scale and bias into a factor and an addend for each channel. f16 and bf16 alone, and only where a
    convolution reads the result.

    Before:

    ```mlir
    %g = flame.reshape %x, %shape : (tensor<?x64x?x?xbf16>, tensor<5xi64>) -> tensor<?x32x2x?x?xbf16>
    %f = flame.cast %g : tensor<?x32x2x?x?xbf16> -> tensor<?x32x2x?x?xf32>
    %m = flame.reduce %f {kind = "mean", axes = array<i64: 2, 3, 4>} : … -> tensor<?x32x1x1x1xf32>
    …
    %y = flame.reshape %a, %back : … -> tensor<?x64x?x?xbf16>
    ```

    After:

    ```mlir
    %t = flame.transpose %x {perm = array<i64: 0, 2, 3, 1>} : tensor<?x64x?x?xbf16> -> tensor<?x?x?x64xbf16>
    %m = flame.reduce %d {kind = "mean", axes = array<i64: 1>} : (tensor<?x?x64xf32>) -> tensor<?x1x64xf32>
    …
    %y = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : tensor<?x?x?x64xbf16> -> tensor<?x64x?x?xbf16>
    ```
  }];
}

def PrintCost : Pass<"flame-print-cost", "::mlir::func::FuncOp"> {
  let summary = "Print the operations and bytes of every op as expressions of the dims";
  let description = [{
    A line an op on standard output, then the total; an op inside a loop or a branch counts once. Changes nothing.

    ```mlir
    %y = flame.matmul %x, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
    ```

    ```
    matmul: 64*n operations, 48*n + 128 bytes
    total: 64*n operations, 48*n + 128 bytes
    ```
  }];
}

#endif // FLAME_TRANSFORMS_PASSES_TD
