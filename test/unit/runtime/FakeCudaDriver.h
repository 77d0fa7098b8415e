//===- FakeCudaDriver.h - the fake CUDA driver in this process --------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_FAKECUDADRIVER_H
#define FLAME_TEST_UNIT_RUNTIME_FAKECUDADRIVER_H

#include "FakeCuda.h"

#include <cstdlib>
#include <dlfcn.h>

namespace flame::test {

/// Makes the runtime use the fake driver; its control block.
inline FakeCuda &fakeCuda() {
  static FakeCuda *control = [] {
    setenv("FLAME_CUDA_DRIVER", FLAME_TEST_FAKE_CUDA, 1);
    void *library = dlopen(FLAME_TEST_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    auto access = library ? reinterpret_cast<FakeCudaAccess>(dlsym(library, kFakeCudaAccess)) : nullptr;
    return access ? access() : nullptr;
  }();
  return *control;
}

} // namespace flame::test

#endif
