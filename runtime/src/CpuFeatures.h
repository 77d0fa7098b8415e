//===- CpuFeatures.h - what this processor can do -------------------------===//
#ifndef FLAME_RUNTIME_CPUFEATURES_H
#define FLAME_RUNTIME_CPUFEATURES_H

#include <string>
#include <vector>

namespace flame::rt {

/// "x86_64", "aarch64": the architecture this runtime was built for, as in Code.target.
const char *hostArchitecture();

/// Those of `features` (LLVM's names: "avx2", "fma", "avx512vl" …) that the processor, or the operating system, lacks
/// or that this runtime does not know.
std::vector<std::string> missingCpuFeatures(const std::vector<std::string> &features);

} // namespace flame::rt

#endif
