//===- Image.td - sampling at computed positions ----------------------------------------------------------------------===//
#ifndef FLAME_IMAGE_TD
#define FLAME_IMAGE_TD

include "flame/IR/FlameBase.td"

class Flame_ImageOp<string mnemonic, list<Trait> traits = []> : Flame_PureOp<mnemonic, traits> {
  let results = (outs AnyFlameTensor:$result);
}

def ResizeOp : Flame_ImageOp<"resize"> {
  let summary = "x resampled along one axis to `size` elements";
  let description = [{
    Resizing is separable: an image takes one op an axis. `size` is an i64 tensor of one element. `transform` is a float vector
    [scale] or [scale, start, end] (the part of the axis that tf_crop_and_resize takes, in units of its length); without
    it the scale is size / dim.

    `mode` is nearest, linear or cubic (with `cubic_coeff`); `coordinates` is half_pixel, half_pixel_symmetric, pytorch_half_pixel,
    align_corners, asymmetric or tf_crop_and_resize, where positions outside of x give `extrapolation`; `rounding` of nearest
    is round_prefer_floor, round_prefer_ceil, floor or ceil. `antialias` widens the filter when the scale is below 1.
    Beyond the edges the edge element repeats or, with `exclude_outside`, weights there are zero and the others scaled up.
    Integers are interpolated as floats, rounded to nearest even and saturated.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$size, Optional<AnyFlameTensor>:$transform, I64Attr:$axis,
                   StrAttr:$mode, StrAttr:$coordinates, DefaultValuedAttr<StrAttr, "\"round_prefer_floor\"">:$rounding,
                   DefaultValuedAttr<BoolAttr, "false">:$antialias, DefaultValuedAttr<BoolAttr, "false">:$exclude_outside,
                   DefaultValuedAttr<F64Attr, "-0.75">:$cubic_coeff, DefaultValuedAttr<F64Attr, "0.0">:$extrapolation);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand == 1; } }];
}

def GridSampleOp : Flame_ImageOp<"grid_sample"> {
  let summary = "x sampled at positions that a grid names";
  let description = [{
    x is [batch, channels, spatial…], grid [batch, spatial of the result…, number of spatial dims]: positions in [-1, 1], the last
    dimension of x first. `mode` is nearest, linear or cubic, `padding` zeros, border or reflection.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$grid, StrAttr:$mode, StrAttr:$padding, BoolAttr:$align_corners);
}

def RoiAlignOp : Flame_ImageOp<"roi_align"> {
  let summary = "regions of feature maps, each pooled to a fixed size from bilinear samples";
  let description = [{
    x [batch, channels, h, w], rois [n, 4] as x1, y1, x2, y2, batch_indices [n]. `mode` is avg or max; `sampling_ratio` 0
    takes as many samples as a bin is wide. `half_pixel` shifts the regions by half a pixel.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$rois, AnyFlameTensor:$batch_indices, StrAttr:$mode,
                   I64Attr:$output_height, I64Attr:$output_width, I64Attr:$sampling_ratio, F64Attr:$spatial_scale,
                   BoolAttr:$half_pixel);
}

def MaxRoiPoolOp : Flame_ImageOp<"max_roi_pool"> {
  let summary = "the maximum of each bin of regions of feature maps";
  let description = [{ x [batch, channels, h, w]; rois [n, 5] as batch index, x1, y1, x2, y2 (both ends included). }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$rois, I64Attr:$output_height, I64Attr:$output_width,
                   F64Attr:$spatial_scale);
}

def Col2ImOp : Flame_ImageOp<"col2im"> {
  let summary = "the sum of overlapping blocks: the transpose of cutting an image into columns";
  let description = [{
    x [batch, channels * block elements, blocks]; `image` and `block` are i64 vectors of spatial sizes.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$image, AnyFlameTensor:$block, DenseI64ArrayAttr:$strides,
                   DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads);
  let extraClassDeclaration = [{ bool isShapeOperand(unsigned operand) { return operand >= 1; } }];
}

def DetOp : Flame_PureOp<"det"> {
  let summary = "determinants of the matrices in the last two dimensions";
  let description = [{ `factors` is the space the elimination works in: the upper triangle of the LU factors. }];
  let arguments = (ins AnyFlameTensor:$x);
  let results = (outs AnyFlameTensor:$result, AnyFlameTensor:$factors);
}

#endif // FLAME_IMAGE_TD
