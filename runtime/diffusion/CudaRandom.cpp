//===- CudaRandom.cpp - torch.randn on a GPU --------------------------------===//
//
// A launch has blocks of 256 threads, as many as are needed for one element a thread, or as many as the GPU holds at
// once. A thread draws a block of four numbers (f64: two of 53 bits) and transforms them in pairs; they go to its own
// element and to those that lie a launch's number of threads behind, and so on in rounds. All draws of a launch advance
// the generator by the blocks of one thread.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Random.h"
#include "SmallFloat.h"
#include "flame_rt.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

namespace flame::diffusion {

namespace {

constexpr uint64_t kBlock = 256;

/// Natural logarithm of a positive normal number, with the operations of CUDA's logf.
float deviceLog(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t power = (bits - 0x3F2AAAABu) & 0xFF800000u;
  const float e = static_cast<float>(static_cast<int32_t>(power)) * 0x1p-23f;
  const float m = std::bit_cast<float>(bits - power) - 1.0f; // [-1/3, 1/3)
  constexpr uint32_t coefficients[] = {0x3E1039F6, 0xBDF8CDCC, 0x3E0F2955, 0xBE2AD8B9,
                                       0x3E4CED0B, 0xBE7FFF22, 0x3EAAAA78, 0xBF000000};
  float p = std::bit_cast<float>(0xBE055027u);
  for (const uint32_t c : coefficients)
    p = std::fma(p, m, std::bit_cast<float>(c));
  p = std::fma(p * m, m, m);
  return std::fma(e, std::bit_cast<float>(0x3F317218u), p);
}

struct Pair {
  double first, second;
};

/// Two normal numbers of two 32-bit ones.
Pair boxMuller(uint32_t x, uint32_t y) {
  const float u = std::fma(static_cast<float>(x), 0x1p-32f, 0x1p-33f);
  const float v = std::fma(static_cast<float>(y), std::bit_cast<float>(0x30C90FDBu), std::bit_cast<float>(0x30490FDBu));
  const float radius = std::sqrt(deviceLog(u) * -2.0f);
  return {static_cast<float>(std::sin(static_cast<double>(v))) * radius,
          static_cast<float>(std::cos(static_cast<double>(v))) * radius};
}

/// Two normal numbers of a whole block.
Pair boxMuller(const PhiloxBlock &b) {
  const uint64_t x = b.x ^ uint64_t { b.y } << 21, y = b.z ^ uint64_t { b.w } << 21;
  const double u = std::fma(static_cast<double>(x), 0x1p-53, 0x1p-54);
  const double v = std::fma(static_cast<double>(y), 0x1p-52, 0x1p-53); // half turns
  const double radius = std::sqrt(-2.0 * std::log(u));
  return {radius * std::sin(v * std::numbers::pi), radius * std::cos(v * std::numbers::pi)};
}

} // namespace

PhiloxBlock philox(uint64_t key, uint64_t counterLow, uint64_t counterHigh) {
  uint32_t c0 = static_cast<uint32_t>(counterLow), c1 = static_cast<uint32_t>(counterLow >> 32);
  uint32_t c2 = static_cast<uint32_t>(counterHigh), c3 = static_cast<uint32_t>(counterHigh >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

void CudaGenerator::normal(flame_dtype type, void *out, size_t count) {
  if (type != FLAME_F32 && type != FLAME_F64 && type != FLAME_F16 && type != FLAME_BF16)
    rt::fail(FLAME_UNSUPPORTED, "random numbers of the type ", flame_dtype_name(type),
             " are not supported; f32, f64, f16 and bf16 are");
  if (count == 0)
    return;
  if (device && type != FLAME_F64) {
    std::vector<float> numbers(type == FLAME_F32 ? 0 : count);
    float *to = type == FLAME_F32 ? static_cast<float *>(out) : numbers.data();
    check(flame_device_torch_normal(*device, seed, &offset, to, count));
    for (size_t i = 0; i < numbers.size(); ++i)
      static_cast<uint16_t *>(out)[i] = type == FLAME_BF16 ? rt::floatToBF16(numbers[i]) : rt::floatToF16(numbers[i]);
    return;
  }
  const uint64_t resident = uint64_t{grid.multiprocessors} * (grid.threadsPerMultiprocessor / kBlock);
  const uint64_t blocks = std::min(resident, (count + kBlock - 1) / kBlock), threads = blocks * kBlock;
  const uint64_t each = type == FLAME_F64 ? 2 : 4, rounds = (count - 1) / (threads * each) + 1;
  const auto put = [&](uint64_t at, double value) {
    if (at >= count)
      return;
    if (type == FLAME_F64)
      static_cast<double *>(out)[at] = value;
    else if (type == FLAME_F32)
      static_cast<float *>(out)[at] = static_cast<float>(value);
    else
      static_cast<uint16_t *>(out)[at] =
          type == FLAME_BF16 ? rt::floatToBF16(static_cast<float>(value)) : rt::floatToF16(static_cast<float>(value));
  };
  for (uint64_t round = 0; round < rounds; ++round)
    for (uint64_t thread = 0; thread < threads; ++thread) {
      const uint64_t at = round * threads * each + thread;
      if (at >= count)
        break;
      const PhiloxBlock b = philox(seed, offset + round, thread);
      // … times the deviation plus the mean, which makes +0 of -0.
      const Pair first = each == 2 ? boxMuller(b) : boxMuller(b.x, b.y);
      put(at, first.first + 0.0);
      put(at + threads, first.second + 0.0);
      if (each == 4 && at + 2 * threads < count) {
        const Pair last = boxMuller(b.z, b.w);
        put(at + 2 * threads, last.first + 0.0);
        put(at + 3 * threads, last.second + 0.0);
      }
    }
  offset += rounds;
}

CudaGenerator makeCudaGenerator(uint64_t seed, int32_t device) {
  uint64_t block = 0;
  flame_status *status = flame_device_torch_normal(device, seed, &block, nullptr, 0); // is there a GPU?
  if (flame_status_code(status) == FLAME_DEVICE && device == 0) {
    flame_status_free(status);
    return CudaGenerator(seed, GpuGrid());
  }
  check(status);
  return CudaGenerator(seed, device);
}

} // namespace flame::diffusion
