//===- Region.td - kernel regions: what becomes one kernel ------------------------------------------------------------===//
#ifndef FLAME_REGION_TD
#define FLAME_REGION_TD

include "flame/IR/FlameBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def RegionOp : Flame_Op<"region", [IsolatedFromAbove, SingleBlock, Pure]> {
  let summary = "ops that one kernel computes";
  let description = [{
    The body's block arguments are the inputs, materialised in buffers; everything else in the body is computed on the
    way and never stored, save what is yielded. `anchor` says which generator makes the kernel:

    - `loop`: one pass over the elements of the results, each pulled through the body (pointwise, movement, windows);
    - `row`: reductions over trailing dims and pointwise ops around them, a row of the results at a time;
    - `contract`, `conv`: a matrix product or convolution with bodies before (on its operands) and after (on its result);
    - `attention`: softmax(score(q k^T)) v: two products, a softmax, pointwise ops in between and after (flame/Analysis/Attention.h);
    - `topk`: the first elements of rows in order, alone in the region;
    - `loops`: an op with loops of its own (LoopsInterface), alone in the region.

    Shape operands of inner ops (`InferInterface::isShapeOperand`) are inputs too, for the symbolic values they carry; a
    kernel doesn't read their buffers.
  }];
  let arguments = (ins Variadic<AnyFlameTensor>:$inputs, StrAttr:$anchor, OptionalAttr<StrAttr>:$label);
  let results = (outs Variadic<AnyFlameTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $anchor (`(` $inputs^ `)`)? attr-dict `:` functional-type($inputs, $outputs) $body
  }];
  let extraClassDeclaration = [{
    ::mlir::Block *getBlock() { return &getBody().front(); }
    /// The yielded values, one per result.
    ::mlir::OperandRange getYielded();
  }];
}

def YieldOp : Op<Flame_Dialect, "yield", [Terminator, Pure, ReturnLike]> {
  let summary = "the results of a region, a branch or a loop body";
  let arguments = (ins Variadic<AnyFlameValue>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // FLAME_REGION_TD
