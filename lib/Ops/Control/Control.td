//===- Control.td - branches and loops ----------------------------------------------------------------------------===//
#ifndef FLAME_CONTROL_TD
#define FLAME_CONTROL_TD

include "flame/IR/FlameBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

class Flame_ControlOp<string mnemonic> : Flame_Op<mnemonic, [SingleBlock, RecursiveMemoryEffects]>;

def IfOp : Flame_ControlOp<"if"> {
  let summary = "the values of one of two branches";
  let description = [{
    `condition` is a bool of one element. The branches see all values around them; each yields a value for every result.
    Results have the element type and rank that both branches agree on; a dim in which they differ is known only at run
    time.

    ```mlir
    %0 = flame.if %condition : (tensor<i1>) -> tensor<?xf32> {
      flame.yield %a : tensor<2xf32>
    } else {
      flame.yield %b : tensor<3xf32>
    }
    ```
  }];
  let arguments = (ins AnyFlameTensor:$condition);
  let results = (outs Variadic<AnyFlameValue>:$outputs);
  let regions = (region SizedRegion<1>:$thenRegion, SizedRegion<1>:$elseRegion);
  let assemblyFormat = [{
    $condition attr-dict `:` functional-type($condition, $outputs) $thenRegion `else` $elseRegion
  }];
  let hasCanonicalizer = 1;
}

def LoopOp : Flame_ControlOp<"loop"> {
  let summary = "a counted or conditional loop";
  let description = [{
    `for (i = 0; i < trip && condition; ++i)`. Operands: the trip count (i64, one element) if `has_trip`, the condition
    before the first iteration (bool, one element) if `has_condition`, then the carried values. The body sees all values
    around the loop; its arguments are `i` (`tensor<i64>`), the condition (`tensor<i1>`) and the carried values; it yields
    the condition, the carried values, and one tensor for each scan output. Results: the last carried values, then the scan
    outputs, each the tensors of all iterations stacked along a new axis 0.

    `fixed`, if given, has an array per carried value: the dims that are unknown numbers, but which no iteration changes.
    Dims that the type of a body argument states are fixed anyway.

    ```mlir
    %sum, %all = flame.loop %n, %zero {has_trip = true, has_condition = false}
        : (tensor<i64>, tensor<4xf32>) -> (tensor<4xf32>, tensor<?x4xf32>) {
    ^body(%i: tensor<i64>, %condition: tensor<i1>, %total: tensor<4xf32>):
      %next = flame.add %total, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
      flame.yield %condition, %next, %next : tensor<i1>, tensor<4xf32>, tensor<4xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<AnyFlameValue>:$inputs, BoolAttr:$has_trip, BoolAttr:$has_condition,
                   OptionalAttr<ArrayAttr>:$fixed);
  let results = (outs Variadic<AnyFlameValue>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "($inputs^)? attr-dict `:` functional-type($inputs, $outputs) $body";
  let extraClassDeclaration = [{
    /// Null if there is none.
    ::mlir::Value getTrip() { return getHasTrip() ? getInputs()[0] : ::mlir::Value(); }
    ::mlir::Value getCondition() { return getHasCondition() ? getInputs()[getHasTrip()] : ::mlir::Value(); }
    ::mlir::OperandRange getCarried() { return getInputs().drop_front(unsigned(getHasTrip()) + unsigned(getHasCondition())); }
    /// True if dim `d` of carried value `i` is the same before and after every iteration.
    bool isFixed(unsigned i, int64_t d);
    /// The trip count is a number of the plan, where that can tell it.
    bool isShapeOperand(unsigned operand) { return getHasTrip() && operand == 0; }
  }];
}

#endif // FLAME_CONTROL_TD
