//===- Grid.h - what blocks of a grid tell each other ---------------------------------------------===//
#pragma once
#include "ptx/Device.h"

namespace flame {

FLAME_DEVICE int gridSize() { return (int)gridDim.x; }
FLAME_DEVICE int blockSize() { return (int)blockDim.x; }

/// What an earlier kernel has left.
FLAME_DEVICE unsigned readState(const unsigned *at) { return __ldcg(at); }
/// Adds 1; the result is what was there.
FLAME_DEVICE unsigned addToState(unsigned *at) { return atomicAdd(at, 1u); }
/// The same, not before `seen` has come, which was read earlier: the sum needs it, as far as the compiler can tell. Nobody waits for
/// the result until it is used.
FLAME_DEVICE unsigned addToStateAfter(unsigned *at, unsigned seen) { return atomicAdd(at, 1u + (seen & (gridDim.y - 1u))); }

/// The run fails.
FLAME_DEVICE void stopKernel() { __trap(); }
/// What this thread wrote before is seen before what it writes afterwards, and what others wrote before theirs is seen.
FLAME_DEVICE void fenceDevice() { __threadfence(); }
/// A word is seen as a whole or not at all; nothing else becomes visible with it.
FLAME_DEVICE void writeWord(unsigned long long *at, unsigned long long word) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(at), "l"(word) : "memory");
}
FLAME_DEVICE unsigned long long readWord(const unsigned long long *at) {
  unsigned long long word;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(word) : "l"(at) : "memory");
  return word;
}
/// Two neighbouring words, each by itself; the address is a multiple of 16.
FLAME_DEVICE void readWords(unsigned long long (&words)[2], const unsigned long long *at) {
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(words[0]), "=l"(words[1]) : "l"(at) : "memory");
}
/// For another block that waits for it: by one lane, behind a barrier of the warp, whose threads' writes become visible with it.
FLAME_DEVICE void raiseFlag(unsigned *at) { asm volatile("st.release.gpu.global.b32 [%0], 1;" ::"l"(at) : "memory"); }
/// Waits until it is up. What was written before is visible, to the lanes behind a barrier of the warp, too.
FLAME_DEVICE void awaitFlag(const unsigned *at) {
  unsigned flag;
  do
    asm volatile("ld.acquire.gpu.global.b32 %0, [%1];" : "=r"(flag) : "l"(at) : "memory");
  while (flag == 0);
}
/// 16 bytes from the second-level cache, where other blocks have written them.
template <typename Four> FLAME_DEVICE Four readFresh(const Four *at) {
  union {
    uint4 words;
    Four four;
  } read = {__ldcg((const uint4 *)at)};
  return read.four;
}

} // namespace flame
