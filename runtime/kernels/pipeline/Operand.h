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

/// How the threads of a block share a tile of lines × width elements that they copy again and again, by 16 bytes each: chunks of one
/// place in their lines, whose distance in the tile is the same for all threads.
template <typename T, int lines, int width, int threads> struct Turns {
  static constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk, count = lines * chunks / threads;
  static constexpr int step = threads / chunks; // lines from one of a thread's chunks to its next
  static constexpr bool exist = threads % chunks == 0 && lines * chunks % threads == 0 && count > 0 &&
                                (step % 8 == 0 || (chunks % 8 == 0 && (step & (step - 1)) == 0));
  /// From the first of a thread's chunks in shared memory to number i: the swizzle repeats every eight lines, and of the bits
  /// of a step below that a thread's first line has none.
  FLAME_DEVICE static SharedAddress shared(SharedAddress first, int i) {
    return flip(first, (i * step & 7) * (step % 8 == 0 ? 0 : 16)) + i * step * width * (int)sizeof(T);
  }
};

/// An operand whose tiles move along the inner dim with less to compute than by `fill`.
template <typename Operand, int lines, int width, int threads> constexpr bool hasStreams = false;
template <typename Operand, int lines, int width, int threads>
  requires requires { Operand::template streams<lines, width, threads>; }
