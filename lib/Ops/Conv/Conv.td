//===- Conv.td - convolutions -----------------------------------------------------------------------------------------===//
//
// Data are laid out N C D1 … Dn. `pads` is an i64 vector of 2n elements, all begins before all ends, as in ONNX; it is an
// operand because automatic padding depends on sizes.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_CONV_TD
#define FLAME_CONV_TD

include "flame/IR/FlameBase.td"

class Flame_ConvOp<string mnemonic, list<Trait> traits = []> : Flame_PureOp<mnemonic, traits> {
  let results = (outs AnyFlameTensor:$result);
}

def ConvOp : Flame_ConvOp<"conv", [ConvAnchor]> {
  let summary = "convolution over n spatial dims";
  let description = [{
    x: [N, C, D…], w: [M, C / groups, K…], result: [N, M, O…] with
    O = floor((D + pads − dilation (K − 1) − 1) / stride) + 1. Elements outside of x are 0. Integers are multiplied and summed
    in their own type: cast before, if it is too narrow.

    With `packed_shape`, the dims of the weight that was, w is [groups, ceil(M / groups / p), C / groups · ΠK, p]: of each group the
    output channels in panels of p (`pack_panels`). It may have the compute type of x's elements.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$w, AnyFlameTensor:$pads, DenseI64ArrayAttr:$strides,
                   DenseI64ArrayAttr:$dilations, DefaultValuedAttr<I64Attr, "1">:$groups,
                   OptionalAttr<DenseI64ArrayAttr>:$packed_shape);
  let extraClassDeclaration = [{
    bool isShapeOperand(unsigned operand) { return operand == 2; }
    /// The dims of the weight, packed or not.
    ::llvm::SmallVector<::flame::DimExpr> weightDims(::flame::ShapeContext &context);
  }];
}

def ConvTransposeOp : Flame_ConvOp<"conv_transpose"> {
  let summary = "transposed convolution: the adjoint of conv with respect to x";
  let description = [{
    x: [N, C, D…], w: [C, M / groups, K…], result: [N, M, O…] with
    O = stride (D − 1) + output_padding + dilation (K − 1) + 1 − pads. `output_padding` is an i64 vector of n elements.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$w, AnyFlameTensor:$pads, AnyFlameTensor:$output_padding,
                   DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DefaultValuedAttr<I64Attr, "1">:$groups);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand >= 2; } }];
}

def DeformConvOp : Flame_ConvOp<"deform_conv"> {
  let summary = "convolution that reads x at displaced positions, interpolating linearly";
  let description = [{
    x, w and result as in conv. offset: [N, offset_groups · ΠK · n, O…]: the displacement of each kernel element along each of the n
    spatial dims; mask (if there): [N, offset_groups · ΠK, O…], a factor. Elements outside of x are 0.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$w, AnyFlameTensor:$pads, AnyFlameTensor:$offset,
                   Optional<AnyFlameTensor>:$mask, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations,
                   DefaultValuedAttr<I64Attr, "1">:$groups, DefaultValuedAttr<I64Attr, "1">:$offset_groups);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand == 2; } }];
}

#endif // FLAME_CONV_TD
