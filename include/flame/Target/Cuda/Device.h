//===- Device.h - the GPUs of this machine, as far as compiling for them goes -------------------------------------===//
#ifndef FLAME_TARGET_CUDA_DEVICE_H
#define FLAME_TARGET_CUDA_DEVICE_H

#include <cstdint>
#include <string>
#include <vector>

namespace flame::cuda {

struct Gpu {
  std::string name;
  int major = 0, minor = 0; // compute capability
  uint64_t memory = 0;      // bytes
};

/// What the CUDA driver says of itself.
struct DriverInfo {
  std::string path;    // as given to the loader
  std::string version; // newest CUDA version that it knows, "13.0"; empty where there is no driver that answers
  std::vector<Gpu> gpus;
  std::string problem, remedy; // unless there is a GPU
};

/// Asks the driver, which is found at run time: FLAME_CUDA_DRIVER if it is set (a file), else libcuda.so.1. Makes no
/// context.
DriverInfo queryDriver();

/// The architecture whose machine code runs best on a GPU of this compute capability: 9.0 → "sm_90a", 8.6 → "sm_86".
std::string architectureOf(int major, int minor);

/// What is compiled for where nothing else is said: the GPUs present, otherwise sm_90a and compute_80.
std::vector<std::string> defaultArchitectures();

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_DEVICE_H
