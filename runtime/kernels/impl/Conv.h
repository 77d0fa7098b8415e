//===- Conv.h - a convolution as a product
//----------------------------------------------------------------------------===//
//
// The rows of the product are output channels of one group, its columns the output positions of all images, its inner
// dim input channel × kernel element. The weight is a plain matrix; the other operand is gathered from x, with 0 where
// the window leaves it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "pipeline/Operand.h"

namespace flame {

/// Sizes of a convolution over `rank` dims; strides and dilations too are literals in the kernel's text.
template <int rank, typename Index> struct ConvShape {
  Index channels, groupChannels; // of x; of x in a group
  Index in[rank], out[rank], kernel[rank], stride[rank], dilation[rank], pad[rank];
};

template <int rank, typename T, typename Index> struct Gather {
  const T *data; // x from the group's first channel on
  ConvShape<rank, Index> shape;

  /// Element (column, inner) of the gathered operand.
  FLAME_DEVICE T operator()(Index column, Index inner) const {
    Index position[rank];
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      const Index tap = inner % shape.kernel[d], at = column % shape.out[d];
      inner /= shape.kernel[d];
      column /= shape.out[d];
      position[d] = at * shape.stride[d] - shape.pad[d] + tap * shape.dilation[d];
    }
    Index offset = column * shape.channels + inner;
    bool inside = true;
#pragma unroll
    for (int d = 0; d < rank; ++d) {
      inside = inside && position[d] >= 0 && position[d] < shape.in[d];
      offset = offset * shape.in[d] + position[d];
    }
    return inside ? data[offset] : T(0);
  }
};

} // namespace flame
