//===- Tensor.h - copies of boxes of a tensor by the copy engine -------------------------------------------------===//
//
// A tensor map tells address, dims, strides, the box that one copy moves and how its lines lie in shared memory. It is
// made by the driver (cuTensorMapEncodeTiled) and comes as a __grid_constant__ parameter of the kernel. Coordinates are
// those of the box's first element, the contiguous dim first; what is outside of the tensor is read as zeros, counted among
// the bytes that have come, and not written. From sm_90 on.
//
// A map of windows (cuTensorMapEncodeIm2col) is of x [images, positions…, channels] of a convolution. It also tells where
// the windows' first elements lie: in every dim of the positions from a lower to an upper corner, both relative to the
// dim's ends, in steps of the stride. One copy brings some channels of one tap of that many windows, in the order of the
// result's positions, and goes on with the next image.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

struct alignas(64) TensorMap {
  unsigned long long words[16];
};

/// Brings the map itself into the cache that the copy engine reads it from.
FLAME_DEVICE void prefetchMap(const TensorMap &map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// Shared memory from a multiple of 1024 bytes on, where the swizzle begins.
FLAME_DEVICE SharedAddress swizzledShared() {
  extern __shared__ __align__(1024) unsigned char flame_swizzled_shared[];
  return sharedAddress(flame_swizzled_shared);
}

/// From global memory to `to`; the bytes are counted at the barrier. By one thread.
#define FLAME_LOAD_TENSOR "cp.async.bulk.tensor"
#define FLAME_LOAD_HERE ".shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, "
#define FLAME_LOAD_CAST ".shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
template <int rank>
FLAME_DEVICE void loadTensor(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank]) {
  if constexpr (rank == 2)
    asm volatile(FLAME_LOAD_TENSOR ".2d" FLAME_LOAD_HERE "{%3, %4}], [%2];" ::"r"(to), "l"(&map), "r"(barrier),
                 "r"(at[0]), "r"(at[1])
                 : "memory");
  else if constexpr (rank == 3)
    asm volatile(FLAME_LOAD_TENSOR ".3d" FLAME_LOAD_HERE "{%3, %4, %5}], [%2];" ::"r"(to), "l"(&map), "r"(barrier),
                 "r"(at[0]), "r"(at[1]), "r"(at[2])
                 : "memory");
  else if constexpr (rank == 4)
    asm volatile(FLAME_LOAD_TENSOR ".4d" FLAME_LOAD_HERE "{%3, %4, %5, %6}], [%2];" ::"r"(to), "l"(&map), "r"(barrier),
                 "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
                 : "memory");
  else
    asm volatile(FLAME_LOAD_TENSOR ".5d" FLAME_LOAD_HERE "{%3, %4, %5, %6, %7}], [%2];" ::"r"(to), "l"(&map),
                 "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
                 : "memory");
}
/// To the same place of all blocks of the cluster that `ranks` has bits of; each counts the bytes at its own barrier.
template <int rank>
FLAME_DEVICE void castTensor(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank],
                             unsigned short ranks) {
  if constexpr (rank == 2)
    asm volatile(FLAME_LOAD_TENSOR ".2d" FLAME_LOAD_CAST "{%3, %4}], [%2], %5;" ::"r"(to), "l"(&map), "r"(barrier),
                 "r"(at[0]), "r"(at[1]), "h"(ranks)
                 : "memory");
  else if constexpr (rank == 3)
    asm volatile(FLAME_LOAD_TENSOR ".3d" FLAME_LOAD_CAST "{%3, %4, %5}], [%2], %6;" ::"r"(to), "l"(&map), "r"(barrier),
                 "r"(at[0]), "r"(at[1]), "r"(at[2]), "h"(ranks)
                 : "memory");
  else if constexpr (rank == 4)
    asm volatile(FLAME_LOAD_TENSOR ".4d" FLAME_LOAD_CAST "{%3, %4, %5, %6}], [%2], %7;" ::"r"(to), "l"(&map),
                 "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"(ranks)
                 : "memory");
  else
    asm volatile(FLAME_LOAD_TENSOR ".5d" FLAME_LOAD_CAST "{%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(to), "l"(&map),
                 "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]), "h"(ranks)
                 : "memory");
}

/// The same of a map of windows: `at` is a channel, the place of the first window's first element (the innermost dim of the
/// positions first) and its image; `tap`, how far the tap is from there.
#define FLAME_LOAD_WINDOWS_HERE ".shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, "
#define FLAME_LOAD_WINDOWS_CAST                                                                                        \
  ".shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
