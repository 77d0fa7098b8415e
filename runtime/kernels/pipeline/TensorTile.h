//===- TensorTile.h - an operand's tile, from a tensor map to wgmma ----------------------------------------------===//
//
// A tile of an operand is boxes of lines of 128 bytes, in the 128-byte swizzle. If lines run along the inner dim, a box is
// all lines (rows of x, columns of y) by 128 bytes of the inner dim; otherwise a box is 128 bytes of the side by all
// positions of the inner dim. In a cluster whose blocks share a tile, each brings an equal part of the lines of every box
// to all of them.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include "ptx/Tensor.h"
#include "ptx/Wgmma.h"

namespace flame {

/// `side` rows of x or columns of y by `depth` of the inner dim; `sharers` blocks have the same tile.
template <Arithmetic type, Major order, int side, int depth, int sharers> struct TensorTile {
  static constexpr Major major = order;
  static constexpr int step = depth, blocks = sharers;
  static constexpr int perLine = 128 / sizeOf(type);
  static constexpr int lines = order == Major::Depth ? side : depth;
  static constexpr int boxes = order == Major::Depth ? depth / perLine : (side + perLine - 1) / perLine;
  static constexpr int boxBytes = lines * 128, bytes = boxes * boxBytes;
  static constexpr int part = lines / sharers; // lines that one block brings
  static_assert(part % 8 == 0, "the swizzle repeats every eight lines");

  /// Starts the copies of the tile at (side, depth) of the matrix at `batch`, or of this block's part of them.
  template <int batchDims>
  FLAME_DEVICE static void load(const TensorMap &map, SharedAddress to, SharedAddress barrier, int side0, int depth0,
                                const int (&batch)[batchDims], int rank) {
#pragma unroll
    for (int box = 0; box < boxes; ++box)
      loadBox(map, to, barrier, box, (order == Major::Depth ? depth0 : side0) + box * perLine,
              order == Major::Depth ? side0 : depth0, batch, rank);
  }
  /// The same for one box of them, whose first line is `line` and begins at `along`.
  template <int batchDims>
  FLAME_DEVICE static void loadBox(const TensorMap &map, SharedAddress to, SharedAddress barrier, int box, int along,
                                   int line, const int (&batch)[batchDims], int rank) {
    int at[batchDims + 2] = {along, line + (sharers == 1 ? 0 : rank * part)};
#pragma unroll
    for (int d = 0; d < batchDims; ++d)
      at[d + 2] = batch[d];
    if constexpr (sharers == 1)
      loadTensor(map, to + box * boxBytes, barrier, at);
    else
      castTensor(map, to + box * boxBytes + rank * part * 128, barrier, at, (unsigned short)((1 << sharers) - 1));
  }

  /// Starts the copies of a tile whose side is half of one operand's and half of another's, each from `side0` on.
  template <int batchDims>
  FLAME_DEVICE static void loadPair(const TensorMap &first, const TensorMap &second, SharedAddress to,
                                    SharedAddress barrier, int side0, int depth0, const int (&batch)[batchDims], int rank) {
    using Half = TensorTile<type, order, side / 2, depth, sharers>;
    static_assert(2 * Half::bytes == bytes, "whole boxes");
    constexpr int further = order == Major::Depth ? side / 2 * 128 : Half::bytes;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int box = 0; box < Half::boxes; ++box)
        Half::loadBox(half ? second : first, to + half * further + box * (boxBytes - Half::boxBytes), barrier, box,
                      (order == Major::Depth ? depth0 : side0) + box * perLine, order == Major::Depth ? side0 : depth0, batch,
                      rank);
  }

  /// For wgmma: the tile from line `first` of the side on; `first` is a multiple of 8, or of 64 elements of the side.
  FLAME_DEVICE static unsigned long long matrix(SharedAddress tile, int first) {
    return matrixAt(tile + (order == Major::Depth ? first * 128 : first / perLine * boxBytes), boxBytes);
  }
  /// How far on in the matrix the `step`th 32 bytes of the inner dim (16 positions) are, in units of 16 bytes.
  FLAME_DEVICE static constexpr int further(int step) {
    return (order == Major::Depth ? step / 4 * boxBytes + step % 4 * 32 : step * 16 * 128) / 16;
  }
};

} // namespace flame
