// What torch.randn draws on a GPU, in f32 (TorchNormal.h). TorchNormal.ptx.inc is made of this file by
//   nvcc -ptx -arch=compute_80 -std=c++17 TorchNormal.cu
// with the version lowered to 7.0, as OwnKernels.cu is. The logarithm is CUDA's logf, sine and cosine are the GPU's
// approximations, multiplications and additions are fused: PyTorch is compiled so.

typedef unsigned long long u64;

struct Block {
  unsigned x, y, z, w;
};

// Philox4x32-10
__device__ Block philox(u64 key, u64 low, u64 high) {
  unsigned c0 = unsigned(low), c1 = unsigned(low >> 32), c2 = unsigned(high), c3 = unsigned(high >> 32);
  unsigned k0 = unsigned(key), k1 = unsigned(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned a = __umulhi(0xD2511F53u, c0), b = __umulhi(0xCD9E8D57u, c2);
    const unsigned d = 0xD2511F53u * c0, e = 0xCD9E8D57u * c2;
    c0 = b ^ c1 ^ k0;
    c1 = e;
    c2 = a ^ c3 ^ k1;
    c3 = d;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

__device__ void boxMuller(unsigned x, unsigned y, float &first, float &second) {
  constexpr float unit = 2.3283064e-10f, turn = 2.3283064e-10f * 6.2831855f;
  const float u = x * unit + unit / 2, v = y * turn + turn / 2;
  const float radius = sqrtf(-2.0f * logf(u));
  float sine, cosine;
  __sincosf(v, &sine, &cosine);
  first = sine * radius + 0.0f;
  second = cosine * radius + 0.0f;
}

extern "C" __global__ void flame_torch_normal(float *out, u64 seed, u64 block, u64 count) {
  const u64 threads = u64(gridDim.x) * blockDim.x, thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  for (u64 at = thread; at < count; at += threads * 4, ++block) {
    const Block b = philox(seed, block, thread);
    float numbers[4];
    boxMuller(b.x, b.y, numbers[0], numbers[1]);
    boxMuller(b.z, b.w, numbers[2], numbers[3]);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (at + i * threads < count)
        out[at + i * threads] = numbers[i];
  }
}
