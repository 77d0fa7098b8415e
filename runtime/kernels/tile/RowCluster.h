//===- RowCluster.h - the blocks of a cluster that share a row -----------------------------------------------------===//
//
// Each block has joined what its threads have; it tells the others by writing into their shared memory, so that after one
// barrier all have the numbers of all. Before the first one all must have begun, which is asked for early and waited for late.
// What comes in an exchange has memory of its own, and nobody writes behind the last barrier, so a block may leave at once.
//
//===-------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"

namespace flame {

/// `blocks` consecutive blocks. All threads of all blocks make it, and call the methods.
template <int blocks> class RowCluster {
public:
  FLAME_DEVICE RowCluster() {
    if constexpr (hasClusters)
      arriveCluster();
  }
  /// Before the first exchange.
  FLAME_DEVICE void meet() const {
    if constexpr (hasClusters)
      awaitCluster();
  }
  /// all[0], …, all[blocks − 1], in shared memory, become what the blocks have in `mine`.
  template <typename T> FLAME_DEVICE void publish(const T *all, T mine) const {
    if (threadId() < blocks)
      storeCluster(all + blockId() % blocks, threadId(), mine);
    syncCluster();
  }
};

} // namespace flame
