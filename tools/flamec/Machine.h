//===- Machine.h - what this machine has ------------------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_MACHINE_H
#define FLAME_TOOLS_FLAMEC_MACHINE_H

#include <cstdint>
#include <string>

namespace flame::tool {

struct Machine {
  std::string processor; // "AMD EPYC 7B13"
  unsigned cores = 0;    // that this process may use
  uint64_t memory = 0, available = 0; // bytes; a container's limit where it is lower
  std::string system; // "Linux 6.1.0 x86_64, glibc 2.36"
};
Machine thisMachine();

/// Text of a small file, or "".
std::string fileText(const std::string &path);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_MACHINE_H
