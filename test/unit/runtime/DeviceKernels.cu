// The kernels of DeviceKernels.c for a real GPU: block i is iteration i. DeviceKernels.ptx.inc is made of this file by
//   nvcc -ptx -arch=compute_80 DeviceKernels.cu
// with the version lowered to 7.0, as nothing here needs a newer one.
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define I ((long long)blockIdx.x)
#define ONE_THREAD                                                                                                     \
  if (threadIdx.x)                                                                                                     \
  return

KERNEL(k_add, const float *a, const float *b, float *out) {
  ONE_THREAD;
  out[I] = a[I] + b[I];
}
KERNEL(k_scale, const float *in, float *out, long long factor, long long offset) {
  ONE_THREAD;
  out[I] = in[I] * (float)factor + (float)offset;
}
KERNEL(k_addi, const long long *in, long long *out, long long addend) {
  ONE_THREAD;
  out[I] = in[I] + addend;
}
KERNEL(k_less, const long long *in, unsigned char *out, long long bound) {
  ONE_THREAD;
  *out = *in < bound;
}
// The scratch memory of the launch is one row: one block does all the work.
KERNEL(k_reverse, const float *in, float *out, long long n, void *scratch) {
  ONE_THREAD;
  if (I)
    return;
  volatile float *row = (volatile float *)scratch;
  for (long long r = 0; r < gridDim.x; ++r) {
    for (long long i = 0; i < n; ++i)
      row[i] = in[r * n + i];
    for (long long i = 0; i < n; ++i)
      out[r * n + i] = row[n - 1 - i];
  }
}
KERNEL(k_fill, float *out, long long value) {
  ONE_THREAD;
  out[I] = (float)value;
}
KERNEL(k_fault, float *) {
  ONE_THREAD;
  *(volatile float *)16 = 1;
}
KERNEL(k_overrun, float *out) {
  ONE_THREAD;
  out[I] = 1;
  out[gridDim.x] = 1;
}
