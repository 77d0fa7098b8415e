//===- WgmmaAttention.h - how attention by wgmma is cut into tiles -----------------------------------------------===//
//
// For sm_90a. A block computes `rows` queries by `consumers` warpgroups of 64 rows each, over the keys in steps of `keys`.
// Keys and values have rings of `stages` steps of their own, since scores run ahead of the products with values. Results of
// more than 256 columns don't fit in a warpgroup's registers: two have the same rows, each the scores of its own and half of the columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "schedule/Schedule.h"

namespace flame {

/// `depth` and `width`: sizes of a head of queries and keys, and of values, rounded up to 16, or to 32 where elements of the former, of `element`
/// bytes, are of 8 bits. Results pass through
/// `slabs` pieces of shared memory a warp, or through the queries' with 0: then the next tile's queries come only when
/// the results have left. Up to `splits` blocks share the keys of a tile.
struct WgmmaAttentionSchedule {
  int rows, keys, depth, width, stages, slabs = 0, splits = 1;

  static constexpr int lineBytes = 128, stepBytes = 32, slabBytes = 2048, slabRows = 16, barrierBytes = 16, perLine = 64;
  // The tile that a block is at, whether it is the last; the state of a launch with limits.
  static constexpr int tileBytes = 16, stateBytes = 16;
  /// Warpgroups that share rows, and the columns that each has.
  FLAME_BOTH constexpr int parts() const { return width > 256 ? 2 : 1; }
  FLAME_BOTH constexpr int partWidth() const { return width / parts(); }
  FLAME_BOTH constexpr int consumers() const { return rows / 64 * parts(); }
  /// One warpgroup copies.
  FLAME_BOTH constexpr int threads() const { return 128 * (consumers() + 1); }
  /// Registers of a thread that copies and of one that multiplies; 0: as the compiler has it.
  FLAME_BOTH constexpr int copyRegisters() const { return consumers() == 1 ? 0 : consumers() == 2 ? 24 : 32; }
  FLAME_BOTH constexpr int multiplyRegisters() const { return consumers() == 1 ? 0 : consumers() == 2 ? 240 : 160; }
  /// The inner dim of the scores in whole lines.
  FLAME_BOTH constexpr int depthLines(int element) const { return (depth * element + lineBytes - 1) / lineBytes; }
  FLAME_BOTH constexpr int queryBytes(int element) const { return depthLines(element) * rows * lineBytes; }
  /// A step of keys, contiguous along the head (Major::Depth) or along the keys.
  FLAME_BOTH constexpr int keyBytes(Major order, int element) const {
    return order == Major::Depth ? depthLines(element) * keys * lineBytes : (keys + perLine - 1) / perLine * depth * lineBytes;
  }
  /// A step of values, contiguous along the head (Major::Side) or along the keys.
  FLAME_BOTH constexpr int valueBytes(Major order) const {
    return order == Major::Side ? (width + perLine - 1) / perLine * keys * lineBytes : keys / perLine * width * lineBytes;
  }
  FLAME_BOTH constexpr int sharedBytes(Major k, Major v, int element = 2) const {
    return queryBytes(element) + stages * (keyBytes(k, element) + valueBytes(v)) + 4 * consumers() * slabs * slabBytes +
           (2 * stages + 1) * barrierBytes + tileBytes;
  }
  /// Registers for the scores, their weights and the results, which all live at once.
  FLAME_BOTH constexpr int sums() const { return keys / 2 + keys / 4 + partWidth() / 2; }
  FLAME_BOTH constexpr bool isValid(Major k, Major v, int element = 2) const {
    const int unit = stepBytes / element; // of the inner dim of the scores
    return (element == 2 || (element == 1 && k == Major::Depth)) && rows % 64 == 0 && consumers() >= 1 && consumers() <= 3 && keys % 16 == 0 && keys >= 16 && keys <= 256 &&
           depth % unit == 0 && depth >= unit && (depth <= 256 || (depth <= 512 && k == Major::Depth)) && width % 16 == 0 &&
           width >= 16 && (width <= 256 || (width <= 512 && width % 128 == 0 && v == Major::Side && slabs > 0)) && stages >= 2 &&
           (v == Major::Side || keys % perLine == 0) && splits >= 1 && (splits == 1 || (slabs > 0 && parts() == 1)) &&
           sums() <= (consumers() == 3 ? 132 : 204) &&
           sharedBytes(k, v, element) <= 227 * 1024;
  }
};

} // namespace flame
