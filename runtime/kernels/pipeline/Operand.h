//===- Operand.h - where the elements of an operand come from ----------------------------------------------------===//
//
// An operand is a matrix of lines: element i of a line is contiguous in memory. `Major::Depth`: a line is a row (x) or
// column (y) and runs along the inner dim; `Major::Side`: a line is one position of the inner dim. `fill` brings a tile
// of lines × width into shared memory, zeros where the operand ends; `valid` bounds are exclusive positions.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Copy.h"
#include "tile/Swizzle.h"
#include "tile/Types.h"

namespace flame {

/// A matrix in memory, `pitch` elements from line to line. `copy`: bytes of an asynchronous copy (16, 8, 4) if data and
/// pitch turn out to be aligned to it; what is not goes element by element through registers. 0: never aligned.
/// `constant`: no kernel of a run writes it, so that it may be read before the kernels before this one have ended.
template <typename T, Major order, int copy, typename Index, bool constant = false> struct Plain {
  static constexpr Major major = order;
  static constexpr bool staged = false, early = constant;
  using Element = T;
  const T *data;
  Index pitch;

  FLAME_DEVICE bool isAligned() const {
    return copy != 0 && (((unsigned long long)data | (unsigned long long)(pitch * (Index)sizeof(T))) & (copy - 1)) == 0;
  }
  /// Whether every line begins at a multiple of 16 bytes; what asynchronous copies ask for may be less.
  FLAME_DEVICE bool isVectorAligned() const {
    return (((unsigned long long)data | (unsigned long long)pitch * sizeof(T)) & 15) == 0;
  }
  FLAME_DEVICE const T *lineOf(int, Index line) const { return data + line * pitch; }

  /// The tile may be a part of longer lines, of `whole` elements, from element `first` on.
  template <int lines, int width, int threads, int whole = width>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index position, Index lineEnd, Index end, int first = 0) const {
    constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk, wholeChunks = whole / perChunk;
    const int before = first / perChunk;
    const T *base = data + line * pitch + position;
    const int height = (int)least(lineEnd - line, (Index)lines), reach = (int)least(end - position, (Index)width);
    if constexpr (copy != 0) {
      if (isAligned()) {
        // Most schedules give a thread chunks of one place in their lines.
        constexpr bool straight = threads % chunks == 0;
        const int chunk = threadId() % chunks;
        const int inLine = (reach - chunk * perChunk) * (int)sizeof(T);
#pragma unroll
        for (int i = 0; i < (lines * chunks + threads - 1) / threads; ++i) {
          const int c = threadId() + i * threads;
          const int at = straight ? threadId() / chunks + i * (threads / chunks) : c / chunks,
                    place = straight ? chunk : c % chunks;
          if (lines * chunks % threads != 0 && c >= lines * chunks)
            break;
          const int left = straight ? inLine : (reach - place * perChunk) * (int)sizeof(T);
          const int valid = at < height ? left : 0;
          const T *from = base + at * pitch + place * perChunk;
          const SharedAddress to = sharedAddress(shared) + chunkOffset<wholeChunks>(at, before + place);
#pragma unroll
          for (int b = 0; b < 16; b += copy) {
            const int bytes = valid < b ? 0 : valid > b + copy ? copy : valid - b;
            copyAsync<copy>(to + b, bytes > 0 ? (const unsigned char *)from + b : (const unsigned char *)data, bytes);
          }
        }
        return;
      }
    }
#pragma unroll 1
    for (int c = threadId(); c < lines * chunks; c += threads) {
      const int at = c / chunks, inLine = c % chunks * perChunk;
      const int valid = at < height ? reach - inLine : 0;
      const T *from = base + at * pitch + inLine;
      Pack<T, perChunk> values;
#pragma unroll
      for (int e = 0; e < perChunk; ++e)
        values.values[e] = e < valid ? from[e] : T(0);
      *(Pack<T, perChunk> *)(shared + chunkOffset<wholeChunks>(at, before + c % chunks)) = values;
    }
  }

