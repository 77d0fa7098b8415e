//===- Reduce.td - reductions and scans -------------------------------------------------------------------------------===//
#ifndef FLAME_REDUCE_TD
#define FLAME_REDUCE_TD

include "flame/IR/FlameBase.td"

def ReduceOp : Flame_PureOp<"reduce"> {
  let summary = "sum, product, maximum, minimum or mean over axes";
  let description = [{
    `kind` is "sum", "prod", "max", "min" or "mean". Floats narrower than f32 accumulate in f32, integers in their own
    type. NaN wins in max and min. Over no elements the result is 0, 1, the lowest, the highest value or NaN. `axes` are
    non-negative and distinct; with none the op is the identity.
  }];
  let arguments = (ins AnyFlameTensor:$x, StrAttr:$kind, DenseI64ArrayAttr:$axes, DefaultValuedAttr<BoolAttr, "true">:$keepdims);
  let results = (outs AnyFlameTensor:$result);
  let hasFolder = 1;
}

def ArgReduceOp : Flame_PureOp<"arg_reduce", [NotDifferentiable]> {
  let summary = "position (i64) of the maximum or minimum along an axis";
  let description = [{
    `kind` is "max" or "min". Of equal elements the first counts, or with `select_last_index` the last; NaN counts as the
    extreme.
  }];
  let arguments = (ins AnyFlameTensor:$x, StrAttr:$kind, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "true">:$keepdims,
                   DefaultValuedAttr<BoolAttr, "false">:$select_last_index);
  let results = (outs AnyFlameTensor:$result);
}

def ScanOp : Flame_PureOp<"scan"> {
  let summary = "running sum or product along an axis";
  let description = [{
    `kind` is "sum" or "prod". With `exclusive` an element doesn't count itself (the first is 0 or 1), with `reverse` the
    scan runs from the end.
  }];
  let arguments = (ins AnyFlameTensor:$x, StrAttr:$kind, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "false">:$exclusive,
                   DefaultValuedAttr<BoolAttr, "false">:$reverse);
  let results = (outs AnyFlameTensor:$result);
}

#endif // FLAME_REDUCE_TD
