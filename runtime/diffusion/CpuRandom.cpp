//===- CpuRandom.cpp - torch.randn on the CPU ------------------------------===//
//
// Uniform numbers come from mt19937, 24 or 53 bits each (8 or 11 for bf16 and f16). From 16 elements on they are drawn
// for the whole tensor first and then transformed by Box and Muller 16 at a time, numbers i and i + 8 of a group being
// a pair; where the count is no multiple of 16, the last 16 are drawn and transformed anew. f32 takes logarithm, sine
// and cosine from the Cephes library's polynomials, whose roundings, fused multiply-adds included, are written out
// below.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Random.h"
#include "SmallFloat.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

namespace flame::diffusion {

namespace {

constexpr size_t kGroup = 16;

// ---- f32: Cephes

/// fma(a, b, c); an instruction in functions of the target "fma", the C library's exact one elsewhere.
#define FLAME_FMA __builtin_fmaf

inline __attribute__((always_inline)) float cephesLog(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  float e = static_cast<float>(static_cast<int32_t>(bits >> 23) - 0x7F) + 1.0f;
  x = std::bit_cast<float>((bits & ~0x7F800000u) | 0x3F000000u); // [0.5, 1)
  const bool small = x < 0.707106781186547524f;
  const float again = small ? x : 0.0f;
  x = x - 1.0f + again;
  e -= small ? 1.0f : 0.0f;
  const float z = x * x;
  float y = 7.0376836292E-2f;
  y = FLAME_FMA(y, x, -1.1514610310E-1f);
  y = FLAME_FMA(y, x, 1.1676998740E-1f);
  y = FLAME_FMA(y, x, -1.2420140846E-1f);
  y = FLAME_FMA(y, x, 1.4249322787E-1f);
  y = FLAME_FMA(y, x, -1.6668057665E-1f);
  y = FLAME_FMA(y, x, 2.0000714765E-1f);
  y = FLAME_FMA(y, x, -2.4999993993E-1f);
  y = FLAME_FMA(y, x, 3.3333331174E-1f);
  y = y * x;
  y = FLAME_FMA(y, z, e * -2.12194440e-4f);
  y = FLAME_FMA(-z, 0.5f, y);
  return FLAME_FMA(e, 0.693359375f, x + y);
}

inline __attribute__((always_inline)) void cephesSinCos(float x, float &sine, float &cosine) {
  // x in [0, 2 pi); the octant, made even
  const int32_t j = (static_cast<int32_t>(x * 1.27323954473516f) + 1) & ~1;
  const float y = static_cast<float>(j);
  x = FLAME_FMA(y, -0.78515625f, x);
  x = FLAME_FMA(y, -2.4187564849853515625e-4f, x);
  x = FLAME_FMA(y, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = 2.443315711809948E-005f;
  c = FLAME_FMA(c, z, -1.388731625493765E-003f);
  c = FLAME_FMA(c, z, 4.166664568298827E-002f);
  c = c * z;
  c = FLAME_FMA(c, z, -(z * 0.5f)) + 1.0f;
  float s = -1.9515295891E-4f;
  s = FLAME_FMA(s, z, 8.3321608736E-3f);
  s = FLAME_FMA(s, z, -1.6666654611E-1f);
  s = s * z;
  s = FLAME_FMA(s, x, x);
  const bool straight = (j & 2) == 0;
  const float a = straight ? s : c, b = straight ? c : s;
  const uint32_t signA = (static_cast<uint32_t>(j) & 4) << 29, signB = (~(static_cast<uint32_t>(j) - 2) & 4) << 29;
  sine = std::bit_cast<float>(std::bit_cast<uint32_t>(a) ^ signA);
  cosine = std::bit_cast<float>(std::bit_cast<uint32_t>(b) ^ signB);
}

inline __attribute__((always_inline)) void groupOf(float *data) {
  constexpr float twoPi = static_cast<float>(2 * std::numbers::pi);
  for (size_t j = 0; j < kGroup / 2; ++j) {
    const float radius = __builtin_sqrtf(-2.0f * cephesLog(1.0f - data[j]));
    float sine, cosine;
    cephesSinCos(twoPi * data[j + 8], sine, cosine);
    // … times the deviation plus the mean, which makes +0 of -0.
    data[j] = radius * cosine + 0.0f;
    data[j + 8] = radius * sine + 0.0f;
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void groupsFused(float *data, size_t groups) {
  for (size_t i = 0; i < groups; ++i)
    groupOf(data + i * kGroup);
}
#endif

void groups(float *data, size_t groups) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return groupsFused(data, groups);
#endif
  for (size_t i = 0; i < groups; ++i)
    groupOf(data + i * kGroup);
}

// ---- f64: the C library

void groups(double *data, size_t groups) {
  for (double *group = data; group != data + groups * kGroup; group += kGroup)
    for (size_t j = 0; j < kGroup / 2; ++j) {
      const double radius = std::sqrt(-2 * std::log(1 - group[j]));
      const double theta = 2 * std::numbers::pi * group[j + 8];
      group[j] = radius * std::cos(theta) + 0.0;
      group[j + 8] = radius * std::sin(theta) + 0.0;
    }
}

// ---- f16 and bf16: every operation in f32, rounded

/// A number of 16 bits with `digits` of them for the fraction, the leading one included.
template <flame_dtype Type> struct Small {
  uint16_t bits = 0;
  static constexpr int digits = Type == FLAME_BF16 ? 8 : 11;
  static float rounded(float x) { return load(store(x)); }
  static uint16_t store(float x) { return Type == FLAME_BF16 ? rt::floatToBF16(x) : rt::floatToF16(x); }
  static float load(uint16_t b) { return Type == FLAME_BF16 ? rt::bf16ToFloat(b) : rt::f16ToFloat(b); }
};

template <flame_dtype Type> void groups(Small<Type> *data, size_t groups) {
  using S = Small<Type>;
  for (S *group = data; group != data + groups * kGroup; group += kGroup)
    for (size_t j = 0; j < kGroup / 2; ++j) {
      const float u1 = S::rounded(1 - S::load(group[j].bits)), u2 = S::load(group[j + 8].bits);
      const float log = S::rounded(std::log(u1));
      const float radius = S::rounded(std::sqrt(S::rounded(-2 * log)));
      const float theta = S::rounded(static_cast<float>(2 * std::numbers::pi * static_cast<double>(u2)));
      group[j].bits = S::store(S::rounded(radius * S::rounded(std::cos(theta))) + 0.0f);
      group[j + 8].bits = S::store(S::rounded(radius * S::rounded(std::sin(theta))) + 0.0f);
    }
}

void assign(float &to, double value) { to = static_cast<float>(value); }
void assign(double &to, double value) { to = value; }
template <flame_dtype Type> void assign(Small<Type> &to, double value) {
  to.bits = Small<Type>::store(static_cast<float>(value));
}

} // namespace

uint64_t CpuGenerator::random64() {
  const uint64_t high = random();
  return high << 32 | random();
}

/// A number for tensors of less than 16 elements, which are drawn in pairs; the second one waits for the next element.
double CpuGenerator::fewNormal() {
  if (second) {
    const double value = *second;
    second.reset();
    return value + 0.0;
  }
  const auto uniform = [&] { return static_cast<double>(random64() & ((uint64_t{1} << 53) - 1)) * 0x1p-53; };
  const double u1 = uniform(), u2 = uniform();
  const double radius = std::sqrt(-2.0 * std::log1p(-u2)), theta = 2.0 * std::numbers::pi * u1;
  second = radius * std::sin(theta);
  return radius * std::cos(theta) + 0.0;
}

template <typename T> void CpuGenerator::fill(T *out, size_t count) {
  if (count < kGroup) {
    for (size_t i = 0; i < count; ++i)
      assign(out[i], fewNormal());
    return;
  }
  const auto uniform = [&](T *to, size_t n) {
    for (size_t i = 0; i < n; ++i)
      if constexpr (std::is_same_v<T, double>) {
        to[i] = static_cast<double>(random64() & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
      } else if constexpr (std::is_same_v<T, float>) {
        to[i] = static_cast<float>(random() & 0xFFFFFF) * 0x1p-24f;
      } else {
        constexpr uint32_t mask = (1u << T::digits) - 1;
        to[i].bits = T::store(static_cast<float>(random() & mask) / static_cast<float>(mask + 1));
      }
  };
  uniform(out, count);
  groups(out, count / kGroup);
  if (count % kGroup) {
    uniform(out + count - kGroup, kGroup);
    groups(out + count - kGroup, 1);
  }
}

void CpuGenerator::normal(flame_dtype type, void *out, size_t count) {
  switch (type) {
  case FLAME_F32:
    return fill(static_cast<float *>(out), count);
  case FLAME_F64:
    return fill(static_cast<double *>(out), count);
  case FLAME_F16:
    return fill(static_cast<Small<FLAME_F16> *>(out), count);
  case FLAME_BF16:
    return fill(static_cast<Small<FLAME_BF16> *>(out), count);
  default:
    rt::fail(FLAME_UNSUPPORTED, "random numbers of the type ", flame_dtype_name(type),
             " are not supported; f32, f64, f16 and bf16 are");
  }
}

} // namespace flame::diffusion