  /// The same for a tile whose lines are positions of the inner dim and whose elements are whole words.
  template <int lines, int width, int linePitch, int threads>
  FLAME_DEVICE void fillWords(T *shared, Index side, Index depth, Index sideEnd, Index depthEnd) const {
    const int inner = (int)least(depthEnd - depth, (Index)lines), reach = (int)least(sideEnd - side, (Index)width);
    if constexpr (major == Major::Side && copy == 16) {
      if (isAligned()) {
        constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk;
        const T *base = data + depth * pitch + side;
#pragma unroll
        for (int i = 0; i < (lines * chunks + threads - 1) / threads; ++i) {
          const int c = threadId() + i * threads, k = c / chunks, first = c % chunks * perChunk;
          if (lines * chunks % threads != 0 && c >= lines * chunks)
            break;
          int valid = k < inner ? (reach - first) * (int)sizeof(T) : 0;
          valid = valid < 0 ? 0 : valid > 16 ? 16 : valid;
          copyAsync<16>(sharedAddress(shared + k * linePitch + first), valid > 0 ? base + k * pitch + first : data, valid);
        }
        return;
      }
    }
    static_assert(lines * width % threads == 0, "whole turns");
    const T *base = major == Major::Side ? data + depth * pitch + side : data + side * pitch + depth;
#pragma unroll
    for (int i = 0; i < lines * width / threads; ++i) {
      const int e = threadId() + i * threads;
      const int k = major == Major::Side ? e / width : e % lines, at = major == Major::Side ? e % width : e / lines;
      const bool inside = k < inner && at < reach;
      const T *from = base + (major == Major::Side ? k * pitch + at : at * pitch + k);
      copyAsync<(int)sizeof(T)>(sharedAddress(shared + k * linePitch + at), inside ? from : data, inside ? (int)sizeof(T) : 0);
    }
  }
};

/// The chunks of a tile that one thread holds.
template <typename T, int lines, int width, int threads> struct Stage {
  static constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk;
  static constexpr int count = (lines * chunks + threads - 1) / threads;
  // A stage of no lines is never used.
  Pack<T, perChunk> values[count > 0 ? count : 1];

  FLAME_DEVICE void flush(unsigned char *shared) const {
#pragma unroll
    for (int i = 0; i < count; ++i)
      if (const int c = threadId() + i * threads; lines * chunks % threads == 0 || c < lines * chunks)
        *(Pack<T, perChunk> *)(shared + chunkOffset<chunks>(c / chunks, c % chunks)) = values[i];
  }
};

/// Elements that are computed: element(row or column, position of the inner dim).
template <typename T, Major order, typename F> struct Computed {
  static constexpr Major major = order;
  static constexpr bool staged = true, early = false;
  using Element = T;
  F element;

  template <int lines, int width, int threads, typename Index>
  FLAME_DEVICE void load(Stage<T, lines, width, threads> &stage, Index line, Index position, Index lineEnd,
                         Index end) const {
    using S = Stage<T, lines, width, threads>;
#pragma unroll
    for (int i = 0; i < S::count; ++i) {
      const int c = threadId() + i * threads;
      const Index at = line + c / S::chunks, first = position + c % S::chunks * S::perChunk;
#pragma unroll
      for (int e = 0; e < S::perChunk; ++e) {
        stage.values[i].values[e] = T(0);
        if (c / S::chunks < lines && at < lineEnd && first + e < end)
          stage.values[i].values[e] = major == Major::Depth ? element(at, first + e) : element(first + e, at);
      }
    }
  }

  /// Without a stage in registers, for a tile that is filled once.
  template <int lines, int width, int threads, int whole = width>
  FLAME_DEVICE void fill(unsigned char *shared, long long line, long long position, long long lineEnd, long long end,
                         int first = 0) const {
    constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk;
#pragma unroll 1
    for (int c = threadId(); c < lines * chunks; c += threads) {
      const long long at = line + c / chunks, along = position + c % chunks * perChunk;
      Pack<T, perChunk> values;
#pragma unroll
      for (int e = 0; e < perChunk; ++e)
        values.values[e] = at < lineEnd && along + e < end
                               ? (major == Major::Depth ? element(at, along + e) : element(along + e, at))
                               : T(0);
      *(Pack<T, perChunk> *)(shared + chunkOffset<whole / perChunk>(c / chunks, first / perChunk + c % chunks)) = values;
    }
  }

  template <int lines, int width, int linePitch, int threads, typename Index>
  FLAME_DEVICE void fillWords(T *shared, Index side, Index depth, Index sideEnd, Index depthEnd) const {
#pragma unroll 1
    for (int e = threadId(); e < lines * width; e += threads) {
      const int k = major == Major::Side ? e / width : e % lines, at = major == Major::Side ? e % width : e / lines;
      shared[k * linePitch + at] = side + at < sideEnd && depth + k < depthEnd ? element(side + at, depth + k) : T(0);
    }
  }
};

