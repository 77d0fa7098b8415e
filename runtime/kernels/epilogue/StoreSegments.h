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
/// What becomes of the segments before column `end`, from the end of the part before on. Of pair i with elements (a, b) of the product
/// as they would be stored: fold(outer, inner, segment, i, a, b) is its part of the segment's sum, finish(sum) what the row's elements need of it;
/// first(outer, inner, segment, i, a, b, finished) and second(…) are the elements that are stored at the places of pair i by `out`. The row is
/// outer * size + inner.
template <int end_, Pairing in_, Pairing out_, typename Fold, typename Finish, typename First, typename Second> struct SegmentPart {
  static constexpr int end = end_;
  static constexpr bool folds = isFold<Fold>;
  static constexpr Pairing in = in_, out = out_;
  Fold fold;
  Finish finish;
  First first;
  Second second;
};
/// Segments that stay as they are.
template <int end_> struct SamePart {
  static constexpr int end = end_;
  static constexpr bool folds = false;
  static constexpr Pairing in = Pairing::Neighbours, out = Pairing::Neighbours;
};
template <typename Part> constexpr bool staysSame = false;
template <int end> constexpr bool staysSame<SamePart<end>> = true;
template <int end, Pairing in, Pairing out, typename Fold, typename Finish, typename First, typename Second>
FLAME_DEVICE SegmentPart<end, in, out, Fold, Finish, First, Second> segmentPart(Fold fold, Finish finish, First first, Second second) {
  return {fold, finish, first, second};
}
template <int end, Pairing in, Pairing out, typename First, typename Second>
FLAME_DEVICE SegmentPart<end, in, out, NoFold, NoFold, First, Second> segmentPart(First first, Second second) {
  return {{}, {}, first, second};
}

template <typename... Parts> struct SegmentParts;
template <> struct SegmentParts<> {
  template <typename Function> FLAME_DEVICE void at(int, Function) const {}
};
template <typename Part, typename... Rest> struct SegmentParts<Part, Rest...> {
  Part part;
  SegmentParts<Rest...> rest;
  /// The part that `column` belongs to.
  template <typename Function> FLAME_DEVICE void at(int column, Function function) const {
    if (column < Part::end)
      function(part);
    else
      rest.at(column, function);
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
  // The warp's rows begin in one matrix and may end in a later one; of matrices of 16 rows and more, in the next.
  struct Place { Index outer, inner; };
  const Index outer = row / epilogue.size, inner = row - outer * epilogue.size;
  auto placeOf = [&](int r) {
    Place at{outer, inner + (least(row + r, p.rows - 1) - row)};
    for (; at.inner >= epilogue.size; ++at.outer)
      at.inner -= epilogue.size;
    return at;
  };
  const Index rows[2] = {least(row + lane / 4, p.rows - 1), least(row + lane / 4 + 8, p.rows - 1)};
#pragma unroll 1
  for (int s = 0; s < segments; ++s) {
    const Index start = column + s * width;
    if (start >= p.columns)
      break;
    waitStoresRead<0>();
    syncWarp();
    const Index segment = start / width;
    epilogue.parts.at((int)start, [&]<typename Part>(const Part &part) {
      constexpr bool neighbours = Part::in == Pairing::Neighbours;
      static_assert(neighbours || Part::out == Pairing::Halves, "pairs go where they come from, or neighbours to halves");
      float totals[2] = {};
      const Place places[2] = {placeOf(lane / 4), placeOf(lane / 4 + 8)};
      // Two groups of 8 columns at a time, which have both elements of their pairs.
      auto convert = [&](const auto &sum) {
#pragma unroll
        for (int t = 0; t < width / 16; ++t) {
          const int groups[2] = {neighbours ? 2 * t : t, neighbours ? 2 * t + 1 : t + width / 16};
          T values[2][2][2]; // group, row, column
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const int group = groups[i / 4], half = i / 2 % 2;
            values[i / 4][half][i % 2] =
                epilogue.body(rows[half], start + group * 8 + lane % 4 * 2 + i % 2, sum(group * 4 + half * 2 + i % 2));
          }
          if constexpr (Part::folds) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              const int half = i % 2, which = i / 2;
              const Index pair = neighbours ? groups[which] * 4 + lane % 4 : t * 8 + lane % 4 * 2 + which;
              totals[half] += part.fold(places[half].outer, places[half].inner, segment, pair,
                                        values[neighbours ? which : 0][half][neighbours ? 0 : which],
                                        values[neighbours ? which : 1][half][neighbours ? 1 : which]);
            }
          }
          auto both = [&](int group, int half) { return (unsigned)values[group][half][0] | (unsigned)values[group][half][1] << 16; };
          const int line = lane % 16, chunk = lane < 16 ? groups[0] : groups[1];
          storeMatrices(shared + chunk / 8 * pitch + line * 128 + (chunk % 8 ^ line % 8) * 16, both(0, 0), both(0, 1), both(1, 0), both(1, 1));
        }
      };
      // Registers have no index: of all segments the one whose turn it is.
#pragma unroll
      for (int turn = 0; turn < segments; ++turn)
        if (s == turn) {
          if (segments > 1)
            keepBranch();
          convert([&](int i) { return d[turn * held + i]; });
        }
      if constexpr (!staysSame<Part>) {
        if constexpr (Part::folds) {
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
                return (T)function(at[r].outer, at[r].inner, segment, (Index)pair, a[r][t], b[r][t], total);
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
