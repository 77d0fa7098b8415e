//===- Device.h - shared memory and the position of a thread -----------------------------------------------------===//
#pragma once

namespace flame {

#define FLAME_DEVICE __device__ __forceinline__

/// The block's dynamic shared memory, aligned to 128 bytes.
FLAME_DEVICE unsigned char *dynamicShared() {
  extern __shared__ __align__(128) unsigned char flame_dynamic_shared[];
  return flame_dynamic_shared;
}
/// An address in shared memory: 32 bits, where pointers take twice as many registers.
using SharedAddress = unsigned;
FLAME_DEVICE SharedAddress sharedAddress(const void *shared) { return (unsigned)__cvta_generic_to_shared(shared); }
FLAME_DEVICE SharedAddress flip(SharedAddress address, int bits) { return address ^ bits; }
/// The mask tells the compiler that it is not negative.
FLAME_DEVICE int threadId() { return (int)(threadIdx.x & 1023); }
FLAME_DEVICE int blockId() { return (int)blockIdx.x; }
FLAME_DEVICE void syncBlock() { __syncthreads(); }
FLAME_DEVICE void syncWarp() { __syncwarp(); }
/// Lets the kernels behind this one begin, as far as they need none of its results; waits for those before it. Every
/// kernel calls both, whether or not the launch overlaps them.
FLAME_DEVICE void releaseDependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
FLAME_DEVICE void awaitProducers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The value of the lane whose number differs in the bits of `mask`.
FLAME_DEVICE float shuffleXor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
/// Whether the condition holds in any lane of the warp.
FLAME_DEVICE bool anyLane(bool condition) { return __any_sync(0xffffffffu, condition); }

} // namespace flame
