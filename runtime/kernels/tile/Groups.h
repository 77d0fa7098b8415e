//===- Groups.h - rows that go by groups --------------------------------------------------------------------------===//
//
// Consecutive rows form a group, which meets a matrix of its own. Where groups end is read when the kernel runs, so nobody
// knows beforehand how many tiles there are, and a tile never has rows of two groups. Rows behind the last group's end meet
// nothing: here they are one more group. Whatever the ends are, no place outside of the rows comes out.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Grid.h"
#include "tile/Types.h"

namespace flame {

/// `count` groups of `rows` rows; `ends` are the rows behind them.
template <typename End, typename Index> struct RowGroups {
  const End *ends;
  int count;
  Index rows;

  /// The row behind a group: from -1 on, behind which the first one begins, to `count`, the group of all rows that are left.
  FLAME_DEVICE Index endOf(int group) const {
    if (group < 0)
      return 0;
    if (group >= count)
      return rows;
    const End end = ends[group];
    return end < 0 ? 0 : end > rows ? rows : (Index)end;
  }

  /// A group's tile: its first row, and where the group's rows end.
  struct Tile {
    int group;
    Index row, end;
  };
  /// Groups have places for their tiles one after the other, group g from (its first row / tileRows) + g on: that is behind those
  /// that the group before needs wherever it ends, so a block finds its tile without counting others'. There are
  /// rows / tileRows + count + 1 places; in some there is no tile (row >= end). By all lanes of a warp.
  FLAME_DEVICE Tile tileAt(Index place, int tileRows) const {
    auto firstPlace = [&](int group) { return endOf(group - 1) / tileRows + group; };
    int group = 0, left = count + 1; // it is one of so many
    while (left > 1) {
      const int step = (left + 31) / 32, at = threadId() % 32 * step;
      const int found = countBits(lanesWith(at < left && firstPlace(group + at) <= place));
      const int passed = (found > 1 ? found - 1 : 0) * step;
      group += passed;
      left = least(step, left - passed);
    }
    // Of ends that fall, a group may be found whose places have not come yet.
    const Index ahead = place - firstPlace(group), end = endOf(group);
    return {group, ahead < 0 ? end : endOf(group - 1) + ahead * tileRows, end};
  }
};
template <typename End, typename Index> FLAME_DEVICE RowGroups<End, Index> rowGroups(const End *ends, int count, Index rows) {
  return {ends, count, rows};
}
/// For kernels of a block for each tile: product(problem, group, position) of this one's, if it has one. The problem ends with the group's
/// rows, and is a sum of nothing for rows that no group has. By all threads of the block.
template <typename Index, typename End, typename Product>
FLAME_DEVICE void inGroup(const Problem<Index> &p, const RowGroups<End, Index> &groups, unsigned block, int tileRows, int tileColumns,
                          Product product) {
  awaitProducers();
  const Problem<Index> places{(p.rows / tileRows + groups.count + 1) * tileRows, p.columns, p.depth};
  const TilePosition<Index> at = tilePosition(places, block, tileRows, tileColumns);
  const auto tile = groups.tileAt(at.row / tileRows, tileRows);
  if (tile.row >= tile.end)
    return;
  const bool isGroup = tile.group < groups.count;
  product(Problem<Index>{tile.end, p.columns, isGroup ? p.depth : 0}, isGroup ? tile.group : 0, TilePosition<Index>{tile.row, at.column});
}
/// A function of the elements of a group's matrix, given one that takes the group, too.
template <typename Function> struct OfGroup {
  int group;
  Function function;
  template <typename Index> FLAME_DEVICE auto operator()(Index line, Index depth) const { return function(line, depth, (Index)group); }
};
template <typename Function> FLAME_DEVICE OfGroup<Function> ofGroup(int group, Function function) { return {group, function}; }

template <typename T> constexpr bool isRowGroups = false;
template <typename End, typename Index> constexpr bool isRowGroups<RowGroups<End, Index>> = true;

/// Tiles of groups without gaps, in their order, each group's as tile/Raster.h has those of a batch. The block has counted them in
/// shared memory.
struct GroupedRaster {
  struct Entry {
    unsigned tiles; // rows of tiles before the group
    int row;        // its first one
  };
  static constexpr int entryBytes = WgmmaSchedule::tableBytes(1) - WgmmaSchedule::tableBytes(0);
  static_assert(sizeof(Entry) == entryBytes && WgmmaSchedule::tableBytes(0) == 2 * entryBytes, "one more group, and an end");

  Entry *table; // of the groups, the rows that are left, and an end
  int count;
  unsigned across, band;

  struct Place {
    int row, column, batch; // in tiles, of the group
    int first, end;         // rows of the group
  };

  /// Fills the table. By all threads of the block, which meet behind it.
  template <typename End, typename Index> FLAME_DEVICE void make(const RowGroups<End, Index> &groups, int tileRows) const {
    const int lane = threadId() % 32;
    for (int group = threadId(); group <= count; group += blockSize()) {
      const Index begin = groups.endOf(group - 1), end = groups.endOf(group);
      table[group] = {end > begin ? (unsigned)((end - begin + tileRows - 1) / tileRows) : 0u, (int)begin};
    }
    syncBlock();
    if (threadId() / 32 == 0) {
      unsigned before = 0;
#pragma unroll 1
      for (int first = 0; first <= count; first += 32) {
        const bool isGroup = first + lane <= count;
        const unsigned own = isGroup ? table[first + lane].tiles : 0u;
        unsigned sum = own;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
          const unsigned other = shuffle(sum, lane >= step ? lane - step : lane);
          sum += lane >= step ? other : 0u;
        }
        if (isGroup)
          table[first + lane].tiles = before + sum - own;
        before += shuffle(sum, 31);
      }
      if (lane == 0)
        table[count + 1] = {before, (int)groups.rows};
    }
    syncBlock();
  }

  FLAME_DEVICE unsigned tiles() const { return table[count + 1].tiles * across; }
  FLAME_DEVICE Place operator()(unsigned tile) const {
    const unsigned down = tile / across;
    int group = 0, behind = count + 1; // tiles before `group` are no more than `down`, those before `behind` are
    while (behind - group > 1) {
      const int middle = (group + behind) / 2;
      (table[middle].tiles <= down ? group : behind) = middle;
    }
    const Entry own = table[group], next = table[group + 1];
    const unsigned inGroup = tile - own.tiles * across, strip = inGroup / (band * across), inStrip = inGroup - strip * (band * across);
    const unsigned height = least(next.tiles - own.tiles - strip * band, band);
    return {(int)(strip * band + inStrip % height), (int)(inStrip / height), group, own.row, next.row};
  }
};

} // namespace flame
