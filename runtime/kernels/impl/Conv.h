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
  Index channels; // of x, all groups
  Index in[rank], out[rank], kernel[rank], stride[rank], dilation[rank], pad[rank];
};

/// The gathered operand.
template <int rank, typename T, typename Index> struct Gather {
  static constexpr Major major = Major::Side;
  static constexpr bool staged = true;
  using Element = T;
  const T *data; // x from the group's first channel on
  ConvShape<rank, Index> shape;

  /// Where element (column, inner) is; null outside of x.
  FLAME_DEVICE const T *find(Index column, Index inner) const {
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
    return inside ? data + offset : nullptr;
  }

  template <int lines, int width, int threads>
  FLAME_DEVICE void load(Stage<T, lines, width, threads> &stage, Index line, Index position, Index lineEnd,
                         Index end) const {
    auto element = [&](Index column, Index inner) {
      const T *from = find(column, inner);
      return from ? *from : T(0);
    };
    computed<T, Major::Side>(element).load(stage, line, position, lineEnd, end);
  }

  template <int lines, int width, int linePitch, int threads>
  FLAME_DEVICE void fillWords(T *shared, Index side, Index depth, Index sideEnd, Index depthEnd) const {
#pragma unroll
    for (int i = 0; i < lines * width / threads; ++i) {
      const int e = threadId() + i * threads, k = e / width, at = e % width;
      const T *from = side + at < sideEnd && depth + k < depthEnd ? find(side + at, depth + k) : nullptr;
      copyAsync<(int)sizeof(T)>(shared + k * linePitch + at, from ? from : data, from ? (int)sizeof(T) : 0);
    }
  }
};

} // namespace flame
