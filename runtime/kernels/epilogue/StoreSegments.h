//===- StoreSegments.h - from a warpgroup's sums to results of whole segments --------------------------------------===//
//
// The columns of a product are segments of `width`, such as the heads of a projection, and an element of the result may
// depend on its whole segment through a sum (a norm), and on one other column of it (a rotation). Parts of the columns, such as queries,
// keys and values, have functions of their own.
//
// A warp adds up a segment's sum where wgmma leaves the product, in registers: there a thread has columns 8 j + 2 l and 8 j + 2 l + 1 of a row,
// l its number among the row's four, so both of a pair. What depends on the sum is computed on the way through shared memory, row by row, a
// pair a lane: then what all rows read, such as weights, is read once, and what differs from row to row comes in whole lines.
//
// All of this is long, so it stands in a kernel as seldom as can be: once for all slices of 64 rows; what rounds the product once for all
// parts; and parts that differ in what they read alone are one, whose functions are told which of them it is.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreGroup.h"

namespace flame {

/// Which two columns of a segment are pair i: 2 i and 2 i + 1, or i and i + width / 2.
enum class Pairing { Neighbours, Halves };

/// Of a part without a sum.
struct NoFold {};
template <typename Fold> constexpr bool isFold = true;
template <> constexpr bool isFold<NoFold> = false;
/// What becomes of the segments of a part, or of several, which end at columns `ends`. Of pair i with elements (a, b) of the product as they would
/// be stored: fold(outer, inner, part, segment, i, a, b) is its part of the segment's sum, finish(sum) what the row's elements need of it;
/// first(outer, inner, part, segment, i, a, b, finished) and second(…) are the elements that are stored at the places of pair i by `out`.
/// The row is outer * size + inner; `segment` counts from where the part begins.
template <typename Fold, typename Finish, typename First, typename Second, Pairing in_, Pairing out_, int... ends> struct SegmentPart {
  static constexpr int end = [] {
    int last = 0;
    ((last = ends), ...);
    return last;
  }();
  static constexpr bool folds = isFold<Fold>;
  static constexpr Pairing in = in_, out = out_;
  Fold fold;
  Finish finish;
  First first;
  Second second;

  /// Which of the parts `column` belongs to, and the column where that begins; the first begins at `begin`.
  FLAME_DEVICE static int partOf(int column) { return ((column >= ends) + ...); }
  FLAME_DEVICE static int beginOf(int column, int begin) { return ((begin = column >= ends ? ends : begin), ...); }
};
/// Segments that stay as they are.
template <int end_> struct SamePart {
  static constexpr int end = end_;
};
template <typename Part> constexpr bool staysSame = false;
template <int end> constexpr bool staysSame<SamePart<end>> = true;
template <Pairing in, Pairing out, int... ends, typename Fold, typename Finish, typename First, typename Second>
FLAME_DEVICE SegmentPart<Fold, Finish, First, Second, in, out, ends...> segmentPart(Fold fold, Finish finish, First first, Second second) {
  return {fold, finish, first, second};
}
template <Pairing in, Pairing out, int... ends, typename First, typename Second>
FLAME_DEVICE SegmentPart<NoFold, NoFold, First, Second, in, out, ends...> segmentPart(First first, Second second) {
  return {{}, {}, first, second};
}

template <typename... Parts> struct SegmentParts;
template <> struct SegmentParts<> {
  template <int begin, typename Function> FLAME_DEVICE void at(int, Function) const {}
};
template <typename Part, typename... Rest> struct SegmentParts<Part, Rest...> {
  Part part;
  SegmentParts<Rest...> rest;
  /// The part that `column` belongs to, and where it begins.
  template <int begin = 0, typename Function> FLAME_DEVICE void at(int column, Function function) const {
    if (column < Part::end)
      function(part, begin);
    else
      rest.template at<Part::end>(column, function);
  }
};

/// body: (row, column, sum) → element of the product as it would be stored. `size`: of the inner dim of the rows; most often all rows.
template <int width_, typename T, typename Index, typename Body, typename Parts> struct SegmentStore {
  static constexpr int width = width_;
  const TensorMap &map;
  Index size;
  Body body;
  Parts parts;
};
template <int width, typename T, typename Index, typename Body, typename Parts>
constexpr bool standsOnce<SegmentStore<width, T, Index, Body, Parts>> = true;
FLAME_DEVICE SegmentParts<> joinParts() { return {}; }
template <typename Part, typename... Rest> FLAME_DEVICE SegmentParts<Part, Rest...> joinParts(Part part, Rest... rest) {
  return {part, joinParts(rest...)};
}
template <int width, typename T, typename Index, typename Body, typename... Parts>
FLAME_DEVICE SegmentStore<width, T, Index, Body, SegmentParts<Parts...>> segmentStore(const TensorMap &map, Index size, Body body, Parts... parts) {
  return {map, size, body, joinParts(parts...)};
}

/// As for a TensorStore; the tile's columns are whole segments, and a segment of 64-column pieces finds place in the warp's slabs.
template <int slabs, int pitch, int products = 1, int sums, int batchDims, typename Sum, typename Index, int width, typename T, typename Body,
          typename Parts>
FLAME_DEVICE void storeGroup(const Sum (&d)[sums], SharedAddress shared, Index row, Index column,
                             const int (&batch)[batchDims], const Problem<Index> &p,
                             const SegmentStore<width, T, Index, Body, Parts> &epilogue) {
  constexpr int columns = 2 * sums, segments = columns / width, held = width / 2, pieces = width / 64;
  static_assert(products == 1 && sizeof(T) == 2 && columns % width == 0 && width % 64 == 0 && pieces <= slabs, "whole segments");
  const int lane = threadId() % 32;
  if (row >= p.rows)
    return;
  // The warp's rows begin in one matrix and may end in a later one; of matrices of 16 rows and more, in the next. The copy engine counts rows
  // by 32 bits, in which division is quick.
  struct Place { int outer, inner; };
  const int size = (int)epilogue.size, outer = (int)((unsigned)row / (unsigned)size), inner = (int)row - outer * size, last = (int)(p.rows - 1 - row);
  auto placeOf = [&](int r) {
    Place at{outer, inner + least(r, last)};
    for (; at.inner >= size; ++at.outer)
      at.inner -= size;
    return at;
  };
  const Index rows[2] = {row + least(lane / 4, last), row + least(lane / 4 + 8, last)};
#pragma unroll 1
  for (int s = 0; s < segments; ++s) {
    const Index start = column + s * width;
    if (start >= p.columns)
      break;
    waitStoresRead<0>();
    syncWarp();
    // Registers have no index: of all segments the one whose turn it is.
    Sum inSegment[held];
#pragma unroll
    for (int turn = 0; turn < segments; ++turn)
      if (s == turn) {
        if (segments > 1)
          keepBranch();
#pragma unroll
        for (int i = 0; i < held; ++i)
          inSegment[i] = d[turn * held + i];
      }
    // Two columns each, of groups of 8 columns and of the thread's two rows.
    unsigned pairs[width / 8][2];
#pragma unroll
    for (int group = 0; group < width / 8; ++group) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        auto value = [&](int i) {
          return (T)epilogue.body(rows[half], start + group * 8 + lane % 4 * 2 + i, inSegment[group * 4 + half * 2 + i]);
        };
        pairs[group][half] = asWord((unsigned)value(0) | (unsigned)value(1) << 16); // so that both are rounded at once
      }
      if (group % 2 == 1) {
        const int line = lane % 16, chunk = group - 1 + lane / 16;
        storeMatrices(shared + chunk / 8 * pitch + line * 128 + (chunk % 8 ^ line % 8) * 16, pairs[group - 1][0], pairs[group - 1][1],
                      pairs[group][0], pairs[group][1]);
      }
    }
    epilogue.parts.at((int)start, [&]<typename Part>(const Part &part, int begin) {
      if constexpr (!staysSame<Part>) {
        constexpr bool neighbours = Part::in == Pairing::Neighbours;
        static_assert(neighbours || Part::out == Pairing::Halves, "pairs go where they come from, or neighbours to halves");
        const int which = Part::partOf((int)start);
        const Index segment = ((int)start - Part::beginOf((int)start, begin)) / width;
        float totals[2] = {};
        if constexpr (Part::folds) {
          const Place places[2] = {placeOf(lane / 4), placeOf(lane / 4 + 8)};
#pragma unroll
          for (int i = 0; i < width / 4; ++i) {
            // Of neighbours a register has both elements, of halves one of two pairs.
            const int half = i % 2, group = i / (neighbours ? 2 : 4), inWord = i / 2 % 2 * 16;
            const Index pair = neighbours ? group * 4 + lane % 4 : group * 8 + lane % 4 * 2 + i / 2 % 2;
            const unsigned a = pairs[group][half] >> (neighbours ? 0 : inWord),
                           b = pairs[neighbours ? group : group + width / 16][half] >> (neighbours ? 16 : inWord);
            totals[half] += part.fold((Index)places[half].outer, (Index)places[half].inner, which, segment, pair, (T)a, (T)b);
          }
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            totals[half] += shuffleXor(totals[half], 1);
            totals[half] += shuffleXor(totals[half], 2);
            totals[half] = part.finish(totals[half]);
          }
        }
        syncWarp();
        auto place = [&](int line, int at) {
          return shared + at / 64 * pitch + line * 128 + (at % 64 / 8 ^ line % 8) * 16 + at % 8 * 2;
        };
        // Some rows at a time, so that what they read is under way together.
        constexpr int lanes = least(32, width / 2), turns = width / 2 / lanes, together = 4;
#pragma unroll 1
        for (int line = 0; line < 16; line += together) {
          Place at[together];
#pragma unroll
          for (int r = 0; r < together; ++r)
            at[r] = placeOf(line + r);
          T a[together][turns], b[together][turns];
#pragma unroll
          for (int r = 0; r < together; ++r)
#pragma unroll
            for (int t = 0; t < turns; ++t) {
              const int pair = t * lanes + lane;
              if constexpr (neighbours) {
                const unsigned both = *(const unsigned *)pointerTo(place(line + r, 2 * pair));
                a[r][t] = (T)both, b[r][t] = (T)(both >> 16);
              } else {
                a[r][t] = *(const T *)pointerTo(place(line + r, pair));
                b[r][t] = *(const T *)pointerTo(place(line + r, pair + width / 2));
              }
            }
          syncWarp();
#pragma unroll
          for (int r = 0; r < together; ++r) {
            const float total = Part::folds ? shuffle(line < 8 ? totals[0] : totals[1], (line + r) % 8 * 4) : 0.f;
#pragma unroll
            for (int t = 0; t < turns; ++t) {
              const int pair = t * lanes + lane;
              auto result = [&](const auto &function) {
                return (T)function((Index)at[r].outer, (Index)at[r].inner, which, segment, (Index)pair, a[r][t], b[r][t], total);
              };
              const T first = result(part.first), second = result(part.second);
              if constexpr (Part::out == Pairing::Neighbours) {
                storeShared(place(line + r, 2 * pair), (unsigned)first | (unsigned)second << 16);
              } else {
                storeShared(place(line + r, pair), (unsigned short)first);
                storeShared(place(line + r, pair + width / 2), (unsigned short)second);
              }
            }
          }
        }
      }
    });
    fenceShared();
    syncWarp();
    if (lane == 0) {
#pragma unroll
      for (int piece = 0; piece < pieces; ++piece) {
        int at[batchDims + 2] = {(int)start + 64 * piece, (int)row};
#pragma unroll
        for (int d = 0; d < batchDims; ++d)
          at[d + 2] = batch[d];
        storeTensor(epilogue.map, shared + piece * pitch, at);
      }
      commitStores();
    }
  }
}

} // namespace flame
