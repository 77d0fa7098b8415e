//===- DriverApi.h - the part of the CUDA driver's interface that flame uses -===//
//
// Declared here, so that neither the build nor a machine that runs models needs a CUDA toolkit. Names and layouts are
// those of the driver's stable binary interface (CUDA 11.4 and later); the function list names the exported symbols.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CUDA_DRIVERAPI_H
#define FLAME_RUNTIME_CUDA_DRIVERAPI_H

#include <cstddef>
#include <cstdint>

extern "C" {

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUmemPoolHandle_st *CUmemoryPool;

enum : CUresult {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700
};
enum : int {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
  CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE = 2,
  CU_JIT_ERROR_LOG_BUFFER = 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
  CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4,
  CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT = 5,
  CU_MEMPOOL_ATTR_USED_MEM_CURRENT = 7,
  CU_MEMPOOL_ATTR_USED_MEM_HIGH = 8,
  CU_MEM_ALLOCATION_TYPE_PINNED = 1,
  CU_MEM_LOCATION_TYPE_DEVICE = 1,
  CU_MEMORYTYPE_DEVICE = 2,
  CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,
  CU_STREAM_NON_BLOCKING = 1,
  CU_EVENT_DEFAULT = 0,
  CU_EVENT_DISABLE_TIMING = 2,
  CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC = 1,
  CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC = 1,
  CU_TENSOR_MAP_DATA_TYPE_UINT8 = 0,
  CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1,
  CU_TENSOR_MAP_DATA_TYPE_UINT32 = 2,
  CU_TENSOR_MAP_DATA_TYPE_UINT64 = 4,
  CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6,
  CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7,
  CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9,
  CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 = 11,
  CU_TENSOR_MAP_SWIZZLE_128B = 3,
  CU_TENSOR_MAP_L2_PROMOTION_256B = 3
};

typedef struct {
  int type, id;
} CUmemLocation;
typedef struct {
  int allocType, handleTypes;
  CUmemLocation location;
  void *win32SecurityAttributes;
  size_t maxSize;
  unsigned short usage;
  unsigned char reserved[54];
} CUmemPoolProps;
typedef struct {
  CUfunction func;
  unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  void **kernelParams, **extra;
} CUDA_KERNEL_NODE_PARAMS;
typedef struct {
  unsigned char from_port, to_port, type, reserved[5];
} CUgraphEdgeData;
typedef struct {
  size_t srcXInBytes, srcY, srcZ, srcLOD;
  int srcMemoryType;
  const void *srcHost;
  CUdeviceptr srcDevice;
  void *srcArray, *reserved0;
  size_t srcPitch, srcHeight;
  size_t dstXInBytes, dstY, dstZ, dstLOD;
  int dstMemoryType;
  void *dstHost;
  CUdeviceptr dstDevice;
  void *dstArray, *reserved1;
  size_t dstPitch, dstHeight;
  size_t WidthInBytes, Height, Depth;
} CUDA_MEMCPY3D;
typedef union {
  char pad[64];
  int cooperative;
} CUkernelNodeAttrValue;
static_assert(sizeof(CUmemPoolProps) == 88 && sizeof(CUDA_KERNEL_NODE_PARAMS) == 56 && sizeof(CUDA_MEMCPY3D) == 200);

} // extern "C"

