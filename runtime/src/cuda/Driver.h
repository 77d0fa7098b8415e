//===- Driver.h - libcuda, found at run time ------------------------------===//
//
// The driver is loaded once per process, when the first CUDA artifact or device tensor needs it, from libcuda.so.1 or
// from the file that the environment variable FLAME_CUDA_DRIVER names. It is never unloaded.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_DRIVER_H
#define FLAME_RUNTIME_CUDA_DRIVER_H

#include "../Error.h"
#include "DriverApi.h"

namespace flame::rt::cuda {

struct Driver {
#define FLAME_CUDA_MEMBER(member, symbol, parameters) CUresult(*member) parameters = nullptr;
  FLAME_CUDA_FUNCTIONS(FLAME_CUDA_MEMBER)
#undef FLAME_CUDA_MEMBER
  CUresult (*getErrorName)(CUresult, const char **) = nullptr;
  CUresult (*getErrorString)(CUresult, const char **) = nullptr;
  CUresult (*streamGetId)(CUstream, unsigned long long *) = nullptr; // from CUDA 12.0
  /// From CUDA 12.3: edges between kernels that overlap.
  CUresult (*graphAddDependencies)(CUgraph, const CUgraphNode *, const CUgraphNode *, const CUgraphEdgeData *, size_t) = nullptr;
  /// From CUDA 12.0. The map is 128 bytes, aligned to 64; strides are those of all dims but the first, in bytes.
  CUresult (*tensorMapEncodeTiled)(void *map, int type, uint32_t rank, CUdeviceptr address, const uint64_t *dims,
                                   const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                                   int swizzle, int promotion, int fill) = nullptr;
  /// The same for windows; a corner for each dim but the first and the last.
  CUresult (*tensorMapEncodeIm2col)(void *map, int type, uint32_t rank, CUdeviceptr address, const uint64_t *dims,
                                    const uint64_t *strides, const int *lower, const int *upper, uint32_t channels,
                                    uint32_t windows, const uint32_t *steps, int interleave, int swizzle, int promotion,
                                    int fill) = nullptr;
  int version = 0;                                                   // 12080 is 12.8
  int devices = 0;

  /// Throws Error(FLAME_DEVICE): no driver, a driver that is too old, no GPU.
  static const Driver &get();
  /// What get() does the first time.
  static Driver load();

  struct Place {
    int type = 0; // CU_MEMORYTYPE_…; 0: memory that the driver does not know
    int device = -1;
  };
  Place placeOf(const void *pointer) const;

  /// "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)"
  std::string describe(CUresult result) const;
};

/// Throws Error(FLAME_DEVICE, or FLAME_OUT_OF_MEMORY) unless the call succeeded. `doing` is "loading the kernels" …
void check(CUresult result, const char *doing);

} // namespace flame::rt::cuda

#endif
