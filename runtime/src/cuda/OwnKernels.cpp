//===- OwnKernels.cpp - see OwnKernels.h -----------------------------------===//

#include "OwnKernels.h"
#include "Driver.h"

namespace flame::rt::cuda {

namespace {

constexpr const char *kText =
#include "OwnKernels.ptx.inc"
    ;
constexpr const char *kNames[kOwnKernels] = {"flame_check_indices", "flame_check_ends", "flame_peak_f32",
                                             "flame_peak_tf32", "flame_peak_f16", "flame_peak_bf16"};

} // namespace

OwnKernels::OwnKernels(const Driver &driver) : driver(driver) {
  CUresult result = driver.moduleLoadDataEx(&module, kText, 0, nullptr, nullptr);
  for (int i = 0; i < kOwnKernels && result == CUDA_SUCCESS; ++i)
    result = driver.moduleGetFunction(&functions[i], module, kNames[i]);
  if (result == CUDA_SUCCESS)
    return;
  for (CUfunction &function : functions)
    function = nullptr;
  reason = driver.describe(result);
}

OwnKernels::~OwnKernels() {
  if (module)
    driver.moduleUnload(module);
}

} // namespace flame::rt::cuda
