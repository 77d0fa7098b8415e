//===- Conv.h - a convolution as a product -----------------------------------------------------------------------===//
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

  /// Where the window of a column begins: its image's first channel, and its position.
  struct Window {
    Index channel, position[rank];
  };
  FLAME_DEVICE Window window(Index column) const {
    Window w;
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      w.position[d] = column % shape.out[d] * shape.stride[d] - shape.pad[d];
      column /= shape.out[d];
    }
    w.channel = column * shape.channels;
    return w;
  }
  /// Where an element of the inner dim is in a window.
  FLAME_DEVICE Window tap(Index inner) const {
    Window t;
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      t.position[d] = inner % shape.kernel[d] * shape.dilation[d];
      inner /= shape.kernel[d];
    }
    t.channel = inner;
    return t;
  }
  /// The element's address; null outside of x.
  FLAME_DEVICE const T *find(const Window &w, const Window &t) const {
    Index offset = w.channel + t.channel;
    bool inside = true;
#pragma unroll
    for (int d = 0; d < rank; ++d) {
      const Index position = w.position[d] + t.position[d];
      inside = inside && position >= 0 && position < shape.in[d];
      offset = offset * shape.in[d] + position;
    }
    return inside ? data + offset : nullptr;
  }

  template <int lines, int width, int threads>
  FLAME_DEVICE void load(Stage<T, lines, width, threads> &stage, Index line, Index position, Index lineEnd,
                         Index end) const {
    using S = Stage<T, lines, width, threads>;
    static_assert(threads % S::chunks == 0, "a thread's chunks have the same columns");
    const Index first = position + threadId() % S::chunks * S::perChunk;
    Window windows[S::perChunk];
#pragma unroll
    for (int e = 0; e < S::perChunk; ++e)
      windows[e] = window(first + e);
#pragma unroll
    for (int i = 0; i < S::count; ++i) {
      const int at = (threadId() + i * threads) / S::chunks;
      const bool exists = at < lines && line + at < lineEnd;
      const Window t = tap(line + at);
#pragma unroll
      for (int e = 0; e < S::perChunk; ++e) {
        const T *from = exists && first + e < end ? find(windows[e], t) : nullptr;
        stage.values[i].values[e] = from ? *from : T(0);
      }
    }
  }

  template <int lines, int width, int linePitch, int threads>
  FLAME_DEVICE void fillWords(T *shared, Index side, Index depth, Index sideEnd, Index depthEnd) const {
#pragma unroll
    for (int i = 0; i < lines * width / threads; ++i) {
      const int e = threadId() + i * threads, k = e / width, at = e % width;
      const T *from = side + at < sideEnd && depth + k < depthEnd ? find(window(side + at), tap(depth + k)) : nullptr;
      copyAsync<(int)sizeof(T)>(sharedAddress(shared + k * linePitch + at), from ? from : data, from ? (int)sizeof(T) : 0);
    }
  }
};

} // namespace flame
