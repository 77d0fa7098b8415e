//===- Prelude.cpp - what stands before all kernels ------------------------------------------------------------------===//
#include "Printer.h"

using namespace mlir;

StringRef flame::cuda::kernelPrelude() {
  return R"(// Half precision by its bits, so that no header is needed.
__device__ __forceinline__ float flame_half_to_float(unsigned short x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ __forceinline__ unsigned short flame_float_to_half(float x) {
  unsigned short y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float flame_bf16_to_float(unsigned short x) { return __uint_as_float((unsigned int)x << 16); }
// The exponent's bias differs from that of f32 by 120; the product is right for subnormals, too.
__device__ __forceinline__ float flame_e4m3_to_float(unsigned char x) {
  const unsigned int magnitude = x & 0x7f, sign = (unsigned int)(x & 0x80) << 24;
  const float y = __uint_as_float(magnitude << 20) * __uint_as_float((127u + 120u) << 23);
  return __uint_as_float(__float_as_uint(magnitude == 0x7f ? __uint_as_float(0x7fc00000u) : y) | sign);
}
// A half without its last eight bits.
__device__ __forceinline__ float flame_e5m2_to_float(unsigned char x) { return flame_half_to_float((unsigned short)(x << 8)); }
__device__ __forceinline__ unsigned short flame_float_to_bf16(float x) {
  unsigned short y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
// f32 to a float of 8 bits, to nearest even; what is too large becomes the largest finite number.
template <int mantissa, int bias, int largest> __device__ __forceinline__ unsigned char flame_float_to_fp8(float x) {
  const unsigned int bits = __float_as_uint(x), magnitude = bits & 0x7fffffffu;
  const unsigned char sign = bits >> 24 & 0x80;
  if (magnitude > 0x7f800000u)
    return sign | 0x7f;
  unsigned int code;
  if (magnitude < (unsigned int)(128 - bias) << 23) { // subnormal: a multiple of the smallest number
    code = __float2uint_rn(__uint_as_float(magnitude) * __uint_as_float((unsigned int)(127 + bias - 1 + mantissa) << 23));
  } else {
    const int drop = 23 - mantissa;
    code = (magnitude + ((1u << (drop - 1)) - 1) + (magnitude >> drop & 1) >> drop) - ((127 - bias) << mantissa);
  }
  return sign | (code > largest ? largest : code);
}
__device__ __forceinline__ unsigned char flame_float_to_e4m3(float x) {
#if __CUDA_ARCH__ >= 890
  unsigned short y;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(y) : "f"(0.0f), "f"(x));
  return y;
#else
  return flame_float_to_fp8<3, 7, 0x7e>(x);
#endif
}
__device__ __forceinline__ unsigned char flame_float_to_e5m2(float x) {
#if __CUDA_ARCH__ >= 890
  unsigned short y;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(y) : "f"(0.0f), "f"(x));
  return y;
#else
  return flame_float_to_fp8<2, 15, 0x7b>(x);
#endif
}
__device__ __forceinline__ unsigned short flame_double_to_half(double x) {
  unsigned short y;
  asm("cvt.rn.f16.f64 %0, %1;" : "=h"(y) : "d"(x));
  return y;
}
__device__ __forceinline__ int flame_max(int x, int y) { return x > y ? x : y; }
__device__ __forceinline__ int flame_min(int x, int y) { return x < y ? x : y; }
__device__ __forceinline__ long long flame_max(long long x, long long y) { return x > y ? x : y; }
__device__ __forceinline__ long long flame_min(long long x, long long y) { return x < y ? x : y; }
// Maximum and minimum that keep a NaN.
__device__ __forceinline__ float flame_maximum(float x, float y) {
  float z;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}
__device__ __forceinline__ float flame_minimum(float x, float y) {
  float z;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}
__device__ __forceinline__ double flame_maximum(double x, double y) { return x != x ? x : y != y ? y : fmax(x, y); }
__device__ __forceinline__ double flame_minimum(double x, double y) { return x != x ? x : y != y ? y : fmin(x, y); }
// Float to integer: what is out of range is not undefined behaviour in the models that do it.
__device__ __forceinline__ long long flame_to_i64(double x) { return __double2ll_rz(x); }
// n neighbouring elements, moved by one access of up to 16 bytes.
template <class T, int n> struct alignas(sizeof(T) * n) flame_vector {
  T e[n];
  __device__ __forceinline__ T operator[](int i) const { return e[i]; }
};
// 16 bits within a word of 32: to widen bf16 takes one instruction there.
struct flame_lane {
  unsigned int word;
  bool upper;
  __device__ __forceinline__ operator unsigned short() const { return (unsigned short)(upper ? word >> 16 : word); }
};
__device__ __forceinline__ float flame_bf16_to_float(flame_lane x) {
  return __uint_as_float(x.upper ? x.word & 0xffff0000u : x.word << 16);
}
template <int n> struct alignas(2 * n) flame_vector<unsigned short, n> {
  unsigned short e[n];
  __device__ __forceinline__ flame_lane operator[](int i) const {
    return {reinterpret_cast<const unsigned int *>(e)[i / 2], i % 2 == 1};
  }
};
template <int bytes> struct flame_word;
template <> struct flame_word<2> { typedef unsigned short type; };
template <> struct flame_word<4> { typedef unsigned int type; };
template <> struct flame_word<8> { typedef uint2 type; };
template <> struct flame_word<16> { typedef uint4 type; };
template <int n, class T> __device__ __forceinline__ flame_vector<T, n> flame_load(const T *from) {
  typedef typename flame_word<sizeof(T) * n>::type word;
  flame_vector<T, n> v;
  *reinterpret_cast<word *>(&v) = *reinterpret_cast<const word *>(from);
  return v;
}
// Of a stream far larger than the second-level cache: what has been read leaves it after what has been written.
template <int n, class T> __device__ __forceinline__ flame_vector<T, n> flame_load_stream(const T *from) {
  if constexpr (sizeof(T) * n != 16) {
    return flame_load<n>(from);
  } else {
    flame_vector<T, n> v;
    uint4 &word = *reinterpret_cast<uint4 *>(&v);
    unsigned long long policy;
    asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("ld.global.L1::evict_last.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
                 : "l"(from), "l"(policy));
    return v;
  }
}
template <int n, class T> __device__ __forceinline__ void flame_store(T *to, const flame_vector<T, n> &v) {
  typedef typename flame_word<sizeof(T) * n>::type word;
  *reinterpret_cast<word *>(to) = *reinterpret_cast<const word *>(&v);
}
// Neighbours are rounded two at a time. x stands in the lower half of the word.
template <int n> __device__ __forceinline__ flame_vector<unsigned short, n> flame_pack_bf16(const flame_vector<float, n> &x) {
  flame_vector<unsigned short, n> y;
  for (int i = 0; i < n; i += 2) {
    unsigned int word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(x[i + 1]), "f"(x[i]));
    *reinterpret_cast<unsigned int *>(y.e + i) = word;
  }
  return y;
}
template <int n> __device__ __forceinline__ flame_vector<unsigned short, n> flame_pack_half(const flame_vector<float, n> &x) {
  flame_vector<unsigned short, n> y;
  for (int i = 0; i < n; i += 2) {
    unsigned int word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(x[i + 1]), "f"(x[i]));
    *reinterpret_cast<unsigned int *>(y.e + i) = word;
  }
  return y;
}
#if __CUDA_ARCH__ >= 890
#define FLAME_PACK_FP8(name, format)                                                                                   \
  template <int n> __device__ __forceinline__ flame_vector<unsigned char, n> name(const flame_vector<float, n> &x) {   \
    flame_vector<unsigned char, n> y;                                                                                  \
    for (int i = 0; i < n; i += 2) {                                                                                   \
      unsigned short word;                                                                                             \
      asm("cvt.rn.satfinite." format "x2.f32 %0, %1, %2;" : "=h"(word) : "f"(x[i + 1]), "f"(x[i]));                    \
      *reinterpret_cast<unsigned short *>(y.e + i) = word;                                                             \
    }                                                                                                                  \
    return y;                                                                                                          \
  }
