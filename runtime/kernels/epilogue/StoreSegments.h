//===- StoreSegments.h - from a warpgroup's sums to results of whole segments --------------------------------------===//
//
// The columns of a product are segments of `width`, such as the heads of a projection, and an element of the result may
// depend on its whole segment through a sum (a norm), and on one other column of it (a rotation). Parts of the columns, such as queries,
// keys and values, have functions of their own.
//
// In what wgmma leaves a thread has columns 8 j + 2 l and 8 j + 2 l + 1 of a row, l the lane's number among the four of the row: a
// column and its neighbour, and a column and the one half a segment further, are in the same thread.
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
/// as they would be stored: fold(row, segment, i, a, b) is its part of the segment's sum; first(row, segment, i, a, b, sum) and second(…)
/// are the elements that are stored at the places of pair i by `out`.
template <int end_, Pairing in_, Pairing out_, typename Fold, typename First, typename Second> struct SegmentPart {
  static constexpr int end = end_;
  static constexpr bool folds = isFold<Fold>;
  static constexpr Pairing in = in_, out = out_;
  Fold fold;
  First first;
  Second second;
};
template <int end, Pairing in, Pairing out, typename Fold, typename First, typename Second>
FLAME_DEVICE SegmentPart<end, in, out, Fold, First, Second> segmentPart(Fold fold, First first, Second second) {
  return {fold, first, second};
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

/// body: (row, column, sum) → element of the product as it would be stored.
template <int width_, typename T, typename Body, typename Parts> struct SegmentStore {
  static constexpr int width = width_;
  const TensorMap &map;
  Body body;
  Parts parts;
};
FLAME_DEVICE SegmentParts<> joinParts() { return {}; }
template <typename Part, typename... Rest> FLAME_DEVICE SegmentParts<Part, Rest...> joinParts(Part part, Rest... rest) {
  return {part, joinParts(rest...)};
}
template <int width, typename T, typename Body, typename... Parts>
FLAME_DEVICE SegmentStore<width, T, Body, SegmentParts<Parts...>> segmentStore(const TensorMap &map, Body body, Parts... parts) {
  return {map, body, joinParts(parts...)};
}

/// As for a TensorStore; the tile's columns are whole segments, and a segment of 64-column pieces finds place in the warp's slabs.
template <int slabs, int pitch, int products = 1, int sums, int batchDims, typename Sum, typename Index, int width, typename T, typename Body,
          typename Parts>
FLAME_DEVICE void storeGroup(const Sum (&d)[sums], SharedAddress shared, Index row, Index column,
                             const int (&batch)[batchDims], const Problem<Index> &p,
                             const SegmentStore<width, T, Body, Parts> &epilogue) {
  constexpr int columns = 2 * sums, segments = columns / width, held = width / 2, pieces = width / 64;
  static_assert(products == 1 && sizeof(T) == 2 && columns % width == 0 && width % 64 == 0 && pieces <= slabs, "whole segments");
  const int lane = threadId() % 32;
  if (row >= p.rows)
    return;
  const Index rows[2] = {least(row + lane / 4, p.rows - 1), least(row + lane / 4 + 8, p.rows - 1)};
#pragma unroll 1
  for (int s = 0; s < segments; ++s) {
    const Index start = column + s * width;
    if (start >= p.columns)
      break;
    // Registers have no index: of all segments the one whose turn it is. Elements next to each other share a register.
    unsigned elements[2][held / 4];
#pragma unroll
    for (int turn = 0; turn < segments; ++turn)
      if (s == turn) {
        if (segments > 1)
          keepBranch();
#pragma unroll
        for (int i = 0; i < held; i += 2) {
          auto element = [&](int k) {
            return (unsigned)(unsigned short)epilogue.body(rows[i / 2 % 2], start + i / 4 * 8 + lane % 4 * 2 + k, d[turn * held + i + k]);
          };
          elements[i / 2 % 2][i / 4] = element(0) | element(1) << 16;
        }
      }
    waitStoresRead<0>();
    syncWarp();
    auto place = [&](int half, int at) {
      const int line = lane / 4 + 8 * half;
      return shared + at / 64 * pitch + line * 128 + (at % 64 / 8 ^ line % 8) * 16 + at % 8 * 2;
    };
    const Index segment = start / width;
    epilogue.parts.at((int)start, [&]<typename Part>(const Part &part) {
      constexpr bool neighbours = Part::in == Pairing::Neighbours;
      // Of a thread's pairs of a row number q: which one it is of the segment.
      auto pairOf = [&](int q) { return neighbours ? 4 * q + lane % 4 : q / 2 * 8 + lane % 4 * 2 + q % 2; };
      // Its code stands here once for both rows, which takes the compiler less time.
#pragma unroll 1
      for (int half = 0; half < 2; ++half) {
        const Index at = half ? rows[1] : rows[0];
        unsigned own[held / 4];
#pragma unroll
        for (int i = 0; i < held / 4; ++i)
          own[i] = half ? elements[1][i] : elements[0][i];
        auto first = [&](int q) { return (T)(neighbours ? own[q] : own[q / 2] >> q % 2 * 16); };
        auto second = [&](int q) { return (T)(neighbours ? own[q] >> 16 : own[held / 8 + q / 2] >> q % 2 * 16); };
        float total = 0;
        if constexpr (Part::folds) {
#pragma unroll
          for (int q = 0; q < width / 8; ++q)
            total += part.fold(at, segment, (Index)pairOf(q), first(q), second(q));
          total += shuffleXor(total, 1);
          total += shuffleXor(total, 2);
        }
        auto result = [&](const auto &function, int q) {
          return (unsigned)(unsigned short)function(at, segment, (Index)pairOf(q), first(q), second(q), total);
        };
        if constexpr (Part::out == Pairing::Neighbours) {
          static_assert(neighbours, "pairs go where they come from, or neighbours to halves");
#pragma unroll
          for (int q = 0; q < width / 8; ++q)
            storeShared(place(half, 2 * pairOf(q)), result(part.first, q) | result(part.second, q) << 16);
        } else if constexpr (neighbours) {
#pragma unroll
          for (int q = 0; q < width / 8; ++q) {
            storeShared(place(half, pairOf(q)), (unsigned short)result(part.first, q));
            storeShared(place(half, pairOf(q) + width / 2), (unsigned short)result(part.second, q));
          }
        } else {
#pragma unroll
          for (int q = 0; q < width / 8; q += 2) {
            storeShared(place(half, pairOf(q)), result(part.first, q) | result(part.first, q + 1) << 16);
            storeShared(place(half, pairOf(q) + width / 2), result(part.second, q) | result(part.second, q + 1) << 16);
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
