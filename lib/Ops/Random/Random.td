//===- Random.td - counter-based random numbers -----------------------------------------------------------------------===//
#ifndef FLAME_RANDOM_TD
#define FLAME_RANDOM_TD

include "flame/IR/FlameBase.td"

def RandomOp : Flame_PureOp<"random", [NotDifferentiable]> {
  let summary = "independent random numbers, a pure function of seed and position";
  let description = [{
    Philox4x32-10: the key is `seed` (an i64 scalar), the counter the row-major position of the element. `distribution` is
    "uniform" (in [0, 1): multiples of 2^-24, or 2^-53 for f64) or "normal" (mean 0, variance 1, by Box and Muller). The
    same seed gives the same numbers on every target and under every fusion; the element type is f32 or f64.
  }];
  let arguments = (ins AnyFlameTensor:$shape, AnyFlameTensor:$seed, StrAttr:$distribution, TypeAttr:$type);
  let results = (outs AnyFlameTensor:$result);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand == 0; } }];
}

#endif // FLAME_RANDOM_TD
