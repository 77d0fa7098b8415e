//===- Copy.h - asynchronous copies from global to shared memory -------------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

/// Copies `valid` of `bytes` (4, 8 or 16) bytes and fills up with zeros. Both addresses are multiples of `bytes`;
/// nothing is read if `valid` is 0.
template <int bytes> FLAME_DEVICE void copyAsync(SharedAddress shared, const void *global, int valid) {
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(global), "n"(bytes),
                 "r"(valid)
                 : "memory");
}
/// Copies 16 bytes if `wanted`, and otherwise leaves what is there.
FLAME_DEVICE void copyAsyncIf(bool wanted, SharedAddress shared, const void *global) {
  asm volatile("{\n\t.reg .pred wanted;\n\tsetp.ne.b32 wanted, %2, 0;\n\t"
               "@wanted cp.async.cg.shared.global [%0], [%1], 16;\n\t}" ::"r"(shared),
               "l"(global), "r"((int)wanted)
               : "memory");
}
/// The same, with zeros in place of what is not `inside`, whose address may be any.
FLAME_DEVICE void copyAsyncOrZero(bool wanted, bool inside, SharedAddress shared, const void *global) {
  asm volatile("{\n\t.reg .pred wanted, outside;\n\tsetp.ne.b32 wanted, %2, 0;\n\tsetp.eq.b32 outside, %3, 0;\n\t"
               "@wanted cp.async.cg.shared.global [%0], [%1], 16, outside;\n\t}" ::"r"(shared),
               "l"(global), "r"((int)wanted), "r"((int)inside)
               : "memory");
}
/// By one thread: the copy engine (sm_90) brings `bytes`, a multiple of 16, and tells the barrier, which has been told to expect
/// them. Both addresses are multiples of 16.
FLAME_DEVICE void copyBulk(SharedAddress shared, const void *global, int bytes, SharedAddress barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared),
               "l"(global), "r"(bytes), "r"(barrier)
               : "memory");
#endif
}
/// By one thread: what a copy from there will bring comes as far as the second-level cache (sm_90).
FLAME_DEVICE void prefetchBulk(const void *global, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(bytes) : "memory");
#endif
}
FLAME_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of this thread's groups are under way.
template <int pending> FLAME_DEVICE void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

} // namespace flame
