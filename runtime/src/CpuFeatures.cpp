//===- CpuFeatures.cpp - see CpuFeatures.h --------------------------------===//
//
// CPUID directly: the compilers' builtins want literals, and /proc/cpuinfo has other names. AVX and AVX-512 also need
// the operating system to save the wide registers (XGETBV).
//
//===----------------------------------------------------------------------===//

#include "CpuFeatures.h"

#include <cstdint>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace flame::rt {

#if defined(__x86_64__)

const char *hostArchitecture() { return "x86_64"; }

namespace {

enum Register { EAX, EBX, ECX, EDX };
enum State : uint8_t { None, Avx, Avx512, Amx }; // registers the system must save

struct Feature {
  std::string_view name;
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  State state;
};

constexpr Feature kFeatures[] = {
    {"cx8", 1, 0, EDX, 8, None},
    {"cmov", 1, 0, EDX, 15, None},
    {"mmx", 1, 0, EDX, 23, None},
    {"fxsr", 1, 0, EDX, 24, None},
    {"sse", 1, 0, EDX, 25, None},
    {"sse2", 1, 0, EDX, 26, None},
    {"sse3", 1, 0, ECX, 0, None},
    {"pclmul", 1, 0, ECX, 1, None},
    {"ssse3", 1, 0, ECX, 9, None},
    {"fma", 1, 0, ECX, 12, Avx},
    {"cx16", 1, 0, ECX, 13, None},
    {"sse4.1", 1, 0, ECX, 19, None},
    {"sse4.2", 1, 0, ECX, 20, None},
    {"crc32", 1, 0, ECX, 20, None},
    {"movbe", 1, 0, ECX, 22, None},
    {"popcnt", 1, 0, ECX, 23, None},
    {"aes", 1, 0, ECX, 25, None},
    {"xsave", 1, 0, ECX, 26, None},
    {"avx", 1, 0, ECX, 28, Avx},
    {"f16c", 1, 0, ECX, 29, Avx},
    {"rdrnd", 1, 0, ECX, 30, None},
    {"fsgsbase", 7, 0, EBX, 0, None},
    {"bmi", 7, 0, EBX, 3, None},
    {"avx2", 7, 0, EBX, 5, Avx},
    {"bmi2", 7, 0, EBX, 8, None},
    {"avx512f", 7, 0, EBX, 16, Avx512},
    {"avx512dq", 7, 0, EBX, 17, Avx512},
    {"rdseed", 7, 0, EBX, 18, None},
    {"adx", 7, 0, EBX, 19, None},
    {"avx512ifma", 7, 0, EBX, 21, Avx512},
    {"clflushopt", 7, 0, EBX, 23, None},
    {"clwb", 7, 0, EBX, 24, None},
    {"avx512cd", 7, 0, EBX, 28, Avx512},
    {"sha", 7, 0, EBX, 29, None},
    {"avx512bw", 7, 0, EBX, 30, Avx512},
    {"avx512vl", 7, 0, EBX, 31, Avx512},
    {"avx512vbmi", 7, 0, ECX, 1, Avx512},
    {"avx512vbmi2", 7, 0, ECX, 6, Avx512},
    {"gfni", 7, 0, ECX, 8, None},
    {"vaes", 7, 0, ECX, 9, Avx},
    {"vpclmulqdq", 7, 0, ECX, 10, Avx},
    {"avx512vnni", 7, 0, ECX, 11, Avx512},
    {"avx512bitalg", 7, 0, ECX, 12, Avx512},
    {"avx512vpopcntdq", 7, 0, ECX, 14, Avx512},
    {"amx-bf16", 7, 0, EDX, 22, Amx},
    {"avx512fp16", 7, 0, EDX, 23, Avx512},
    {"amx-tile", 7, 0, EDX, 24, Amx},
    {"amx-int8", 7, 0, EDX, 25, Amx},
    {"avxvnni", 7, 1, EAX, 4, Avx},
    {"avx512bf16", 7, 1, EAX, 5, Avx512},
    {"avxifma", 7, 1, EAX, 23, Avx},
    {"sahf", 0x80000001, 0, ECX, 0, None},
    {"lzcnt", 0x80000001, 0, ECX, 5, None},
    {"sse4a", 0x80000001, 0, ECX, 6, None},
    {"prfchw", 0x80000001, 0, ECX, 8, None},
    {"64bit", 0x80000001, 0, EDX, 29, None},
};

bool systemSaves(State state) {
  if (state == None)
    return true;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
    return false;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const uint32_t wanted = state == Avx ? 0x6 : state == Avx512 ? 0xE6 : 0x60000;
  return (low & wanted) == wanted;
}

bool hasFeature(std::string_view name) {
  for (const Feature &f : kFeatures) {
    if (f.name != name)
      continue;
    uint32_t regs[4] = {};
    return __get_cpuid_count(f.leaf, f.subleaf, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX]) &&
           (regs[f.reg] >> f.bit & 1) && systemSaves(f.state);
  }
  return false;
}

} // namespace

#elif defined(__aarch64__)

const char *hostArchitecture() { return "aarch64"; }

namespace {

bool hasFeature(std::string_view name) {
  const unsigned long caps = getauxval(AT_HWCAP);
  if (name == "fp-armv8" || name == "neon")
    return caps & HWCAP_ASIMD;
  if (name == "fullfp16")
    return caps & HWCAP_ASIMDHP;
  if (name == "dotprod")
    return caps & HWCAP_ASIMDDP;
  if (name == "lse")
    return caps & HWCAP_ATOMICS;
  if (name == "sve")
    return caps & HWCAP_SVE;
  return false;
}

} // namespace

#else

const char *hostArchitecture() { return "unknown"; }
namespace {
bool hasFeature(std::string_view) { return false; }
} // namespace

#endif

std::vector<std::string> missingCpuFeatures(const std::vector<std::string> &features) {
  std::vector<std::string> missing;
  for (const std::string &feature : features) {
    std::string_view name = feature;
    if (!name.empty() && name.front() == '+')
      name.remove_prefix(1);
    // "-avx512f" says that the code does without.
    if (!name.empty() && name.front() != '-' && !hasFeature(name))
      missing.emplace_back(name);
  }
  return missing;
}

} // namespace flame::rt