template <int rank>
FLAME_DEVICE void loadWindows(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank + 2],
                              const int (&tap)[rank]) {
  if constexpr (rank == 1)
    asm volatile(FLAME_LOAD_TENSOR ".3d" FLAME_LOAD_WINDOWS_HERE "{%3, %4, %5}], [%2], {%6};" ::"r"(to), "l"(&map),
                 "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "h"((unsigned short)tap[0])
                 : "memory");
  else if constexpr (rank == 2)
    asm volatile(FLAME_LOAD_TENSOR ".4d" FLAME_LOAD_WINDOWS_HERE "{%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"((unsigned short)tap[0]),
                 "h"((unsigned short)tap[1])
                 : "memory");
  else
    asm volatile(FLAME_LOAD_TENSOR ".5d" FLAME_LOAD_WINDOWS_HERE "{%3, %4, %5, %6, %7}], [%2], {%8, %9, %10};" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]),
                 "h"((unsigned short)tap[0]), "h"((unsigned short)tap[1]), "h"((unsigned short)tap[2])
                 : "memory");
}
template <int rank>
FLAME_DEVICE void castWindows(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank + 2],
                              const int (&tap)[rank], unsigned short ranks) {
  if constexpr (rank == 1)
    asm volatile(FLAME_LOAD_TENSOR ".3d" FLAME_LOAD_WINDOWS_CAST "{%3, %4, %5}], [%2], {%6}, %7;" ::"r"(to), "l"(&map),
                 "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "h"((unsigned short)tap[0]), "h"(ranks)
                 : "memory");
  else if constexpr (rank == 2)
    asm volatile(FLAME_LOAD_TENSOR ".4d" FLAME_LOAD_WINDOWS_CAST "{%3, %4, %5, %6}], [%2], {%7, %8}, %9;" ::"r"(to),
                 "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"((unsigned short)tap[0]),
                 "h"((unsigned short)tap[1]), "h"(ranks)
                 : "memory");
  else
    asm volatile(FLAME_LOAD_TENSOR ".5d" FLAME_LOAD_WINDOWS_CAST "{%3, %4, %5, %6, %7}], [%2], {%8, %9, %10}, %11;" ::"r"(
                     to),
                 "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]),
                 "h"((unsigned short)tap[0]), "h"((unsigned short)tap[1]), "h"((unsigned short)tap[2]), "h"(ranks)
                 : "memory");
}
#undef FLAME_LOAD_TENSOR
#undef FLAME_LOAD_HERE
#undef FLAME_LOAD_CAST
#undef FLAME_LOAD_WINDOWS_HERE
#undef FLAME_LOAD_WINDOWS_CAST

/// From shared to global memory, as part of this thread's next group. What ordinary stores wrote there needs
/// fenceShared by the threads that wrote, then a barrier.
template <int rank>
FLAME_DEVICE void storeTensor(const TensorMap &map, SharedAddress from, const int (&at)[rank]) {
  if constexpr (rank == 2)
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map), "r"(from),
                 "r"(at[0]), "r"(at[1])
                 : "memory");
  else if constexpr (rank == 3)
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
                 "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2])
                 : "memory");
  else if constexpr (rank == 4)
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
                 "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
                 : "memory");
  else
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(&map),
                 "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
                 : "memory");
}
FLAME_DEVICE void commitStores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of this thread's groups have yet to read shared memory.
template <int pending> FLAME_DEVICE void waitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

/// Four 8 × 8 matrices of 16-bit elements; lane l gives the address of line l % 8 of matrix l / 8.
FLAME_DEVICE void storeMatrices(SharedAddress line, unsigned a, unsigned b, unsigned c, unsigned d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(line), "r"(a), "r"(b), "r"(c),
               "r"(d)
               : "memory");
}
FLAME_DEVICE void storeShared(SharedAddress at, unsigned a, unsigned b) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(at), "r"(a), "r"(b) : "memory");
}
FLAME_DEVICE void storeShared(SharedAddress at, unsigned a) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(a) : "memory"); }
FLAME_DEVICE void storeShared(SharedAddress at, unsigned short a) { asm volatile("st.shared.b16 [%0], %1;" ::"r"(at), "h"(a) : "memory"); }
/// What this thread wrote to shared memory by ordinary stores is seen by the copy engine and the matrix units, behind a
/// barrier that this thread comes to afterwards.
FLAME_DEVICE void fenceShared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

} // namespace flame