constexpr bool hasStreams<Operand, lines, width, threads> = Operand::template streams<lines, width, threads>;

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

  /// A tile that moves along the inner dim by whole tiles: what of its copies stays the same, so that a step takes an instruction or two
  /// for each. Lines that are no part of the result are not copied, since nobody looks at what comes of them.
  template <int lines, int width, int threads> struct Stream {
    using Share = Turns<T, lines, width, threads>;
    const T *from; // the thread's first chunk of the next step
    int to;        // in the stage
    int left;      // lines from there on
    bool usable;
  };
  template <int lines, int width, int threads> static constexpr bool streams = copy == 16 && Turns<T, lines, width, threads>::exist;
  template <int lines, int width, int threads>
  FLAME_DEVICE Stream<lines, width, threads> stream(Index side, Index depth, Index sideEnd) const {
    using Share = Turns<T, lines, width, threads>;
    const int line = threadId() / Share::chunks, chunk = threadId() % Share::chunks, first = chunk * Share::perChunk;
    constexpr bool along = major == Major::Depth;
    Stream<lines, width, threads> s;
    s.from = data + ((along ? side : depth) + line) * pitch + (along ? depth : side) + first;
    s.to = chunkOffset<Share::chunks>(line, chunk);
    s.left = along ? (int)least(sideEnd - side - line, (Index)lines) : side + first < sideEnd ? lines : 0;
    s.usable = isAligned() && (along || side + width <= sideEnd || sideEnd % Share::perChunk == 0);
    return s;
  }
  /// Part `part` of `parts` of a step's copies.
  template <int part, int parts, int lines, int width, int threads>
  FLAME_DEVICE void copyPart(Stream<lines, width, threads> &s, SharedAddress stage, bool wanted) const {
    using Share = Turns<T, lines, width, threads>;
    const int left = wanted ? s.left : 0;
#pragma unroll
    for (int i = Share::count * part / parts; i < Share::count * (part + 1) / parts; ++i) {
      copyAsyncIf(major == Major::Depth ? i * Share::step < left : left > 0, Share::shared(stage + s.to, i), s.from);
      s.from += Share::step * pitch; // not by multiples of a pitch that would all be kept
    }
  }
  template <int lines, int width, int threads> FLAME_DEVICE void advance(Stream<lines, width, threads> &s) const {
    if constexpr (major == Major::Depth)
      s.from += width - lines * pitch;
  }

  /// The tile may be a part of longer lines, of `whole` elements, from element `first` on.
  template <int lines, int width, int threads, int whole = width, bool rarely = false>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index position, Index lineEnd, Index end, int first = 0) const {
    constexpr int perChunk = 16 / (int)sizeof(T), chunks = width / perChunk, wholeChunks = whole / perChunk;
    [[maybe_unused]] constexpr int turns = (lines * chunks + threads - 1) / threads, unrolled = rarely ? 1 : turns;
    const int before = first / perChunk;
    const T *base = data + line * pitch + position;
    const int height = (int)least(lineEnd - line, (Index)lines), reach = (int)least(end - position, (Index)width);
    if constexpr (copy != 0) {
      if (isAligned()) {
        // Most schedules give a thread chunks of one place in their lines.
        constexpr bool straight = threads % chunks == 0;
        const int chunk = threadId() % chunks;
        const int inLine = (reach - chunk * perChunk) * (int)sizeof(T);
#pragma unroll unrolled
        for (int i = 0; i < turns; ++i) {
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
  template <int lines, int width, int threads, int whole = width, bool rarely = false>
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
  template <int lines, int width, int threads, int whole = width, bool rarely = false, typename Index>
  FLAME_DEVICE void fill(unsigned char *shared, Index line, Index position, Index lineEnd, Index end) const {
    constexpr bool along = major == Major::Depth;
    constexpr int columns = along ? lines : width, lineBytes = width * (int)sizeof(Element);
    static_assert(columns % (2 * group) == 0, "whole groups");
    auto part = [&](const auto &operand, int from, int column) {
      if constexpr (along)
        operand.template fill<group, width, threads, width, rarely>(shared + from * lineBytes, line + column, position, lineEnd, end);
      else
        operand.template fill<lines, group, threads, width, rarely>(shared, line, position + column, lineEnd, end, from);
    };
#pragma unroll
    for (int column = 0; column < columns / 2; column += group) {
      part(first, 2 * column, column);
      part(second, 2 * column + group, column);
    }
  }

  /// Of a tile whose lines run along the inner dim, a thread's chunks are one product's, or change sides in the same places for all
  /// threads; of one whose lines run along the side they are one product's.
  template <int lines, int width, int threads> struct Stream {
    const Element *from[2];
    int to, left;
    bool usable, isSecond;
  };
  template <int lines, int width, int threads> struct Sides {
    static constexpr int step = Turns<Element, lines, width, threads>::step;
    static constexpr bool change = major == Major::Depth && group % step == 0,
                          exist = change || major == Major::Side || step % (2 * group) == 0;
    /// Of the product's own columns, those between a thread's first and its number i, and which product it is if they change.
    static constexpr int own(int i) { return change ? i * step / (2 * group) * group + i * step % group : i * step / 2; }
    static constexpr int side(int i) { return change ? i * step / group % 2 : 0; }
  };
  template <int lines, int width, int threads>
  static constexpr bool streams = hasStreams<First, lines, width, threads> && hasStreams<Second, lines, width, threads> &&
                                  Sides<lines, width, threads>::exist;
  template <int lines, int width, int threads, typename Index>
  FLAME_DEVICE Stream<lines, width, threads> stream(Index side, Index depth, Index sideEnd) const {
    using Share = Turns<Element, lines, width, threads>;
    constexpr bool along = major == Major::Depth, change = Sides<lines, width, threads>::change;
    constexpr int columns = along ? lines : width;
    const int line = threadId() / Share::chunks, chunk = threadId() % Share::chunks, inLine = chunk * Share::perChunk;
    const int at = along ? line : inLine, column = change ? at : at / (2 * group) * group + at % group;
    Stream<lines, width, threads> s;
    s.isSecond = !change && at / group % 2 == 1;
    auto begin = [&](const auto &operand) {
      return operand.data + (along ? (side + column) * operand.pitch + depth + inLine : (depth + line) * operand.pitch + side + column);
    };
    s.from[0] = s.isSecond ? begin(second) : begin(first);
    s.from[1] = change ? begin(second) : nullptr;
    s.to = chunkOffset<Share::chunks>(line, chunk);
    s.left = (int)least(sideEnd - side - column, (Index)columns);
    s.usable = first.isAligned() && second.isAligned() && (along || side + columns / 2 <= sideEnd || sideEnd % Share::perChunk == 0);
    return s;
  }
  template <int part, int parts, int lines, int width, int threads>
  FLAME_DEVICE void copyPart(const Stream<lines, width, threads> &s, SharedAddress stage, bool wanted) const {
    using Share = Turns<Element, lines, width, threads>;
    using Each = Sides<lines, width, threads>;
    constexpr bool along = major == Major::Depth;
    const int left = wanted ? s.left : 0;
#pragma unroll
    for (int i = Share::count * part / parts; i < Share::count * (part + 1) / parts; ++i) {
      const auto pitch = Each::side(i) == 1 || s.isSecond ? second.pitch : first.pitch;
      copyAsyncIf((along ? Each::own(i) : 0) < left, Share::shared(stage + s.to, i),
                  s.from[Each::side(i)] + (along ? Each::own(i) : i * Share::step) * pitch);
    }
  }
  template <int lines, int width, int threads> FLAME_DEVICE void advance(Stream<lines, width, threads> &s) const {
    const auto pitch = s.isSecond ? second.pitch : first.pitch;
    s.from[0] += major == Major::Depth ? width : lines * pitch;
    s.from[1] += width; // of lines along the inner dim, if they change sides
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
