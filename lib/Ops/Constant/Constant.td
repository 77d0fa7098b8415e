//===- Constant.td - tensors that no input decides --------------------------------------------------------------------===//
#ifndef FLAME_CONSTANT_TD
#define FLAME_CONSTANT_TD

include "flame/IR/FlameBase.td"

def ConstantOp : Flame_PureOp<"constant", [ConstantLike]> {
  let summary = "a tensor whose elements are in the IR";
  let description = [{
    For scalars, shapes and small tables. Elements are dense, a resource blob, or strings. Weights of a model are
    `flame.weight`: their bytes never enter the IR.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyFlameTensor:$result);
  let hasFolder = 1;
}

def WeightOp : Flame_PureOp<"weight"> {
  let summary = "a tensor whose bytes lie in a file";
  let arguments = (ins StrAttr:$name, Flame_WeightRefAttr:$ref, TypeAttr:$type);
  let results = (outs AnyFlameTensor:$result);
}

def IotaOp : Flame_PureOp<"iota", [NotDifferentiable]> {
  let summary = "0, 1, …, n - 1";
  let description = [{ `n` is an i64 tensor of one element (rank 0 or 1). }];
  let arguments = (ins AnyFlameTensor:$n, TypeAttr:$type);
  let results = (outs AnyFlameTensor:$result);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return true; } }];
}

def FillOp : Flame_PureOp<"fill"> {
  let summary = "a tensor of one repeated value";
  let description = [{ `shape` is an i64 vector of sizes; `value` has rank 0. }];
  let arguments = (ins AnyFlameTensor:$shape, AnyFlameTensor:$value);
  let results = (outs AnyFlameTensor:$result);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand == 0; } }];
}

#endif // FLAME_CONSTANT_TD
