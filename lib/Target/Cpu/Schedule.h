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

/// Rows and columns of the micro-tile for elements of so many bytes: what fits the registers.
Schedule microTile(const Target &target, unsigned bytes);
/// For a product of m × n results. Packed columns are in panels of `nr`, which depends on the target alone.
Schedule matmulSchedule(const Target &target, unsigned bytes, DimExpr m, DimExpr n, bool packedColumns);

/// How a convolution's image is cut up.
struct ConvProblem {
  int64_t m, c, taps; // output and input channels of a group, elements of the kernel
  int64_t tapRows;    // rows that one output row reads
  bool shifted;       // an image is kept as it is and read at each tap's offset, rather than unfolded
  bool flat;          // a kernel of one element: pixels have no neighbours
  DimExpr rows, columns, pitch; // of the result; elements of a buffered row
  DimExpr images;               // batch × groups
};
struct ConvSchedule : Schedule {
  int64_t stripRows; // rows of the result in a strip; flat: nc pixels are a strip
};
/// The micro-tile of a convolution with `m` output channels a group: packed weights are in panels of `mr`.
Schedule convMicroTile(const Target &target, unsigned bytes, int64_t m);
ConvSchedule convSchedule(const Target &target, unsigned bytes, const ConvProblem &problem);

} // namespace flame::cpu

#endif // FLAME_LIB_TARGET_CPU_SCHEDULE_H
