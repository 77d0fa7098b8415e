//===- Device.h - shared memory and the position of a thread -----------------------------------------------------===//
#pragma once

namespace flame {

#define FLAME_DEVICE __device__ __forceinline__

/// The block's dynamic shared memory, aligned to 16 bytes.
FLAME_DEVICE unsigned char *dynamicShared() {
  extern __shared__ __align__(16) unsigned char flame_dynamic_shared[];
  return flame_dynamic_shared;
}
FLAME_DEVICE int threadId() { return (int)threadIdx.x; }
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

} // namespace flame
