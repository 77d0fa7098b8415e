//===- TorchNormal.h - what torch.randn draws on a GPU ---------------------===//
#ifndef FLAME_RUNTIME_CUDA_TORCHNORMAL_H
#define FLAME_RUNTIME_CUDA_TORCHNORMAL_H

#include <cstddef>
#include <cstdint>

namespace flame::rt::cuda {

/// The numbers of torch.randn(count, device="cuda") with a generator of this seed that has drawn `block` blocks, into
/// memory of the CPU. Returns how many blocks there are then. Throws Error(FLAME_DEVICE) where there is no such GPU,
/// FLAME_UNSUPPORTED where its driver compiles no PTX, FLAME_OUT_OF_MEMORY.
uint64_t torchNormal(int device, uint64_t seed, uint64_t block, size_t count, float *out);

} // namespace flame::rt::cuda

#endif
