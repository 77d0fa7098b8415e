//===- CudaModule.h - the kernels of an artifact, loaded into a GPU --------===//
#ifndef FLAME_RUNTIME_CUDA_CUDAMODULE_H
#define FLAME_RUNTIME_CUDA_CUDAMODULE_H

#include "../Plan.h"
#include "Device.h"

namespace flame::rt::cuda {

/// Which of the unit's codes runs best on a device of this compute capability: a cubin made for exactly this
/// architecture, the cubin of the nearest older one of its generation, the newest PTX that is not newer than the
/// device; -1 where none fits. "sm_90a" means 9.0 and nothing else.
int chooseCode(const std::vector<CodeInfo> &codes, int32_t unit, int major, int minor);

class CudaModule {
public:
  /// Throws Error: FLAME_UNSUPPORTED (no code for this device, with what there is), FLAME_DEVICE (the driver refuses it,
  /// with its log), FLAME_BAD_ARTIFACT (damaged code, missing kernels).
  CudaModule(const Plan &plan, Ref<Device> device);
  ~CudaModule();
  CudaModule(const CudaModule &) = delete;

  CUfunction function(int32_t kernel) const { return functions[kernel]; }
  /// How many blocks of a cooperative kernel the device holds at once.
  int residentBlocks(int32_t kernel) const { return resident[kernel]; }
  /// Bytes of the largest state that a kernel asks for.
  int stateBytes() const { return state; }
  /// Its code is for exactly sm_90a and the plan has another launch for that.
  bool usesWgmma(int32_t kernel) const { return wgmma[kernel]; }
  /// Bytes of dynamic shared memory of a block.
  int32_t shared(int32_t kernel) const { return sharedBytes[kernel]; }
  /// The kernel may be started while those before it run: it waits for them itself.
  bool waits(int32_t kernel) const { return waiting[kernel]; }

private:
  int choose(const Plan &plan, int32_t unit) const;
  void load(const CodeInfo &code);
  void find(const KernelInfo &kernel);
  void unload();

  Ref<Device> device;
  std::vector<CUmodule> modules; // of each unit; null where no kernel needs it
  std::vector<bool> isHopper, isExact; // of each unit: its code is for sm_90 or newer, for exactly sm_90a
  std::vector<int32_t> sharedBytes;
  std::vector<CUfunction> functions;
  std::vector<int> resident; // 0 where it doesn't matter
  int state = 0;
  std::vector<bool> waiting, wgmma;
};

} // namespace flame::rt::cuda

#endif
