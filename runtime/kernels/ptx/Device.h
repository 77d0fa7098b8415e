//===- Device.h - shared memory and the position of a thread -----------------------------------------------------===//
#pragma once

namespace flame {

#define FLAME_DEVICE __device__ __forceinline__
/// A function that is compiled once and called: one that many places need and that takes long.
#define FLAME_CALLED __device__ __noinline__

/// The block's dynamic shared memory, aligned to 128 bytes.
FLAME_DEVICE unsigned char *dynamicShared() {
  extern __shared__ __align__(128) unsigned char flame_dynamic_shared[];
  return flame_dynamic_shared;
}
/// An address in shared memory: 32 bits, where pointers take twice as many registers.
using SharedAddress = unsigned;
FLAME_DEVICE SharedAddress sharedAddress(const void *shared) { return (unsigned)__cvta_generic_to_shared(shared); }
FLAME_DEVICE void *pointerTo(SharedAddress address) { return __cvta_shared_to_generic(address); }
/// The same, in a register: the compiler does not compute it again wherever it is used.
FLAME_DEVICE SharedAddress pinned(SharedAddress address) {
  asm volatile("" : "+r"(address));
  return address;
}
FLAME_DEVICE SharedAddress flip(SharedAddress address, int bits) { return address ^ bits; }
/// The branch that this is in stays one, where the compiler might choose among values.
FLAME_DEVICE void keepBranch() { asm volatile("" ::: "memory"); }
/// A word of which the compiler does not know what its halves were made of.
FLAME_DEVICE unsigned asWord(unsigned word) {
  asm("" : "+r"(word));
  return word;
}
/// The mask tells the compiler that it is not negative.
FLAME_DEVICE int threadId() { return (int)(threadIdx.x & 1023); }
FLAME_DEVICE int blockId() { return (int)blockIdx.x; }
FLAME_DEVICE void syncBlock() { __syncthreads(); }
FLAME_DEVICE void syncWarp() { __syncwarp(); }
/// Lets the next kernel start, once all blocks of this one have come here.
FLAME_DEVICE void releaseDependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Waits until the kernels before this one have ended. Kernels may overlap, so none reads their results, or writes
/// anything, before that.
FLAME_DEVICE void awaitProducers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The value of the lane whose number differs in the bits of `mask`.
template <typename T> FLAME_DEVICE T shuffleXor(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
/// The value of lane `from`.
template <typename T> FLAME_DEVICE T shuffle(T value, int from) { return __shfl_sync(0xffffffffu, value, from); }
/// The same value in all lanes of the warp, as the compiler can't see by itself.
FLAME_DEVICE int uniform(int value) { return __shfl_sync(0xffffffffu, value, 0); }
/// Whether the condition holds in any lane of the warp.
FLAME_DEVICE bool anyLane(bool condition) { return __any_sync(0xffffffffu, condition); }
/// Whether it holds in any thread of the block; all wait for each other.
FLAME_DEVICE bool syncBlockAny(bool condition) { return __syncthreads_or(condition); }
/// The lanes of the warp in which it holds, as bits.
FLAME_DEVICE unsigned lanesWith(bool condition) { return __ballot_sync(0xffffffffu, condition); }
FLAME_DEVICE int countBits(unsigned bits) { return __popc(bits); }
/// Adds 1 to a number in shared memory; the result is what was there.
FLAME_DEVICE unsigned addToShared(unsigned *at) { return atomicAdd(at, 1u); }
/// The number becomes the larger one of it and `value`.
FLAME_DEVICE void maxInShared(int *at, int value) { atomicMax(at, value); }

/// Blocks in clusters: those of a cluster run at one time and read each other's shared memory.
#if __CUDA_ARCH__ >= 900
constexpr bool hasClusters = true;
#else
constexpr bool hasClusters = false;
#endif
/// All threads of all blocks of the cluster; what they wrote to shared memory is visible behind it.
FLAME_DEVICE void syncCluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
/// Where the same place is in the shared memory of block `rank` of the cluster.
FLAME_DEVICE SharedAddress clusterAddress(SharedAddress here, int rank) {
  SharedAddress there = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
#endif
  return there;
}
/// Words of another block; the address is a multiple of their size.
FLAME_DEVICE void loadCluster(unsigned (&words)[4], const void *shared, int rank) {
#if __CUDA_ARCH__ >= 900
  asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(clusterAddress(sharedAddress(shared), rank))
               : "memory");
#endif
}
FLAME_DEVICE void loadCluster(unsigned (&words)[2], const void *shared, int rank) {
#if __CUDA_ARCH__ >= 900
  asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];"
               : "=r"(words[0]), "=r"(words[1])
               : "r"(clusterAddress(sharedAddress(shared), rank))
               : "memory");
#endif
}
FLAME_DEVICE void fromBits(float &value, unsigned bits) { value = __uint_as_float(bits); }
FLAME_DEVICE void fromBits(int &value, unsigned bits) { value = (int)bits; }

} // namespace flame
