//===- TensorMaps.cpp - see TensorMaps.h -----------------------------------===//

#include "TensorMaps.h"

#include <algorithm>

namespace flame::rt::cuda {

namespace {

/// By the size of the elements where nothing but copies is asked for.
int mapType(const TensorView &view) {
  switch (view.dtype) {
  case FLAME_F16:
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  case FLAME_BF16:
    return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  case FLAME_F32:
    return view.tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  default:
    switch (elementSize(view.dtype)) {
    case 1:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case 2:
      return CU_TENSOR_MAP_DATA_TYPE_UINT16;
    case 4:
      return CU_TENSOR_MAP_DATA_TYPE_UINT32;
    default:
      return CU_TENSOR_MAP_DATA_TYPE_UINT64;
    }
  }
}

TensorMaps::Words encode(const Driver &driver, const TensorView &view) {
  if (!driver.tensorMapEncodeTiled || !driver.tensorMapEncodeIm2col)
    fail(FLAME_DEVICE, "the NVIDIA driver lacks the functions cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col, which kernels for "
                       "sm_90a need; update it, or compile the model with --gpu=sm_80");
  // The driver writes to a multiple of 64 bytes.
  struct alignas(64) {
    TensorMaps::Words words;
  } map{};
  uint64_t dims[kMaxTensorRank], strides[kMaxTensorRank];
  uint32_t box[kMaxTensorRank], steps[kMaxTensorRank];
  uint64_t bytes = elementSize(view.dtype);
  for (int32_t i = 0; i < view.rank; ++i) {
    dims[i] = std::max<int64_t>(view.dims[i], 1);
    box[i] = view.box[i];
    steps[i] = view.windows && i > 0 && i + 1 < view.rank ? view.windows->steps[i - 1] : 1;
    bytes *= dims[i];
  }
  // A dim of one that is never stepped over may have any stride.
  for (int32_t i = 0; i + 1 < view.rank; ++i)
    strides[i] = std::max<int64_t>(view.strides[i], 16);
  auto encode = [&](auto function, auto... boxAndSteps) {
    return function(map.words.data(), mapType(view), view.rank, reinterpret_cast<CUdeviceptr>(view.data), dims, strides,
                    boxAndSteps..., /*interleave=*/0, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_256B,
                    /*oobFill=*/0);
  };
  const CUresult result = view.windows
                              ? encode(driver.tensorMapEncodeIm2col, view.windows->lower.data(),
                                       view.windows->upper.data(), box[0], box[1], steps)
                              : encode(driver.tensorMapEncodeTiled, box, steps);
  check(result, "describing a tensor to the GPU's copy engine");
  // Drivers up to CUDA 13.1 mark small tensors by a bit that the copy engine misreads; NVIDIA's own libraries clear it.
  constexpr uint64_t kSmall = 131072;
  constexpr int kLastWithFault = 13010;
  if (driver.version <= kLastWithFault && bytes < kSmall)
    map.words[1] &= ~(uint64_t(1) << 21);
  return map.words;
}

} // namespace

const TensorMaps::Words &TensorMaps::find(const Driver &driver, const TensorView &view) {
  if (auto known = maps.find(view); known != maps.end())
    return known->second;
  if (maps.size() >= kCapacity)
    maps.clear();
  return maps.emplace(view, encode(driver, view)).first->second;
}

} // namespace flame::rt::cuda
