//===- Templates.h - the device templates as text -----------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_TEMPLATES_H
#define FLAME_LIB_TARGET_CUDA_TEMPLATES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"
#include <string>

namespace flame::cuda {

/// Appends the file of runtime/kernels after those that it includes, without what `seen` has; comments at the head of a
/// file and its includes are left out.
void appendTemplate(llvm::StringRef name, llvm::StringSet<> &seen, std::string &text);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_TEMPLATES_H
