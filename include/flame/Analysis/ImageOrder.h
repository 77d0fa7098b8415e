//===- ImageOrder.h - transposes that bring channels behind the positions, or back ----------------------------------===//
#ifndef FLAME_ANALYSIS_IMAGEORDER_H
#define FLAME_ANALYSIS_IMAGEORDER_H

#include "flame/Ops/Shape.h"

namespace flame {

/// [N, C, D…] → [N, D…, C].
inline llvm::SmallVector<int64_t> channelsLast(int64_t rank) {
  llvm::SmallVector<int64_t> perm{0};
  for (int64_t d = 2; d < rank; ++d)
    perm.push_back(d);
  perm.push_back(1);
  return perm;
}
/// [N, D…, C] → [N, C, D…].
inline llvm::SmallVector<int64_t> channelsFirst(int64_t rank) {
  llvm::SmallVector<int64_t> perm{0, rank - 1};
  for (int64_t d = 1; d + 1 < rank; ++d)
    perm.push_back(d);
  return perm;
}
/// False for null and for fewer than three dims.
inline bool isChannelsLast(TransposeOp op) {
  return op && op.getPerm().size() > 2 && op.getPerm() == llvm::ArrayRef<int64_t>(channelsLast(op.getPerm().size()));
}
inline bool isChannelsFirst(TransposeOp op) {
  return op && op.getPerm().size() > 2 && op.getPerm() == llvm::ArrayRef<int64_t>(channelsFirst(op.getPerm().size()));
}

} // namespace flame

#endif // FLAME_ANALYSIS_IMAGEORDER_H
