//===- FakeCuda.h - control of the fake CUDA driver ------------------------===//
//
// libflame_fake_cuda.so stands in for libcuda.so.1 (environment variable FLAME_CUDA_DRIVER). Work in a stream is done
// when something waits for it, as late as a real GPU might. Device addresses are no addresses of the CPU, so touching
// device memory from the wrong side is fatal; each kernel argument must be 256-byte aligned memory that is allocated
// when the kernel runs. Accesses from several streams that nothing orders are violations (FakeOrder.h), as is the use
// of a destroyed stream. "Cubins" are ELF shared objects with functions of the type FakeKernel (DeviceKernels.c); with
// FLAME_FAKE_KERNELS=none in the environment there may be real ones, too, whose kernels do nothing.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_FAKECUDA_H
#define FLAME_TEST_UNIT_RUNTIME_FAKECUDA_H

#include <atomic>
#include <cstdint>
#include <string>

namespace flame::test {

struct FakeCuda {
  // What the driver pretends to be.
  int version = 13000, devices = 2, major = 9, minor = 0;
  bool pools = true;
  bool streamNumbers = true;       // cuStreamGetId works
  bool compilesPtx = true;         // of the runtime's own kernels
  size_t memory = size_t(1) << 30; // of each device
  int multiprocessors = 3;         // each holds one block
  // Failures: the call, the allocation that fails, counted down to 0; negative: none.
  std::atomic<int64_t> failCall{-1}, failAllocation{-1};
  int sticky = 0; // what every call returns after a kernel has failed
  // What has happened.
  std::atomic<int64_t> calls{0}, launches{0}, graphLaunches{0}, graphsMade{0}, nodeUpdates{0}, cooperativeLaunches{0},
      overlaps{0}, copiesToDevice{0}, copiesToHost{0}, tensorMaps{0}, eventRecords{0}, eventWaits{0};
  // What is alive.
  std::atomic<int64_t> allocations{0}, pinned{0}, streams{0}, events{0}, modules{0}, graphs{0}, pools_{0}, contexts{0};
  std::string violation; // the first thing that a GPU would not have let pass, or worse, would have

  int64_t alive() const { return allocations + pinned + streams + events + modules + graphs + pools_ + contexts; }
};

/// Exported by the fake under this name.
using FakeCudaAccess = FakeCuda *(*)();
inline constexpr const char *kFakeCudaAccess = "flameFakeCuda";

} // namespace flame::test

#endif
