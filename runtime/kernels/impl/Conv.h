//===- Conv.h - a convolution as a product -----------------------------------------------------------------------===//
//
// One side of the product are the output channels of one group, the other one the output positions of all images. The
// weight is a plain matrix; the other operand is gathered from x, with 0 where the window leaves it. Where channels come
// first in memory the inner dim is input channel × kernel element, and positions lie side by side; where they come last
// it is kernel element × input channel, and channels are copied 16 bytes at a time.
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

/// The operand gathered from x [images, channels, positions].
template <int rank, typename T, typename Index> struct Gather {
  static constexpr Major major = Major::Side;
  static constexpr bool staged = true, early = false;
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

/// The operand gathered from x [images, positions, channels], whose channels and channels of a group are whole chunks of
/// 16 bytes; x begins at a multiple of 16.
template <int rank, typename T, typename Index> struct GatherLast {
  static constexpr Major major = Major::Depth;
  static constexpr bool staged = false, early = false;
  using Element = T;
  const T *data; // x from the group's first channel on
  ConvShape<rank, Index> shape;
  Index groupChannels;

  /// Where the window of a line begins: its first element, and its position.
  struct Window {
    Index origin, position[rank];
  };
  FLAME_DEVICE Window window(Index line, Index lineEnd) const {
    Window w;
    Index rest = line, offset = 0, pitch = shape.channels;
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      const Index position = rest % shape.out[d] * shape.stride[d] - shape.pad[d];
      w.position[d] = line < lineEnd ? position : shape.in[d]; // outside of x, wherever the tap is
      offset += position * pitch;
      pitch *= shape.in[d];
      rest /= shape.out[d];
    }
    w.origin = offset + rest * pitch;
    return w;
  }
  /// Where an element of the inner dim is in a window.
  struct Tap {
    Index offset, step[rank];
  };
  FLAME_DEVICE Tap tap(Index inner) const {
    Tap t;
    Index rest = inner / groupChannels, pitch = shape.channels;
    t.offset = inner % groupChannels;
#pragma unroll
    for (int d = rank - 1; d >= 0; --d) {
      t.step[d] = rest % shape.kernel[d] * shape.dilation[d];
      t.offset += t.step[d] * pitch;
      pitch *= shape.in[d];
      rest /= shape.kernel[d];
    }
    return t;
  }
  FLAME_DEVICE bool isInside(const Window &w, const Tap &t) const {
    bool inside = true;
#pragma unroll
    for (int d = 0; d < rank; ++d)
      inside = inside && isIndex(w.position[d] + t.step[d], shape.in[d]);
    return inside;
  }

  /// The windows of the lines that a thread copies chunks of, which stay the same throughout, and the tap that is next.
  template <int lines, int width, int threads> struct Stream {
    static constexpr bool usable = true;
    Window windows[Turns<T, lines, width, threads>::count];
    Index inner;
    Tap tap;
    int to; // in the stage
  };
  template <int lines, int width, int threads> static constexpr bool streams = Turns<T, lines, width, threads>::exist;
  template <int lines, int width, int threads>
  FLAME_DEVICE Stream<lines, width, threads> stream(Index line, Index depth, Index lineEnd) const {
    using Share = Turns<T, lines, width, threads>;
    const int at = threadId() / Share::chunks, chunk = threadId() % Share::chunks;
    Stream<lines, width, threads> s;
#pragma unroll
    for (int i = 0; i < Share::count; ++i)
      s.windows[i] = window(line + at + i * Share::step, lineEnd);
    s.inner = depth + chunk * Share::perChunk;
    s.tap = tap(s.inner);
    s.to = chunkOffset<Share::chunks>(at, chunk);
    return s;
  }
  template <int part, int parts, int lines, int width, int threads>
  FLAME_DEVICE void copyPart(const Stream<lines, width, threads> &s, SharedAddress stage, bool wanted) const {
    using Share = Turns<T, lines, width, threads>;
#pragma unroll
    for (int i = Share::count * part / parts; i < Share::count * (part + 1) / parts; ++i) {
      const bool inside = isInside(s.windows[i], s.tap);
      copyAsyncOrZero(wanted, inside, Share::shared(stage + s.to, i), data + (s.windows[i].origin + s.tap.offset));
    }
  }
  template <int lines, int width, int threads> FLAME_DEVICE void advance(Stream<lines, width, threads> &s) const {
    s.inner += width;
    s.tap = tap(s.inner);
  }

  template <int lines, int width, int threads, int whole = width, bool rarely = false>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index depth, Index lineEnd, Index depthEnd) const {
    constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk;
#pragma unroll 1
    for (int c = threadId(); c < lines * chunks; c += threads) {
      const int at = c / chunks, chunk = c % chunks;
      const Index inner = depth + chunk * perChunk;
      const Window w = window(line + at, lineEnd);
      const Tap t = tap(inner);
      copyAsyncOrZero(true, inner < depthEnd && isInside(w, t), sharedAddress(shared) + chunkOffset<chunks>(at, chunk),
                      data + (w.origin + t.offset));
    }
  }
};

} // namespace flame
