//===- FlameInterfaces.td - what the compiler asks of every op --------------------------------------------------------===//
#ifndef FLAME_INTERFACES_TD
#define FLAME_INTERFACES_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/Interfaces.td"

def InferInterface : OpInterface<"InferInterface"> {
  let description = [{
    Checks the operands and attributes and infers the results: element types, symbolic dims and, for small integer
    tensors that shape computations use, symbolic element values. The verifier, the graph builder and the symbolic shape
    analysis are all this one method.
  }];
  let cppNamespace = "::flame";
  let methods = [
    InterfaceMethod<"Appends one entry per result; on bad operands emits an op error and fails.",
      "::llvm::LogicalResult", "inferResults",
      (ins "::flame::ShapeContext &":$context, "::llvm::SmallVectorImpl<::flame::ResultInfo> &":$results)>,
    InterfaceMethod<[{True for an operand that the op uses only through ShapeContext::values / element (a target shape, starts and
      steps of a slice): kernels get its numbers as arguments, never its buffer.}],
      "bool", "isShapeOperand", (ins "unsigned":$operand), [{}], [{ return false; }]>
  ];
}

def PointwiseInterface : OpInterface<"PointwiseInterface"> {
  let description = [{
    An op whose result element depends on the (broadcast) operand elements at the same index alone. `buildScalar` makes
    that computation out of `arith` and `math` ops; it works alike on scalars and on vectors.
  }];
  let cppNamespace = "::flame";
  let methods = [
    InterfaceMethod<"Builds the result from operand scalars in compute types (see ScalarBuilder).",
      "::mlir::Value", "buildScalar", (ins "::flame::ScalarBuilder &":$builder, "::mlir::ValueRange":$operands)>
  ];
}

def ElementInterface : OpInterface<"ElementInterface"> {
  let description = [{
    An op whose result element at an index can be computed by pulling operand elements at computed indices: data
    movement, reductions, windows, gathers.
  }];
  let cppNamespace = "::flame";
  let methods = [
    InterfaceMethod<"Builds the element of a result at an index (one `index` value per dimension).",
      "::mlir::Value", "buildElement",
      (ins "::flame::ElementBuilder &":$builder, "unsigned":$result, "::mlir::ValueRange":$index)>,
    InterfaceMethod<"True if one element costs no more than a few loads, so that recomputing it in a consumer is free.",
      "bool", "isCheap", (ins), [{}], [{ return true; }]>
  ];
}

def LoopsInterface : OpInterface<"LoopsInterface"> {
  let description = [{
    An op that is neither pointwise nor a pull: it writes its results with loops of its own (scatter, scans).
  }];
  let cppNamespace = "::flame";
  let methods = [
    InterfaceMethod<"Extent of the parallel iteration space (1: sequential).",
      "::flame::DimExpr", "parallelExtent", (ins "::flame::ShapeContext &":$context)>,
    InterfaceMethod<"Builds the loops for iterations [begin, end) of that space.",
      "void", "buildLoops",
      (ins "::flame::LoopsBuilder &":$builder, "::mlir::Value":$begin, "::mlir::Value":$end)>
  ];
}

def CostInterface : OpInterface<"CostInterface"> {
  let description = [{ FLOPs of an op as an expression of its dims; bytes follow from operands and results. }];
  let cppNamespace = "::flame";
  let methods = [
    InterfaceMethod<"Floating-point (or integer) operations, a multiply-add counted as two.",
      "::flame::DimExpr", "flops", (ins "::flame::ShapeContext &":$context)>
  ];
}

#endif // FLAME_INTERFACES_TD
