//===- Swizzle.h - tiles in shared memory ------------------------------------------------------------------------===//
//
// A tile is lines of 16-byte chunks. Chunks of a line are permuted by the line's number, so that eight lines at the
// same chunk, which is what ldmatrix reads, lie in different banks.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

template <int chunks> FLAME_DEVICE int chunkOffset(int line, int chunk) {
  static_assert(chunks == 2 || chunks == 4 || chunks % 8 == 0, "chunks of a line");
  int swizzled = chunks == 2 ? chunk ^ ((line >> 2) & 1) : chunks == 4 ? chunk ^ ((line >> 1) & 3) : chunk ^ (line & 7);
  return (line * chunks + swizzled) * 16;
}

/// From a lane's chunk of a tile that begins at a multiple of 128 bytes: the one that is `chunk` chunks (even, and the
/// lane's own chunk has no bit of it) and `lines` lines (a multiple of eight) further. With constants that is one
/// instruction and an offset, where chunkOffset of a sum takes a register for every pair.
template <int chunks> FLAME_DEVICE SharedAddress further(SharedAddress lane, int lines, int chunk) {
  return flip(lane, (chunk & 7) * 16) + ((lines * chunks + (chunk & ~7)) * 16);
}

} // namespace flame