FLAME_PACK_FP8(flame_pack_e4m3, "e4m3")
FLAME_PACK_FP8(flame_pack_e5m2, "e5m2")
#else
template <int n> __device__ __forceinline__ flame_vector<unsigned char, n> flame_pack_e4m3(const flame_vector<float, n> &x) {
  flame_vector<unsigned char, n> y;
  for (int i = 0; i < n; ++i)
    y.e[i] = flame_float_to_e4m3(x[i]);
  return y;
}
template <int n> __device__ __forceinline__ flame_vector<unsigned char, n> flame_pack_e5m2(const flame_vector<float, n> &x) {
  flame_vector<unsigned char, n> y;
  for (int i = 0; i < n; ++i)
    y.e[i] = flame_float_to_e5m2(x[i]);
  return y;
}
#endif
// Kernels may overlap: this one waits until those before it have ended; then the next one may start when all blocks of this
// one have come here.
__device__ __forceinline__ void flame_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Blocks that share a tile.
#if __CUDA_ARCH__ >= 900
#define FLAME_CLUSTER(blocks) __cluster_dims__(blocks, 1, 1)
#else
#define FLAME_CLUSTER(blocks)
#endif
// Of two choices the one for this architecture.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define FLAME_HAS_WGMMA 1
#define FLAME_IF_WGMMA(with, without) with
#else
#define FLAME_HAS_WGMMA 0
#define FLAME_IF_WGMMA(with, without) without
#endif
// Approximations to some 2^-21, for what is rounded to 16 bits or less.
__device__ __forceinline__ float flame_exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
}
__device__ __forceinline__ float flame_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ long long flame_to_i64(float x) { return __float2ll_rz(x); }
__device__ __forceinline__ unsigned long long flame_to_u64(double x) { return __double2ull_rz(x); }
__device__ __forceinline__ unsigned long long flame_to_u64(float x) { return __float2ull_rz(x); }

)";
}
