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
/// The value of the lane whose number differs in the bits of `mask`.
FLAME_DEVICE float shuffleXor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
/// Whether the condition holds in any lane of the warp.
FLAME_DEVICE bool anyLane(bool condition) { return __any_sync(0xffffffffu, condition); }

} // namespace flame
