//===- FakeCudaDriver.h - the fake CUDA driver in this process --------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_FAKECUDADRIVER_H
#define FLAME_TEST_UNIT_RUNTIME_FAKECUDADRIVER_H

#include "FakeCuda.h"
#include "TestFiles.h"

#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

namespace flame::test {

/// With FLAME_TEST_GPU in the environment the tests of CUDA plans run on a GPU, those that steer the fake driver are
/// skipped, and its counters stay 0.
inline bool onRealGpu() { return std::getenv("FLAME_TEST_GPU") != nullptr; }
#define FLAME_FAKE_GPU_ONLY()                                                                                          \
  if (::flame::test::onRealGpu())                                                                                      \
  GTEST_SKIP() << "steers the fake driver"
#define EXPECT_FAKE_EQ(counter, value)                                                                                 \
  if (::flame::test::onRealGpu())                                                                                      \
    ;                                                                                                                  \
  else                                                                                                                 \
    EXPECT_EQ(counter, value)

/// Makes the runtime use the fake driver; its control block.
inline FakeCuda &fakeCuda() {
  static FakeCuda *control = [] {
    if (!onRealGpu())
      setenv("FLAME_CUDA_DRIVER", testFile(FLAME_TEST_FAKE_CUDA).c_str(), 1);
    void *library = dlopen(testFile(FLAME_TEST_FAKE_CUDA).c_str(), RTLD_NOW | RTLD_LOCAL);
    auto access = library ? reinterpret_cast<FakeCudaAccess>(dlsym(library, kFakeCudaAccess)) : nullptr;
    return access ? access() : nullptr;
  }();
  return *control;
}

/// A test on the fake driver as it is at first, which must not find a violation or a leak.
class OnFakeGpu : public testing::Test {
protected:
  void SetUp() override { reset(); }
  void TearDown() override {
    EXPECT_EQ(gpu.violation, "");
    EXPECT_EQ(gpu.alive(), 0) << "something leaked";
    reset();
  }
  void reset() {
    gpu.version = 13000;
    gpu.devices = 2;
    gpu.major = 9;
    gpu.minor = 0;
    gpu.pools = gpu.streamNumbers = gpu.compilesPtx = true;
    gpu.memory = size_t(1) << 30;
    gpu.failCall = gpu.failAllocation = -1;
    gpu.sticky = 0;
    gpu.violation.clear();
  }
  FakeCuda &gpu = fakeCuda();
};

} // namespace flame::test

#endif
