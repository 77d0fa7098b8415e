//===- Schedule.h - tile sizes of contractions ------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CPU_SCHEDULE_H
#define FLAME_LIB_TARGET_CPU_SCHEDULE_H

#include "flame/Target/Cpu/Target.h"
#include "flame/Support/DimExpr.h"

namespace flame::cpu {

/// Sizes of the blocks that a matrix product is computed in, all in elements. A tile of mc × nc results is kept in
/// scratch memory; kc is how far the inner dim runs before the next micro-tile, so that a panel stays in the L1 cache.
struct Schedule {
  int64_t lanes; // of a vector register
  int64_t mr;    // rows of a micro-tile
  int64_t nr;    // columns of a micro-tile, a multiple of lanes
  int64_t mc;    // rows of a tile, a multiple of mr
  int64_t nc;    // columns of a tile, a multiple of nr
  int64_t kc;
};

/// Rows and columns of the micro-tile for elements of so many bytes: what fits the registers. Packed weights have this
/// layout, so it depends on the target alone.
Schedule microTile(const Target &target, unsigned bytes);
/// For a product of m × n results; an unknown size is null.
Schedule matmulSchedule(const Target &target, unsigned bytes, DimExpr m, DimExpr n, bool packedColumns);
/// For a convolution with `m` output channels and an inner dim of `k`.
Schedule convSchedule(const Target &target, unsigned bytes, DimExpr m, DimExpr k);

} // namespace flame::cpu

#endif // FLAME_LIB_TARGET_CPU_SCHEDULE_H