/// X(member, exported symbol, parameters)
#define FLAME_CUDA_FUNCTIONS(X)                                                                                        \
  X(init, cuInit, (unsigned flags))                                                                                    \
  X(deviceGetCount, cuDeviceGetCount, (int *count))                                                                    \
  X(deviceGet, cuDeviceGet, (CUdevice * device, int ordinal))                                                          \
  X(deviceGetName, cuDeviceGetName, (char *name, int length, CUdevice device))                                         \
  X(deviceGetAttribute, cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                            \
  X(deviceTotalMem, cuDeviceTotalMem_v2, (size_t * bytes, CUdevice device))                                            \
  X(primaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                                \
  X(primaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                \
  X(ctxPushCurrent, cuCtxPushCurrent_v2, (CUcontext context))                                                          \
  X(ctxPopCurrent, cuCtxPopCurrent_v2, (CUcontext * context))                                                          \
  X(ctxSynchronize, cuCtxSynchronize, ())                                                                              \
  X(moduleLoadDataEx, cuModuleLoadDataEx,                                                                              \
    (CUmodule * module, const void *image, unsigned count, int *options, void **values))                               \
  X(moduleUnload, cuModuleUnload, (CUmodule module))                                                                   \
  X(moduleGetFunction, cuModuleGetFunction, (CUfunction * function, CUmodule module, const char *name))                \
  X(funcSetAttribute, cuFuncSetAttribute, (CUfunction function, int attribute, int value))                             \
  X(launchKernel, cuLaunchKernel,                                                                                      \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,            \
     unsigned blockZ, unsigned shared, CUstream stream, void **params, void **extra))                                  \
  X(launchCooperativeKernel, cuLaunchCooperativeKernel,                                                                \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,            \
     unsigned blockZ, unsigned shared, CUstream stream, void **params))                                                \
  X(occupancyMaxActiveBlocks, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                             \
    (int *blocks, CUfunction function, int threads, size_t shared))                                                    \
  X(streamCreate, cuStreamCreate, (CUstream * stream, unsigned flags))                                                 \
  X(streamDestroy, cuStreamDestroy_v2, (CUstream stream))                                                              \
  X(streamSynchronize, cuStreamSynchronize, (CUstream stream))                                                         \
  X(streamWaitEvent, cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                              \
  X(eventCreate, cuEventCreate, (CUevent * event, unsigned flags))                                                     \
  X(eventDestroy, cuEventDestroy_v2, (CUevent event))                                                                  \
  X(eventRecord, cuEventRecord, (CUevent event, CUstream stream))                                                      \
  X(eventSynchronize, cuEventSynchronize, (CUevent event))                                                             \
  X(eventElapsedTime, cuEventElapsedTime, (float *milliseconds, CUevent from, CUevent to))                             \
  X(memAlloc, cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))                                                    \
  X(memFree, cuMemFree_v2, (CUdeviceptr pointer))                                                                      \
  X(memGetInfo, cuMemGetInfo_v2, (size_t * available, size_t * total))                                                 \
  X(memAllocHost, cuMemAllocHost_v2, (void **pointer, size_t bytes))                                                   \
  X(memFreeHost, cuMemFreeHost, (void *pointer))                                                                       \
  X(memcpyHtoDAsync, cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))          \
  X(memcpyDtoHAsync, cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                \
  X(memcpyDtoDAsync, cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))          \
  X(memsetD8Async, cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream))              \
  X(memPoolCreate, cuMemPoolCreate, (CUmemoryPool * pool, const CUmemPoolProps *properties))                           \
  X(memPoolDestroy, cuMemPoolDestroy, (CUmemoryPool pool))                                                             \
  X(memPoolSetAttribute, cuMemPoolSetAttribute, (CUmemoryPool pool, int attribute, void *value))                       \
  X(memPoolGetAttribute, cuMemPoolGetAttribute, (CUmemoryPool pool, int attribute, void *value))                       \
  X(memPoolTrimTo, cuMemPoolTrimTo, (CUmemoryPool pool, size_t keep))                                                  \
  X(memAllocFromPoolAsync, cuMemAllocFromPoolAsync,                                                                    \
    (CUdeviceptr * pointer, size_t bytes, CUmemoryPool pool, CUstream stream))                                         \
  X(memFreeAsync, cuMemFreeAsync, (CUdeviceptr pointer, CUstream stream))                                              \
  X(pointerGetAttributes, cuPointerGetAttributes,                                                                      \
    (unsigned count, int *attributes, void **values, CUdeviceptr pointer))                                             \
  X(graphCreate, cuGraphCreate, (CUgraph * graph, unsigned flags))                                                     \
  X(graphDestroy, cuGraphDestroy, (CUgraph graph))                                                                     \
  X(graphAddKernelNode, cuGraphAddKernelNode,                                                                          \
    (CUgraphNode * node, CUgraph graph, const CUgraphNode *after, size_t count,                                        \
     const CUDA_KERNEL_NODE_PARAMS *params))                                                                           \
  X(graphKernelNodeSetAttribute, cuGraphKernelNodeSetAttribute,                                                        \
    (CUgraphNode node, int attribute, const CUkernelNodeAttrValue *value))                                             \
  X(graphAddMemcpyNode, cuGraphAddMemcpyNode,                                                                          \
    (CUgraphNode * node, CUgraph graph, const CUgraphNode *after, size_t count, const CUDA_MEMCPY3D *params,           \
     CUcontext context))                                                                                               \
  X(graphInstantiate, cuGraphInstantiateWithFlags, (CUgraphExec * exec, CUgraph graph, unsigned long long flags))      \
  X(graphExecDestroy, cuGraphExecDestroy, (CUgraphExec exec))                                                          \
  X(graphLaunch, cuGraphLaunch, (CUgraphExec exec, CUstream stream))                                                   \
  X(graphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams,                                                      \
    (CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *params))                                       \
  X(graphExecMemcpyNodeSetParams, cuGraphExecMemcpyNodeSetParams,                                                      \
    (CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *params, CUcontext context))

#endif
