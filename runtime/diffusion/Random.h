//===- Random.h - PyTorch's generators of normal numbers -------------------===//
//
// What `torch.randn(n, generator=g, dtype=…)` returns, bit for bit: images are to be those of diffusers for the same
// seed. test/e2e/test_diffusion.py compares with values that torch printed (test/gpu/make_torch_random.py).
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_RANDOM_H
#define FLAME_DIFFUSION_RANDOM_H

#include "flame_rt.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>

namespace flame::diffusion {

/// torch.Generator("cpu") as it is on x86-64 processors with AVX2. Types: f32, f64, f16, bf16.
class CpuGenerator {
public:
  explicit CpuGenerator(uint64_t seed) : engine(static_cast<uint32_t>(seed)) {}

  /// The next `count` numbers of one torch.randn. Below 16 elements other calls' remains are used, as torch does: calls
  /// must be the same as there. Throws Error(FLAME_UNSUPPORTED) for another type.
  void normal(flame_dtype type, void *out, size_t count);

private:
  template <typename T> void fill(T *out, size_t count);
  double fewNormal();
  uint32_t random() { return static_cast<uint32_t>(engine()); }
  uint64_t random64();

  std::mt19937 engine;
  std::optional<double> second; // of a pair whose first number was given out
};

/// How torch spreads random numbers over a GPU's threads.
struct GpuGrid {
  uint32_t multiprocessors = 132;           // of an H100 or H200
  uint32_t threadsPerMultiprocessor = 2048; // that are resident at most
};

/// torch.Generator("cuda"): Philox4x32-10, a subsequence for each thread, so that numbers depend on the GPU's size
/// where there are more elements than threads. Drawn on a GPU they are torch's bit for bit. Computed here, counters and
/// bits are exact; of the Box-Muller transform, torch uses the GPU's approximate sine and cosine, whose last bits only
/// the GPU knows: f32 numbers are within 4e-6.
class CudaGenerator {
public:
  CudaGenerator(uint64_t seed, GpuGrid grid) : seed(seed), grid(grid) {}
  /// Draws f32, f16 and bf16 on GPU `device`; f64 is computed here.
  CudaGenerator(uint64_t seed, int32_t device) : seed(seed), device(device) {}

  /// The next `count` numbers of one torch.randn. Throws Error(FLAME_UNSUPPORTED) for another type than f32, f64, f16,
  /// bf16; RuntimeError where the GPU fails.
  void normal(flame_dtype type, void *out, size_t count);

private:
  uint64_t seed;
  uint64_t offset = 0; // in blocks of four 32-bit numbers
  GpuGrid grid;
  std::optional<int32_t> device;
};

/// A generator that draws on GPU `device`; where this machine has no GPU, one that computes what an H200 would draw.
/// Throws RuntimeError for other failures of the GPU.
CudaGenerator makeCudaGenerator(uint64_t seed, int32_t device);

/// Four random numbers: Philox4x32-10 of Salmon et al., 2011.
struct PhiloxBlock {
  uint32_t x, y, z, w;
};
PhiloxBlock philox(uint64_t key, uint64_t counterLow, uint64_t counterHigh);

} // namespace flame::diffusion

#endif
