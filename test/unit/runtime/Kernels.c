/* Kernels for the runtime's tests, built into a shared object that is put into hand-made artifacts.
 * The interface is that of compiled kernels: buffers and args as the plan's Launch lists them, range [begin, end). */
#include <stdint.h>

#define KERNEL __attribute__((visibility("default"))) void
typedef void *const *Buffers;

/* buffers: a, b, out (f32) */
KERNEL k_add(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  const float *a = buffers[0], *b = buffers[1];
  float *out = buffers[2];
  (void)args, (void)scratch;
  for (int64_t i = begin; i < end; ++i)
    out[i] = a[i] + b[i];
}

/* buffers: in, out (f32); args: factor, offset */
KERNEL k_scale(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  const float *in = buffers[0];
  float *out = buffers[1];
  (void)scratch;
  for (int64_t i = begin; i < end; ++i)
    out[i] = in[i] * (float)args[0] + (float)args[1];
}

/* buffers: in, out (i64); args: addend */
KERNEL k_addi(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  const int64_t *in = buffers[0];
  int64_t *out = buffers[1];
  (void)scratch;
  for (int64_t i = begin; i < end; ++i)
    out[i] = in[i] + args[0];
}

/* buffers: in (i64 scalar), out (bool scalar); args: bound. out = in < bound */
KERNEL k_less(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  (void)scratch, (void)begin, (void)end;
  *(uint8_t *)buffers[1] = *(const int64_t *)buffers[0] < args[0];
}

/* buffers: in, out (f32); args: row length; each iteration reverses a row by way of the scratch memory */
KERNEL k_reverse(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  const int64_t n = args[0];
  volatile float *row = scratch;
  for (int64_t r = begin; r < end; ++r) {
    const float *in = (const float *)buffers[0] + r * n;
    float *out = (float *)buffers[1] + r * n;
    for (int64_t i = 0; i < n; ++i)
      row[i] = in[i];
    for (int64_t i = 0; i < n; ++i)
      out[i] = row[n - 1 - i];
  }
}

/* buffers: out (f32); args: value */
KERNEL k_fill(Buffers buffers, const int64_t *args, void *scratch, int64_t begin, int64_t end) {
  float *out = buffers[0];
  (void)scratch;
  for (int64_t i = begin; i < end; ++i)
    out[i] = (float)args[0];
}
