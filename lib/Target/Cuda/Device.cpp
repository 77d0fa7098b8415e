//===- Device.cpp - see Device.h ----------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/Device.h"
#include "llvm/ADT/STLExtras.h"
#include <cstdlib>
#include <dlfcn.h>

using namespace flame::cuda;

// Numbers of CUdevice_attribute; they have never changed.
static constexpr int kMajor = 75, kMinor = 76;

DriverInfo flame::cuda::queryDriver() {
  DriverInfo info;
  const char *given = std::getenv("FLAME_CUDA_DRIVER");
  info.path = given && *given ? given : "libcuda.so.1";
  void *library = dlopen(info.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    info.problem = "there is no CUDA driver (" + std::string(reason ? reason : info.path) + ")";
    info.remedy = given && *given
                      ? "FLAME_CUDA_DRIVER must name the driver's library, or be unset"
                      : "install NVIDIA's driver (libcuda.so.1); in a container, start it with access to the GPU";
    return info;
  }
  auto find = [&](auto *&function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    return function != nullptr;
  };
  int (*init)(unsigned), (*version)(int *), (*count)(int *), (*get)(int *, int), (*name)(char *, int, int);
  int (*attribute)(int *, int, int), (*memory)(size_t *, int);
  int number = 0, devices = 0;
  if (!find(init, "cuInit") || !find(version, "cuDriverGetVersion") || !find(count, "cuDeviceGetCount") ||
      !find(get, "cuDeviceGet") || !find(name, "cuDeviceGetName") || !find(attribute, "cuDeviceGetAttribute") ||
      !find(memory, "cuDeviceTotalMem_v2") || version(&number) != 0) {
    info.problem = info.path + " does not answer as a CUDA driver does";
    info.remedy = "install NVIDIA's driver again";
    return info;
  }
  info.version = std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  int code = init(0);
  if (code == 0)
    code = count(&devices);
  if (code != 0 || devices == 0) {
    info.problem = "the CUDA driver finds no GPU" + (code ? " (error " + std::to_string(code) + ")" : std::string());
    info.remedy = "check nvidia-smi and CUDA_VISIBLE_DEVICES; in a container, start it with access to the GPU";
    return info;
  }
  for (int i = 0; i < devices; ++i) {
    Gpu gpu;
    int device = 0;
    char text[256] = {};
    size_t bytes = 0;
    if (get(&device, i) != 0 || attribute(&gpu.major, kMajor, device) != 0 ||
        attribute(&gpu.minor, kMinor, device) != 0)
      continue;
    gpu.name = name(text, sizeof text - 1, device) == 0 ? text : "GPU";
    gpu.memory = memory(&bytes, device) == 0 ? bytes : 0;
    info.gpus.push_back(gpu);
  }
  if (info.gpus.empty()) {
    info.problem = "the CUDA driver does not describe its GPUs";
    info.remedy = "check nvidia-smi";
  }
  return info;
}

std::string flame::cuda::architectureOf(int major, int minor) {
  // The matrix instructions of Hopper are in its own architecture alone.
  std::string name = "sm_" + std::to_string(major * 10 + minor);
  return major == 9 && minor == 0 ? name + "a" : name;
}

std::vector<std::string> flame::cuda::defaultArchitectures() {
  std::vector<std::string> names;
  for (const Gpu &gpu : queryDriver().gpus)
    if (std::string name = architectureOf(gpu.major, gpu.minor); !llvm::is_contained(names, name))
      names.push_back(name);
  if (names.empty())
    names = {"sm_90a", "compute_80"};
  return names;
}
