//===- Pool.td - reductions over sliding windows ----------------------------------------------------------------------===//
//
// x is [batch, channels, spatial…]. `kernel`, `strides` and `dilations` have one element a spatial dimension, `pads` a
// begin for each and then an end for each. `auto_pad` is NOTSET (use `pads`), VALID (none), SAME_UPPER or SAME_LOWER.
// `ceil_mode` rounds the number of windows up, but no window starts beyond the padded begin and the data.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_POOL_TD
#define FLAME_POOL_TD

include "flame/IR/FlameBase.td"

defvar PoolArguments = (ins AnyFlameTensor:$x, DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides,
                        DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
                        DefaultValuedAttr<StrAttr, "\"NOTSET\"">:$auto_pad,
                        DefaultValuedAttr<BoolAttr, "false">:$ceil_mode);

def MaxPoolOp : Flame_PureOp<"max_pool"> {
  let summary = "the greatest element of each window, and where it lies";
  let description = [{
    `indices` (i64) are positions in the flattened x, spatial dimensions row-major or, with `column_major`, the last one slowest. Of
    equal elements the first one counts. Padding never wins.
  }];
  let arguments = !con(PoolArguments, (ins DefaultValuedAttr<BoolAttr, "false">:$column_major));
  let results = (outs AnyFlameTensor:$result, AnyFlameTensor:$indices);
}

def AveragePoolOp : Flame_PureOp<"average_pool"> {
  let summary = "the mean of each window";
  let description = [{ Padding counts as elements of value 0 if `count_include_pad`, otherwise not at all. }];
  let arguments = !con(PoolArguments, (ins DefaultValuedAttr<BoolAttr, "false">:$count_include_pad));
  let results = (outs AnyFlameTensor:$result);
}

def LpPoolOp : Flame_PureOp<"lp_pool"> {
  let summary = "the p-norm of each window";
  let arguments = !con(PoolArguments, (ins DefaultValuedAttr<F64Attr, "2.0">:$p));
  let results = (outs AnyFlameTensor:$result);
}

#endif // FLAME_POOL_TD
