//===- EditedKernels.h - kernels that a person has edited ---------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_EDITEDKERNELS_H
#define FLAME_TARGET_CUDA_EDITEDKERNELS_H

#include "flame/Target/Cuda/Emitter.h"
#include "llvm/Support/Error.h"

namespace flame::cuda {

/// What a launch depends on.
struct Signature {
  std::string symbol;
  std::vector<std::string> parameters; // types: "float*", "long long"; without const, restrict and names
  int threads = 0;                     // of __launch_bounds__; 0: none
  unsigned line = 0;                   // of the symbol, from 1
};

/// The `extern "C" __global__` functions that a CUDA source defines, in its order.
std::vector<Signature> signaturesOf(llvm::StringRef source);

/// Reads the text of Emitter::source() after a person has edited it. Every kernel must still be there and be called the
/// same way; functions, kernels and comments may have been added. The error names file, line and kernel.
llvm::Expected<Unit> readEditedKernels(llvm::StringRef path, const Emitter &emitter);
/// The same of the file's text.
llvm::Expected<Unit> checkEditedKernels(llvm::StringRef path, llvm::StringRef edited, llvm::StringRef generated);

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_EDITEDKERNELS_H
