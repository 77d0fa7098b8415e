//===- Driver.cpp - see Driver.h ------------------------------------------===//

#include "Driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <mutex>

namespace flame::rt::cuda {

namespace {

constexpr int kMinimalVersion = 11040;

std::string versionText(int version) { return cat(version / 1000, '.', version % 1000 / 10); }

} // namespace

Driver Driver::load() {
  Driver driver;
  const char *named = std::getenv("FLAME_CUDA_DRIVER");
  const char *path = named && *named ? named : "libcuda.so.1";
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    fail(FLAME_DEVICE, "this model needs an NVIDIA GPU, and the driver cannot be loaded: ", reason ? reason : path,
         named && *named ? " (named by FLAME_CUDA_DRIVER)" : "",
         "; install the NVIDIA driver, in a container pass the GPU through (--gpus all), or compile the model with "
         "--target=cpu");
  }
  using VersionFunction = CUresult (*)(int *);
  auto *getVersion = reinterpret_cast<VersionFunction>(dlsym(library, "cuDriverGetVersion"));
  const CUresult told = getVersion ? getVersion(&driver.version) : CUDA_ERROR_NOT_FOUND;
  if (told == CUDA_ERROR_STUB_LIBRARY)
    fail(FLAME_DEVICE, path, " is the toolkit's stub, not a driver; remove its folder from LD_LIBRARY_PATH");
  if (told != CUDA_SUCCESS)
    fail(FLAME_DEVICE, path, " is not a CUDA driver: it does not tell its version");
  if (driver.version < kMinimalVersion)
    fail(FLAME_DEVICE, "the NVIDIA driver supports CUDA ", versionText(driver.version), ", flame needs ",
         versionText(kMinimalVersion), " or newer; update the driver");
#define FLAME_CUDA_RESOLVE(member, symbol, parameters)                                                                 \
  driver.member = reinterpret_cast<decltype(driver.member)>(dlsym(library, #symbol));                                  \
  if (!driver.member)                                                                                                  \
    fail(FLAME_DEVICE, path, " (CUDA ", versionText(driver.version),                                                   \
         ") lacks the function " #symbol "; update the NVIDIA driver");
  FLAME_CUDA_FUNCTIONS(FLAME_CUDA_RESOLVE)
#undef FLAME_CUDA_RESOLVE
  driver.getErrorName = reinterpret_cast<decltype(driver.getErrorName)>(dlsym(library, "cuGetErrorName"));
  driver.getErrorString = reinterpret_cast<decltype(driver.getErrorString)>(dlsym(library, "cuGetErrorString"));
  driver.graphAddDependencies =
      reinterpret_cast<decltype(driver.graphAddDependencies)>(dlsym(library, "cuGraphAddDependencies_v2"));
  driver.tensorMapEncodeTiled =
      reinterpret_cast<decltype(driver.tensorMapEncodeTiled)>(dlsym(library, "cuTensorMapEncodeTiled"));
  driver.tensorMapEncodeIm2col =
      reinterpret_cast<decltype(driver.tensorMapEncodeIm2col)>(dlsym(library, "cuTensorMapEncodeIm2col"));
  driver.streamGetId = reinterpret_cast<decltype(driver.streamGetId)>(dlsym(library, "cuStreamGetId"));

  const CUresult result = driver.init(0);
  if (result == CUDA_ERROR_NO_DEVICE)
    fail(FLAME_DEVICE,
         "this model needs an NVIDIA GPU; the driver finds none (is one hidden by CUDA_VISIBLE_DEVICES?)");
  if (result != CUDA_SUCCESS)
    fail(FLAME_DEVICE, "the CUDA driver cannot be initialised: ", driver.describe(result));
  const CUresult counted = driver.deviceGetCount(&driver.devices);
  if (counted != CUDA_SUCCESS)
    fail(FLAME_DEVICE, "the CUDA driver cannot count its devices: ", driver.describe(counted));
  if (driver.devices == 0)
    fail(FLAME_DEVICE,
         "this model needs an NVIDIA GPU; the driver finds none (is one hidden by CUDA_VISIBLE_DEVICES?)");
  return driver;
}

const Driver &Driver::get() {
  // After a failure the next call tries again: a container may get its GPU later, and a test its driver.
  static std::mutex mutex;
  static Driver loaded;
  static bool ready = false;
  std::lock_guard lock(mutex);
  if (!ready) {
    loaded = load();
    ready = true;
  }
  return loaded;
}

Driver::Place Driver::placeOf(const void *pointer) const {
  // This call, unlike the one for a single attribute, is no failure for memory of the CPU: checking tools stay silent.
  Place place;
  int attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
  void *values[] = {&place.type, &place.device};
  if (pointerGetAttributes(2, attributes, values, reinterpret_cast<CUdeviceptr>(pointer)) != CUDA_SUCCESS)
    return {};
  return place;
}

std::string Driver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName)
    getErrorName(result, &name);
  if (getErrorString)
    getErrorString(result, &text);
  return name ? cat(text ? text : "error", " (", name, ")") : cat("CUDA error ", result);
}

void check(CUresult result, const char *doing) {
  if (result != CUDA_SUCCESS)
    fail(result == CUDA_ERROR_OUT_OF_MEMORY ? FLAME_OUT_OF_MEMORY : FLAME_DEVICE, doing, ": ",
         Driver::get().describe(result));
}

} // namespace flame::rt::cuda