template <typename T, Major order, typename F> FLAME_DEVICE Computed<T, order, F> computed(F element) {
  return {element};
}

/// Two plain operands one after the other along the inner dim, of which the first ends at `border`, between two tiles.
template <typename First, typename Second, typename Index> struct Joined {
  static constexpr Major major = Major::Depth;
  static constexpr bool staged = false, early = First::early && Second::early;
  using Element = typename First::Element;
  static_assert(First::major == major && Second::major == major, "lines along the inner dim");
  First first;
  Second second;
  Index border;

  template <int lines, int width, int threads>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index position, Index lineEnd, Index end) const {
    if (position < border)
      first.template fill<lines, width, threads>(shared, line, position, lineEnd, least(end, border));
    else
      second.template fill<lines, width, threads>(shared, line, position - border, lineEnd, end - border);
  }
};
template <typename Index, typename First, typename Second>
FLAME_DEVICE Joined<First, Second, Index> joined(First first, Second second, Index border) {
  return {first, second, border};
}

/// The columns of two products of the same rows: in a tile, `group` columns of the first and `group` of the second take turns,
/// so that a warp whose tile is two groups wide has both sums of an element.
template <int group, typename First, typename Second> struct Paired {
  static constexpr Major major = First::major;
  static constexpr bool staged = false, early = First::early && Second::early;
  static constexpr int products = 2;
  using Element = typename First::Element;
  static_assert(Second::major == major && group % 8 == 0, "the swizzle repeats every eight lines");
  First first;
  Second second;

  /// `line` and `position` count each product's own columns.
  template <int lines, int width, int threads, typename Index>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index position, Index lineEnd, Index end) const {
    constexpr bool along = major == Major::Depth;
    constexpr int columns = along ? lines : width, lineBytes = width * (int)sizeof(Element);
    static_assert(columns % (2 * group) == 0, "whole groups");
    auto part = [&](const auto &operand, int from, int column) {
      if constexpr (along)
        operand.template fill<group, width, threads>(shared + from * lineBytes, line + column, position, lineEnd, end);
      else
        operand.template fill<lines, group, threads, width>(shared, line, position + column, lineEnd, end, from);
    };
#pragma unroll
    for (int column = 0; column < columns / 2; column += group) {
      part(first, 2 * column, column);
      part(second, 2 * column + group, column);
    }
  }

  /// Of one of the products.
  template <typename Index> FLAME_DEVICE const Element *lineOf(int product, Index line) const {
    return product == 0 ? first.lineOf(0, line) : second.lineOf(0, line);
  }
  FLAME_DEVICE bool isVectorAligned() const { return first.isVectorAligned() && second.isVectorAligned(); }
};
template <int group, typename First, typename Second> FLAME_DEVICE Paired<group, First, Second> paired(First first, Second second) {
  return {first, second};
}

} // namespace flame
