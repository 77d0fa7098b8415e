/* The kernels of Kernels.c for the fake CUDA driver: a block does what an iteration does there. Beside each kernel lies
 * what the driver must know of it: the numbers of buffers and of integer arguments, whether it takes scratch memory, the number of tensor
 * maps.
 * `values` are the addresses of the parameters. A result other than 0 is a CUDA error. */
#include <stdint.h>

#define KERNEL(name, buffers, args, scratch) KERNEL_WITH_MAPS(name, buffers, args, scratch, 0)
#define KERNEL_WITH_MAPS(name, buffers, args, scratch, maps)                                                           \
  __attribute__((visibility("default"))) const int name##_signature[4] = {buffers, args, scratch, maps};               \
  __attribute__((visibility("default"))) int name(void *const *values, int64_t blocks)
#define BUFFER(type, i) (*(type **)values[i])
#define ARG(i) (*(const int64_t *)values[i])

KERNEL(k_add, 3, 0, 0) {
  for (int64_t i = 0; i < blocks; ++i)
    BUFFER(float, 2)[i] = BUFFER(float, 0)[i] + BUFFER(float, 1)[i];
  return 0;
}

KERNEL(k_scale, 2, 2, 0) {
  for (int64_t i = 0; i < blocks; ++i)
    BUFFER(float, 1)[i] = BUFFER(float, 0)[i] * (float)ARG(2) + (float)ARG(3);
  return 0;
}

KERNEL(k_addi, 2, 1, 0) {
  for (int64_t i = 0; i < blocks; ++i)
    BUFFER(int64_t, 1)[i] = BUFFER(int64_t, 0)[i] + ARG(2);
  return 0;
}

KERNEL(k_less, 2, 1, 0) {
  (void)blocks;
  *BUFFER(uint8_t, 1) = *BUFFER(int64_t, 0) < ARG(2);
  return 0;
}

KERNEL(k_reverse, 2, 1, 1) {
  const int64_t n = ARG(2);
  volatile float *row = BUFFER(float, 3);
  for (int64_t r = 0; r < blocks; ++r) {
    for (int64_t i = 0; i < n; ++i)
      row[i] = BUFFER(float, 0)[r * n + i];
    for (int64_t i = 0; i < n; ++i)
      BUFFER(float, 1)[r * n + i] = row[n - 1 - i];
  }
  return 0;
}

KERNEL(k_fill, 1, 1, 0) {
  for (int64_t i = 0; i < blocks; ++i)
    BUFFER(float, 0)[i] = (float)ARG(1);
  return 0;
}

/* Tells its blocks, then what its map was made of; the address from that of the first buffer on. */
KERNEL_WITH_MAPS(k_tensor, 2, 0, 0, 1) {
  int64_t *out = BUFFER(int64_t, 1);
  out[0] = blocks;
  for (int i = 0; i < 16; ++i)
    out[1 + i] = ARG(2 + i);
  if (out[1])
    out[3] -= (int64_t)BUFFER(char, 0);
  return 0;
}

/* Fails as a kernel does that reads a wild pointer. */
KERNEL(k_fault, 1, 0, 0) {
  (void)values, (void)blocks;
  return 700;
}

/* Writes an element too many. */
KERNEL(k_overrun, 1, 0, 0) {
  for (int64_t i = 0; i <= blocks; ++i)
    BUFFER(float, 0)[i] = 1;
  return 0;
}

/* What OwnKernels.cu does. */
struct report {
  uint32_t found;
  int32_t site;
  int64_t position, count, value, extent;
};

KERNEL(flame_check_indices, 3, 5, 0) {
  struct report *report = *(struct report **)values[3];
  if (blocks < 1)
    return 1;
  for (int64_t i = 0; i < ARG(4); ++i) {
    const int64_t index = ARG(6) ? BUFFER(int64_t, 0)[i] : BUFFER(int32_t, 0)[i];
    const int64_t extent = BUFFER(int64_t, 1)[i % ARG(5)];
    if (index >= -extent && index < extent)
      continue;
    if (!report->found) {
      const struct report first = {1, (int32_t)ARG(7), i, ARG(4), index, extent};
      *report = first;
    }
    return 0;
  }
  return 0;
}

KERNEL(flame_check_ends, 3, 5, 0) {
  struct report *report = *(struct report **)values[3];
  if (blocks < 1)
    return 1;
  int64_t before = 0;
  for (int64_t i = 0; i < ARG(4); ++i) {
    const int64_t end = ARG(6) ? BUFFER(int64_t, 0)[i] : BUFFER(int32_t, 0)[i], rows = BUFFER(int64_t, 1)[0];
    if (end < before || end > rows) {
      if (!report->found) {
        const struct report first = {1, (int32_t)ARG(7), i, ARG(4), end, end < before ? before : rows};
        *report = first;
      }
      return 0;
    }
    before = end;
  }
  return 0;
}

#define PEAK(name)                                                                                                     \
  KERNEL(name, 1, 1, 0) {                                                                                              \
    for (int64_t i = 0; i < blocks; ++i)                                                                               \
      BUFFER(float, 0)[i] = (float)ARG(1);                                                                             \
    return 0;                                                                                                          \
  }
PEAK(flame_peak_f32)
PEAK(flame_peak_tf32)
PEAK(flame_peak_f16)
PEAK(flame_peak_bf16)
