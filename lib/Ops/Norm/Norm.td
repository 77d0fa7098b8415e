//===- Norm.td - what normalisations need beyond reductions and pointwise ops -----------------------------------------===//
#ifndef FLAME_NORM_TD
#define FLAME_NORM_TD

include "flame/IR/FlameBase.td"

def WindowSumOp : Flame_PureOp<"window_sum"> {
  let summary = "sum over the neighbours along an axis";
  let description = [{
    result[.., i, ..] = the sum of x[.., j, ..] for j from i - `before` to i + `after`, inside the axis. The shape is x's.
  }];
  let arguments = (ins AnyFlameTensor:$x, I64Attr:$axis, I64Attr:$before, I64Attr:$after);
  let results = (outs AnyFlameTensor:$result);
}

#endif // FLAME_NORM_TD
