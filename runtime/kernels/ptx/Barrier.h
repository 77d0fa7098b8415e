//===- Barrier.h - barriers in shared memory, named barriers, registers of a warpgroup ---------------------------===//
//
// An mbarrier is 8 bytes of shared memory. A phase of it ends when all arrivals have come that it was made for and all
// bytes that were announced have been copied; then the next phase begins by itself. Who waits names the parity of the
// phase that must have ended: 0 for the first, 1 for the second, 0 for the third … A barrier on which nothing has
// happened yet counts as one whose phase of parity 1 has ended. Clusters, registers and announced bytes are of sm_90.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

/// By one thread, before a barrier of the block (or the cluster, see fenceBarriers) lets the others use it.
FLAME_DEVICE void makeBarrier(SharedAddress barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes the barriers that this thread has made visible to the cluster's blocks and to the copy engine.
FLAME_DEVICE void fenceBarriers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async;" ::: "memory");
#endif
}

FLAME_DEVICE void arrive(SharedAddress barrier) {
  asm volatile("{\n\t.reg .b64 state;\n\tmbarrier.arrive.shared.b64 state, [%0];\n\t}" ::"r"(barrier) : "memory");
}
/// Arrives when the asynchronous copies that this thread has started are done.
FLAME_DEVICE void arriveAfterCopies(SharedAddress barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
/// At the barrier in the same place of block `rank` of the cluster. What this thread wrote is not made visible to that block:
/// with `.cluster` the arrival would wait for all of the thread's accesses, some 400 clocks.
FLAME_DEVICE void arriveAt(SharedAddress barrier, int rank) {
  asm volatile("{\n\t.reg .b32 there;\n\tmapa.shared::cluster.u32 there, %0, %1;\n\t"
               "mbarrier.arrive.shared::cluster.b64 _, [there];\n\t}" ::"r"(barrier),
               "r"(rank)
               : "memory");
}
/// The same where reads of this thread must have ended before what the other block does then.
FLAME_DEVICE void arriveReleasing(SharedAddress barrier, int rank) {
  asm volatile("{\n\t.reg .b32 there;\n\tmapa.shared::cluster.u32 there, %0, %1;\n\t"
               "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n\t}" ::"r"(barrier),
               "r"(rank)
               : "memory");
}
/// Writes 16 bytes to another block's shared memory; that block's barrier counts them when they are there. Both addresses
/// are clusterAddress's.
FLAME_DEVICE void sendShared(SharedAddress there, SharedAddress barrier, unsigned a, unsigned b, unsigned c, unsigned d) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(there),
               "r"(a), "r"(b), "r"(c), "r"(d), "r"(barrier)
               : "memory");
}
/// Arrives and announces bytes that the copy engine will bring.
FLAME_DEVICE void arriveExpecting(SharedAddress barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Whether the phase has ended; waits, from sm_90 on, for a time that the hardware chooses.
FLAME_DEVICE bool hasEnded(SharedAddress barrier, int parity) {
#if __CUDA_ARCH__ >= 900
#define FLAME_TEST "try_wait"
#else
#define FLAME_TEST "test_wait"
#endif
  unsigned ended;
  asm volatile("{\n\t.reg .pred ended;\n\tmbarrier." FLAME_TEST ".parity.shared.b64 ended, [%1], %2;\n\t"
               "selp.u32 %0, 1, 0, ended;\n\t}"
               : "=r"(ended)
               : "r"(barrier), "r"(parity)
               : "memory");
#undef FLAME_TEST
  return ended;
}
FLAME_DEVICE void await(SharedAddress barrier, int parity) {
  while (!hasEnded(barrier, parity)) {
  }
}

/// Barrier `number` (1 to 15; 0 is syncBlock's) of `threads` threads, whole warps.
FLAME_DEVICE void syncThreads(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

/// Arrives there and goes on; others wait by syncThreads.
FLAME_DEVICE void arriveThreads(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

/// One lane of a warp, the same one each time. All lanes come here.
FLAME_DEVICE bool isElected() {
  unsigned elected;
  asm volatile("{\n\t.reg .pred elected;\n\telect.sync _|elected, 0xffffffff;\n\tselp.u32 %0, 1, 0, elected;\n\t}"
               : "=r"(elected));
  return elected;
}

/// From now on a thread of this warpgroup has so many registers (a multiple of 8); all its threads come here. A kernel needs
/// __launch_bounds__(threads, 1) for it.
template <int count> FLAME_DEVICE void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count> FLAME_DEVICE void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

/// This block's number in its cluster.
FLAME_DEVICE int clusterRank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return (int)rank;
}
/// The two halves of syncCluster, for threads of a warp that don't come together.
FLAME_DEVICE void arriveCluster() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
FLAME_DEVICE void awaitCluster() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }

} // namespace flame
