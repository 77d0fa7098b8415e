//===- Scatter.h - rows that updates are scattered into -----------------------------------------------------------===//
//
// Each block has some consecutive rows of the result, or a part of each, and goes through all indices for the updates that
// are its own. Nothing is told between blocks, and of several updates of a row it is always the same one that counts, or all in
// their order. Where updates replace rows, each row is written once, from the last of its updates or from x; where they are
// combined with what is there, the rows are copied first. A result in the place of x is not copied.
//
//===--------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "tile/Types.h"

namespace flame {

/// `groups` of a row are accessed as one each; blocks have `parts` to a row.
struct ScatterProblem { long long rows, groups, updates; int parts; };

template <int bytes> struct WordOf;
template <> struct WordOf<1> { using Type = unsigned char; };
template <> struct WordOf<2> { using Type = unsigned short; };
template <> struct WordOf<4> { using Type = unsigned; };
template <> struct WordOf<8> { using Type = unsigned long long; };
template <> struct WordOf<16> { using Type = Vector; };

/// `rowsOfBlock` rows of `groupBytes` a group.
template <int threads, int rowsOfBlock, int groupBytes> class ScatterRows {
public:
  using Word = typename WordOf<groupBytes>::Type;
  /// 32-bit words of shared memory.
  static constexpr int replacing = rowsOfBlock, combining = threads + threads / 32;

  FLAME_DEVICE explicit ScatterRows(const ScatterProblem &p) : p(p) {
    const int part = blockId() % p.parts;
    low = (long long)(blockId() / p.parts) * rowsOfBlock;
    rows = (int)least<long long>(rowsOfBlock, p.rows - low);
    first = p.groups * part / p.parts;
    groups = p.groups * (part + 1) / p.parts - first;
  }

  /// `target(i)` is the row of update i, negative where it has none. `memory` is `replacing` words of shared memory.
  template <typename Target>
  FLAME_DEVICE void replace(const void *x, const void *updates, void *out, int *memory, const Target &target) const {
    for (int row = threadId(); row < rows; row += threads)
      memory[row] = -1;
    syncBlock();
#pragma unroll 4
    for (long long i = threadId(); i < p.updates; i += threads) {
      const long long row = target(i) - low;
      if (row >= 0 && row < rows)
        maxInShared(memory + row, (int)i);
    }
    syncBlock();
    move(out, [&](int row) -> const Word * {
      const int last = memory[row];
      return last >= 0 ? (const Word *)updates + last * p.groups : x == out ? nullptr : rowOf(x, row);
    });
  }

  /// `update(to, from)` combines a group of the result with one of the updates. `memory` is `combining` words of shared memory.
  template <typename Target, typename Update>
  FLAME_DEVICE void combine(const void *x, void *out, int *memory, const Target &target, const Update &update) const {
    if (x != out)
      move(out, [&](int row) { return rowOf(x, row); });
    int *const counts = memory + threads; // of warps
    for (long long begin = 0; begin < p.updates; begin += threads) {
      const long long mine = begin + threadId();
      const long long row = mine < p.updates ? target(mine) - low : -1;
      const bool isOwn = row >= 0 && row < rows;
      if (!syncBlockAny(isOwn)) // nor does anybody read the list of earlier ones still
        continue;
      // Those of this block in their order.
      const unsigned warp = lanesWith(isOwn);
      if (threadId() % 32 == 0)
        counts[threadId() / 32] = countBits(warp);
      syncBlock();
      int before = countBits(warp & ((1u << threadId() % 32) - 1)), all = 0;
      for (int i = 0; i < threads / 32; ++i) {
        before += i < threadId() / 32 ? counts[i] : 0;
        all += counts[i];
      }
      if (isOwn)
        memory[before] = threadId();
      syncBlock();
      // A group is always the same thread's.
      for (int i = 0; i < all; ++i) {
        const long long from = begin + memory[i], to = target(from);
        for (long long group = threadId(); group < groups; group += threads)
          update(to * p.groups + first + group, from * p.groups + first + group);
      }
    }
  }

private:
  ScatterProblem p;
  long long low, first, groups; // the block's first row and group, and groups of a row
  int rows;

  FLAME_DEVICE const Word *rowOf(const void *x, int row) const { return (const Word *)x + (low + row) * p.groups; }
  /// Brings the block's part of its rows from where `source` says that they are; null: they stay.
  template <typename Source> FLAME_DEVICE void move(void *out, const Source &source) const {
    constexpr int batch = 4; // accesses under way
    int lanes = 1;           // of a row
    while (lanes < threads && lanes < groups)
      lanes *= 2;
    const int together = threads / lanes;
    for (long long group = first + threadId() % lanes; group < first + groups; group += lanes)
      for (int row = threadId() / lanes; row < rows; row += batch * together) {
        Word words[batch];
        const Word *from[batch];
#pragma unroll
        for (int i = 0; i < batch; ++i) {
          from[i] = row + i * together < rows ? source(row + i * together) : nullptr;
          if (from[i])
            words[i] = from[i][group];
        }
#pragma unroll
        for (int i = 0; i < batch; ++i)
          if (from[i])
            ((Word *)out)[(low + row + i * together) * p.groups + group] = words[i];
      }
    syncBlock();
  }
};

} // namespace flame
