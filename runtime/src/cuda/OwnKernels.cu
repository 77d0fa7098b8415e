// The runtime's own kernels (OwnKernels.h). OwnKernels.ptx.inc is made of this file by
//   nvcc -ptx -arch=compute_80 -std=c++17 OwnKernels.cu
// with the version lowered to 7.0, as nothing here needs a newer one: the oldest driver that flame runs with reads it.

typedef long long i64;

// ---- integers that must keep to what others say

struct Report { // of the first offender, in memory of the CPU; as IndexReport in CudaQueue.h
  unsigned found;
  int site;
  i64 position, count, value, extent;
};
struct Guard { // zero between two kernels
  unsigned long long mark; // the greatest ~position of an offender
  unsigned done;           // blocks
};

// Calls isWrong(i) for the elements. The block that ends last writes the report of the first that is, with limit(i).
template <typename At, typename IsWrong, typename Limit>
static __device__ __forceinline__ void check(Guard *guard, volatile Report *report, i64 count, i64 site, At at, IsWrong isWrong, Limit limit) {
  for (i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += i64(gridDim.x) * blockDim.x)
    if (isWrong(i)) {
      atomicMax(&guard->mark, ~static_cast<unsigned long long>(i));
      break;
    }
  __threadfence();
  __syncthreads();
  if (threadIdx.x || atomicAdd(&guard->done, 1u) != gridDim.x - 1)
    return;
  const unsigned long long mark = atomicExch(&guard->mark, 0ull);
  guard->done = 0;
  if (!mark || report->found)
    return;
  const i64 position = static_cast<i64>(~mark);
  report->site = static_cast<int>(site);
  report->position = position;
  report->count = count;
  report->value = at(position);
  report->extent = limit(position);
  __threadfence_system();
  report->found = 1;
}

static __device__ __forceinline__ i64 integerAt(const void *integers, i64 wide, i64 i) {
  return wide ? static_cast<const i64 *>(integers)[i] : static_cast<const int *>(integers)[i];
}

// Element i of the indices must lie in [-e, e) with e = extents[i % period].
extern "C" __global__ void flame_check_indices(const void *indices, const i64 *extents, Guard *guard, volatile Report *report,
                                               i64 count, i64 period, i64 wide, i64 site) {
  auto at = [&](i64 i) { return integerAt(indices, wide, i); };
  auto limit = [&](i64 i) { return extents[period == 1 ? 0 : i % period]; };
  check(guard, report, count, site, at, [&](i64 i) { return at(i) < -limit(i) || at(i) >= limit(i); }, limit);
}

// Ends of groups must rise, and be no greater than the rows.
extern "C" __global__ void flame_check_ends(const void *ends, const i64 *rows, Guard *guard, volatile Report *report, i64 count, i64,
                                            i64 wide, i64 site) {
  auto at = [&](i64 i) { return integerAt(ends, wide, i); };
  auto before = [&](i64 i) { return i > 0 ? at(i - 1) : 0; };
  check(guard, report, count, site, at, [&](i64 i) { return at(i) < before(i) || at(i) > *rows; },
        [&](i64 i) { return at(i) < before(i) ? before(i) : *rows; });
}

// ---- how much a multiprocessor computes: operands stay in registers, eight results of each warp are under way

constexpr int kChains = 8;

extern "C" __global__ void flame_peak_f32(float *out, i64 rounds) {
  constexpr int kEach = 4;
  float sums[kChains * kEach];
  const float a = 1.0f + threadIdx.x * 1e-6f, b = 1e-7f * blockIdx.x;
  for (int c = 0; c < kChains * kEach; ++c)
    sums[c] = c;
#pragma unroll 1
  for (i64 r = 0; r < rounds; ++r) {
#pragma unroll
    for (int c = 0; c < kChains * kEach; ++c)
      sums[c] = fmaf(sums[c], a, b);
  }
  float sum = 0;
  for (int c = 0; c < kChains * kEach; ++c)
    sum += sums[c];
  out[i64(blockIdx.x) * blockDim.x + threadIdx.x] = sum;
}

#define PEAK(name, shape, type)                                                                                        \
  extern "C" __global__ void name(float *out, i64 rounds) {                                                            \
    float d[kChains][4] = {};                                                                                          \
    const unsigned tiny = 0x00010001u * (threadIdx.x & 3); /* no overflow, whatever is read into it */                 \
    const unsigned a[4] = {tiny, tiny ^ 0x80000000u, tiny + 0x00010000u, tiny}, b[2] = {tiny, tiny ^ 0x8000u};         \
    _Pragma("unroll 1") for (i64 r = 0; r < rounds; ++r) {                                                             \
      _Pragma("unroll") for (int c = 0; c < kChains; ++c) asm volatile(                                                \
          "mma.sync.aligned." shape ".row.col.f32." type "." type                                                      \
          ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                       \
          : "+f"(d[c][0]), "+f"(d[c][1]), "+f"(d[c][2]), "+f"(d[c][3])                                                 \
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                         \
    }                                                                                                                  \
    float sum = 0;                                                                                                     \
    for (int c = 0; c < kChains; ++c)                                                                                  \
      sum += d[c][0] + d[c][1] + d[c][2] + d[c][3];                                                                    \
    out[i64(blockIdx.x) * blockDim.x + threadIdx.x] = sum;                                                             \
  }
PEAK(flame_peak_f16, "m16n8k16", "f16")
PEAK(flame_peak_bf16, "m16n8k16", "bf16")
PEAK(flame_peak_tf32, "m16n8k8", "tf32")
