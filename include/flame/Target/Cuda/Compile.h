//===- Compile.h - units of kernels to machine code, in parallel --------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_COMPILE_H
#define FLAME_TARGET_CUDA_COMPILE_H

#include "flame/Support/FileCache.h"
#include "flame/Target/Cuda/Emitter.h"
#include "flame/Target/Cuda/Nvrtc.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace flame::cuda {

struct CompiledUnits {
  std::vector<std::vector<char>> codes; // unit × architecture, architectures innermost
  unsigned cached = 0;                  // how many of these the cache had
};

/// Compiles every unit for every architecture with at most `threads` threads. `progress` gets the number of codes that
/// are done, not more than one call at a time. The result does not depend on threads and cache; an error names the
/// kernel and the model's nodes and has NVRTC's log.
llvm::Expected<CompiledUnits> compileUnits(const Nvrtc &nvrtc, llvm::ArrayRef<Unit> units,
                                           llvm::ArrayRef<std::string> architectures, unsigned threads,
                                           FileCache &cache, llvm::function_ref<void(unsigned done)> progress);

/// The kernel that NVRTC's log of this unit blames; null where it blames none.
const Unit::Part *blamedKernel(const Unit &unit, llvm::StringRef log);

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_COMPILE_H
