//===- TopK.h - the first k of rows, in order ---------------------------------------------------------------------===//
//
// The first k elements of each row, least or greatest ones first, with their positions; of equal ones that with the
// lower position comes first, and NaN is greater than any number. Keys are unsigned integers in the order that is
// wanted, so all element types share the code.
//
//   topkWarps   rows of at most a few elements a lane: a warp, or a part of it, sorts a row in registers
//   topkBlock   rows that fit into shared memory: a block sorts one
//   topkSelect  a few elements of long rows: blocks read pieces of them, about twice
//   topkLong    any number of elements of long rows: that, or sorted tiles that are merged in scratch memory
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "tile/Sort.h"
#include "tile/Team.h"
#include "tile/Ticket.h"
#include "tile/Types.h"

namespace flame {

/// `rows` rows of `length` elements, of which `k` <= length are wanted. Elements of a row lie `stride` apart, and as
/// many rows are neighbours.
struct TopKProblem {
  long long rows, length, k, stride;
};

template <bool wide> struct KeyOf { using Type = unsigned; };
template <> struct KeyOf<true> { using Type = unsigned long long; };

/// An element's bits as a number that is lower the earlier the element comes.
template <KeyFormat format, bool largest, typename T> FLAME_DEVICE auto orderedKey(T bits) {
  using Key = typename KeyOf<(format.bits > 32)>::Type;
  constexpr Key sign = (Key)1 << (format.bits - 1), most = sign | (sign - 1);
  Key key = bits;
  if constexpr (format.kind == KeyKind::Signed) {
    key ^= sign;
  } else if constexpr (format.kind == KeyKind::Float) {
    const Key magnitude = key & (sign - 1);
    key = magnitude > (Key)format.largest ? most : key & sign ? sign - magnitude : sign + magnitude;
  }
  return largest ? most - key : key;
}

/// Rows with T as their bits. `values` or `indices` is null where nobody wants them.
template <TopKSchedule s, KeyFormat format, bool largest, typename T> struct TopKRows {
  static constexpr TopKSchedule schedule = s;
  using Element = T;
  using Order = PairOf<s.pairBytes>;
  using Pair = typename Order::Type;
  TopKProblem p;
  const T *x;
  T *values;
  unsigned long long *indices;

  FLAME_DEVICE const T *row(long long row) const { return x + row / p.stride * p.stride * p.length + row % p.stride; }
  static FLAME_DEVICE Pair pair(T element, long long position) {
    return Order::make(orderedKey<format, largest>(element), position);
  }
  /// As number `j` of the row's result.
  FLAME_DEVICE void store(long long row, long long j, Pair pair) const {
    const long long to = row / p.stride * p.stride * p.k + row % p.stride + j * p.stride, from = Order::position(pair);
    if (values)
      values[to] = this->row(row)[from * p.stride];
    if (indices)
      indices[to] = (unsigned long long)from;
  }
};

template <typename Rows> FLAME_DEVICE void topkWarps(const Rows &rows) {
  constexpr TopKSchedule s = Rows::schedule;
  constexpr int lanes = s.tile < 32 ? s.tile : 32, each = s.tile / lanes;
  const int lane = threadId() % lanes;
  const long long row = (long long)blockId() * (s.threads / lanes) + threadId() / lanes;
  const bool exists = row < rows.p.rows;
  const auto *from = rows.row(exists ? row : 0);
  typename Rows::Pair own[each];
#pragma unroll
  for (int e = 0; e < each; ++e) {
    const int i = 32 * e + lane;
    own[e] = exists && i < rows.p.length ? Rows::pair(from[i * rows.p.stride], i) : Rows::Order::last();
  }
#pragma unroll 1
  for (int run = 2; run <= s.tile; run *= 2)
    mergeInWarp(own, 0, lane, run);
#pragma unroll
  for (int e = 0; e < each; ++e)
    if (exists && 32 * e + lane < rows.p.k)
      rows.store(row, 32 * e + lane, own[e]);
}

/// Sorts a tile of a row from element `first` on.
template <typename Rows> FLAME_DEVICE void sortTile(const Rows &rows, long long row, long long first) {
  constexpr TopKSchedule s = Rows::schedule;
  using Pair = typename Rows::Pair;
  Pair *pairs = sharedPairs<Pair>();
  const auto *from = rows.row(row);
  int size = sortSpan; // that it fills; what is missing counts as last
  while (size < s.tile && first + size < rows.p.length)
    size *= 2;
  for (int i = threadId(); i < size; i += s.threads)
    pairs[i] =
        first + i < rows.p.length ? Rows::pair(from[(first + i) * rows.p.stride], first + i) : Rows::Order::last();
  sortShared<s.threads, Pair>(size);
}

template <typename Rows> FLAME_DEVICE void topkBlock(const Rows &rows) {
  sortTile(rows, blockId(), 0);
  for (int j = threadId(); j < rows.p.k; j += Rows::schedule.threads)
    rows.store(blockId(), j, sharedPairs<typename Rows::Pair>()[j]);
}

/// A thread's elements of a chunk.
template <typename T, int count> struct Loaded { T elements[count]; };

/// A piece of a row, read a chunk at a time: 16 bytes a thread where the row's address and length allow.
template <typename Rows> class RowPiece {
  static constexpr TopKSchedule s = Rows::schedule;

public:
  using Element = typename Rows::Element;
  long long begin, end;

  FLAME_DEVICE RowPiece(const Rows &rows, long long row, long long begin, long long end)
      : begin(begin), end(end), data(rows.row(row)), stride(rows.p.stride) {
    whole = stride == 1 && rows.p.length % width == 0 && begin % width == 0 &&
            (unsigned long long)data % (width * sizeof(Element)) == 0;
  }
  FLAME_DEVICE auto load(long long at) const {
    Loaded<Element, s.items()> loaded;
    const long long first = firstOf(at);
    const int rest = restOf(first);
    if (whole) {
#pragma unroll
      for (int i = 0; i < s.items(); i += width)
        if (offset(i) < rest) {
          const auto pack = *(const Pack<Element, width> *)(data + first + offset(i));
#pragma unroll
          for (int e = 0; e < width; ++e)
            loaded.elements[i + e] = pack.values[e];
        }
    } else {
#pragma unroll
      for (int i = 0; i < s.items(); ++i)
        if (offset(i) < rest)
          loaded.elements[i] = data[(first + offset(i)) * stride];
    }
    return loaded;
  }
  /// Calls visit(pair, i) for those that exist; i counts the thread's elements.
  template <typename Visit>
  FLAME_DEVICE void each(long long at, const Loaded<Element, s.items()> &loaded, Visit visit) const {
    const long long first = firstOf(at);
    const int rest = restOf(first);
#pragma unroll
    for (int i = 0; i < s.items(); ++i)
      if (offset(i) < rest)
        visit(Rows::pair(loaded.elements[i], first + offset(i)), i);
  }

private:
  static constexpr int width = least(16 / (int)sizeof(Element), s.items());
  const Element *data;
  long long stride;
  bool whole;

  /// Where the thread's elements of the chunk at `at` begin, how far the piece reaches from there, and how far element
  /// i is.
  FLAME_DEVICE long long firstOf(long long at) const { return at + threadId() * (whole ? width : 1); }
  FLAME_DEVICE int restOf(long long first) const { return (int)least(end - first, (long long)s.tile); }
  FLAME_DEVICE int offset(int i) const { return whole ? i / width * width * s.threads + i % width : i * s.threads; }
};

/// Pairs in memory, as a piece.
template <typename Rows> struct PairPiece {
  static constexpr TopKSchedule s = Rows::schedule;
  using Pair = typename Rows::Pair;
  const Pair *pairs;
  long long begin, end;

  FLAME_DEVICE auto load(long long at) const {
    Loaded<Pair, s.items()> loaded;
#pragma unroll
    for (int i = 0; i < s.items(); ++i)
      loaded.elements[i] =
          at + i * s.threads + threadId() < end ? pairs[at + i * s.threads + threadId()] : Rows::Order::last();
    return loaded;
  }
  template <typename Visit>
  FLAME_DEVICE void each(long long at, const Loaded<Pair, s.items()> &loaded, Visit visit) const {
#pragma unroll
    for (int i = 0; i < s.items(); ++i)
      if (at + i * s.threads + threadId() < end)
        visit(loaded.elements[i], i);
  }
};

/// The best `k` <= kept() pairs of what is offered, in shared memory. Pairs that come after `bound` are not among them;
/// the others are collected and, before the memory is full, sorted and cut off, which lowers the bound.
template <typename Rows> class Best {
public:
  using Pair = typename Rows::Pair;

  FLAME_DEVICE explicit Best(int k) : k(k), pairs(sharedPairs<Pair>()), count((unsigned *)dynamicShared()) {}

  /// Sorts the first k of a piece, or all if there are fewer, to the beginning of the shared pairs; how many they are.
  template <typename Piece> FLAME_DEVICE int select(const Piece &piece) {
    findBound(piece);
    syncBlock();
    if (threadId() == 0)
      *count = 0;
    syncBlock();
#pragma unroll 1
    for (long long at = piece.begin;; at += s.chunk()) {
      const bool end = at >= piece.end;
      bool full = end;
      piece.each(at, piece.load(at), [&](Pair pair, int) {
        if (!(bound < pair)) {
          const unsigned place = addToShared(count);
          pairs[place] = pair;
          full |= place >= (unsigned)(s.tile - s.chunk());
        }
      });
      if (!syncBlockAny(full))
        continue;
      const int found = cut();
      if (end)
        return found;
    }
  }

private:
  static constexpr TopKSchedule s = Rows::schedule;
  int k;
  Pair *pairs, bound;
  unsigned *count;

  /// Of groups of elements, each with its best key, k have one that is no worse than the k-th of these keys: what is
  /// worse is not wanted. With twice as many groups as k hardly more than k elements are left. That costs another
  /// reading of the piece.
  template <typename Piece> FLAME_DEVICE void findBound(const Piece &piece) {
    static_assert(s.threads >= sortSpan && s.threads <= 32 * sortSpan);
    using Key = typename Rows::Order::Key;
    bound = Rows::Order::last();
    int groups = sortSpan;
    while (groups < 2 * k)
      groups *= 2;
    if (piece.end - piece.begin <= 2 * groups)
      return;
    // One for each of the thread's elements of a chunk; then as many as there are to be groups.
    Key best[s.items()];
#pragma unroll
    for (int i = 0; i < s.items(); ++i)
      best[i] = ~(Key)0;
    auto add = [&](Pair pair, int i) { best[i] = least(best[i], Rows::Order::key(pair)); };
    // At least 32 bytes under way in each thread.
    constexpr int ahead = sizeof(piece.load(0)) < 32 ? 2 : 1;
#pragma unroll 1
    for (long long at = piece.begin; at < piece.end; at += ahead * s.chunk()) {
      const auto chunk = piece.load(at);
      if constexpr (ahead == 2) {
        const auto next = piece.load(at + s.chunk());
        piece.each(at + s.chunk(), next, add);
      }
      piece.each(at, chunk, add);
    }
    int left = s.items(), lanes = 1;
#pragma unroll
    for (int half = s.items() / 2; half > 0; half /= 2)
      if (s.threads * half >= groups) {
        left = half;
#pragma unroll
        for (int i = 0; i < half; ++i)
          best[i] = least(best[i], best[i + half]);
      }
    for (; s.threads > groups * lanes; lanes *= 2)
      best[0] = least(best[0], shuffleXor(best[0], lanes));
    syncBlock();
#pragma unroll
    for (int i = 0; i < s.items(); ++i)
      if (i < left && threadId() % lanes == 0)
        pairs[i * s.threads + threadId() / lanes] = Rows::Order::lastOf(best[i]);
    sortShared<s.threads, Pair>(groups);
    bound = pairs[k - 1];
  }

  FLAME_DEVICE int cut() {
    syncBlock();
    const int found = (int)*count;
    int size = sortSpan;
    while (size < found)
      size *= 2;
    for (int i = found + threadId(); i < size; i += s.threads)
      pairs[i] = Rows::Order::last();
    sortShared<s.threads, Pair>(size);
    const int left = least(found, k);
    if (threadId() == 0)
      *count = left;
    if (left == k)
      bound = pairs[k - 1];
    syncBlock();
    return left;
  }
};

/// Blocks share the rows' pieces. With several a row, each leaves its best in scratch memory (k pairs a piece), and the
/// last block of a row takes the best of these; tickets are the rows' numbers. 0 < k <= kept().
template <typename Rows>
FLAME_DEVICE void topkSelect(const Rows &rows, long long pieces, void *scratch, unsigned *state) {
  constexpr TopKSchedule s = Rows::schedule;
  using Pair = typename Rows::Pair;
  const TopKProblem &p = rows.p;
  const int k = (int)p.k;
  if (k == 0)
    return;
  Pair *pairs = sharedPairs<Pair>();
  Best<Rows> best(k);
  auto store = [&](long long row) {
    for (int j = threadId(); j < k; j += s.threads)
      rows.store(row, j, pairs[j]);
  };
  // Whole vectors, so that each piece is aligned as its row is.
  const long long size = ((p.length + pieces - 1) / pieces + 15) / 16 * 16;
  for (long long task = blockId(); task < p.rows * pieces; task += gridSize()) {
    const long long row = task / pieces, piece = task % pieces;
    syncBlock();
    const int found =
        best.select(RowPiece<Rows>(rows, row, least(piece * size, p.length), least((piece + 1) * size, p.length)));
    if (pieces == 1) {
      store(row);
      continue;
    }
    Pair *ofRow = (Pair *)scratch + row * pieces * k;
    for (int j = threadId(); j < k; j += s.threads)
      ofRow[piece * k + j] = j < found ? pairs[j] : Rows::Order::last();
    bool *last = (bool *)dynamicShared() + sizeof(unsigned);
    comesLast(state, (int)row, (int)pieces, last);
    if (*last) {
      best.select(PairPiece<Rows>{ofRow, 0, pieces * k});
      store(row);
    }
  }
}

/// How many of `count` pairs in order come before `pair`.
template <typename Pair> FLAME_DEVICE long long countBefore(const Pair *pairs, long long count, Pair pair) {
  long long low = 0, high = count;
  while (low < high) {
    const long long middle = (low + high) / 2;
    if (pairs[middle] < pair)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Sorted tiles, then pairs of neighbouring runs become one, each element at its rank among its own and the other ones;
/// of each run only the first k are kept. Scratch memory holds two copies of whole tiles of pairs. All blocks run at
/// the same time.
template <typename Rows> FLAME_DEVICE void topkMerge(const Rows &rows, void *scratch, unsigned *state) {
  constexpr TopKSchedule s = Rows::schedule;
  using Pair = typename Rows::Pair;
  const TopKProblem &p = rows.p;
  const long long tiles = (p.length + s.tile - 1) / s.tile, pitch = tiles * s.tile;
  Pair *pairs = sharedPairs<Pair>(), *from = (Pair *)scratch + p.rows * pitch, *to = (Pair *)scratch;
  Team team(state, 0, gridSize());
  team.come();
  // What a run that begins at `first` has kept.
  auto lengthOf = [&](long long first, long long width) {
    return first < p.length ? least(p.k, least(width, p.length - first)) : 0;
  };
  for (long long task = blockId(); task < p.rows * tiles; task += gridSize()) {
    const long long row = task / tiles, first = task % tiles * s.tile, length = lengthOf(first, s.tile);
    syncBlock();
    sortTile(rows, row, first);
    for (int i = threadId(); i < length; i += s.threads) {
      if (tiles == 1)
        rows.store(row, i, pairs[i]);
      else
        to[row * pitch + first + i] = pairs[i];
    }
  }
  int exchanges = 0;
  for (long long width = s.tile; width < p.length; width *= 2, ++exchanges) {
    fenceDevice();
    syncBlock();
    team.publish(0);
    team.collect((int *)pairs);
    fenceDevice();
    Pair *const written = to;
    to = from;
    from = written;
    const bool last = width * 2 >= p.length;
    for (long long task = blockId(); task < p.rows * tiles; task += gridSize()) {
      const long long row = task / tiles, tile = task % tiles * s.tile, run = tile / width;
      const long long first = run * width, other = (run ^ 1) * width;
      const long long length = lengthOf(first, width), otherLength = lengthOf(other, width);
      const Pair *ofRow = from + row * pitch;
      for (long long i = tile - first + threadId(); i < least(length, tile - first + s.tile); i += s.threads) {
        const Pair pair = ofRow[first + i];
        const long long rank = i + countBefore(ofRow + other, otherLength, pair);
        if (rank >= p.k)
          break;
        if (last)
          rows.store(row, rank, pair);
        else
          to[row * pitch + least(first, other) + rank] = pair;
      }
    }
  }
  team.leave(exchanges);
}

template <typename Rows>
FLAME_DEVICE void topkLong(const Rows &rows, long long pieces, void *scratch, unsigned *state) {
  if (rows.p.k <= Rows::schedule.kept())
    topkSelect(rows, pieces, scratch, state);
  else
    topkMerge(rows, scratch, state);
}

} // namespace flame
