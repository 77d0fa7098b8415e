//===- Nvrtc.h - CUDA C++ to machine code, by NVIDIA's run-time compiler ------------------------------------------===//
//
// libnvrtc is found at run time, by dlopen: the build needs no toolkit, and a machine that compiles needs no GPU.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_NVRTC_H
#define FLAME_TARGET_CUDA_NVRTC_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace flame::cuda {

/// True for "sm_80", "sm_90a", … (machine code) and "compute_80", … (PTX).
bool isArchitecture(llvm::StringRef name);
/// Whether it has what the generated kernels use: from sm_80 on.
bool runsKernels(llvm::StringRef architecture);

class Nvrtc {
public:
  /// Loads the library: FLAME_NVRTC if it is set (a file), else libnvrtc.so.13 or .12 by the loader's path, then from
  /// where toolkits and NVIDIA's Python wheels put it. The error says how to get it.
  static llvm::Expected<std::unique_ptr<Nvrtc>> load();
  ~Nvrtc();

  /// For example "13.0".
  std::string version() const;
  /// Where it was found.
  const std::string &path() const { return file; }
  /// Tells builds of the library apart, those of one version too: for keys of caches.
  std::string identity() const;

  /// What the compiler is told; results depend on it, the source, the architecture and the library alone.
  static std::vector<std::string> options(llvm::StringRef architecture);
  /// Architectures of machine code and PTX that it can make, as numbers: 80, 86, 90, …
  std::vector<int> architectures() const;

  /// Compiles a translation unit that includes nothing and is called model.cu in messages to a cubin ("sm_…") or to PTX
  /// ("compute_…"). The error has the compiler's log. With `report`, the compiler writes registers and spills of every
  /// kernel there.
  llvm::Expected<std::vector<char>> compile(llvm::StringRef source, llvm::StringRef architecture,
                                            std::string *report = nullptr) const;

private:
  Nvrtc() = default;
  struct Functions;
  std::unique_ptr<Functions> functions;
  void *library = nullptr;
  std::string file;
};

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_NVRTC_H
