//===- Target.h - the processor that kernels are compiled for ---------------------------------------------------------===//
#ifndef FLAME_TARGET_CPU_TARGET_H
#define FLAME_TARGET_CPU_TARGET_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace flame::cpu {

struct Target {
  std::string triple;       // "x86_64-unknown-linux-gnu"
  std::string cpu;          // LLVM's name: "znver3", "x86-64-v3"
  std::string features;     // what goes beyond (or stays below) the cpu, as LLVM writes it: "+avx2,-avx512f"
  unsigned vectorBytes = 0; // width of the widest float vectors worth using
  unsigned registers = 16;  // vector registers
  bool fma = false;         // fused multiply-add in hardware
  bool f16c = false;        // float16 conversion in hardware

  /// This machine's processor.
  static Target host();
  /// "native" or a name that LLVM knows: "x86-64-v3", "znver3", "skylake". An unknown name is an error that lists the
  /// usual ones.
  static llvm::Expected<Target> parse(llvm::StringRef name);

  /// The first part of the triple: the plan's Code.target.
  std::string architecture() const;
  /// Features that a processor must have to run the code: the plan's Code.features.
  std::vector<std::string> requiredFeatures() const;
};

} // namespace flame::cpu

#endif // FLAME_TARGET_CPU_TARGET_H
