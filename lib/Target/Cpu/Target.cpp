//===- Target.cpp - what is known of a processor ----------------------------------------------------------------------===//
#include "flame/Target/Cpu/Target.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace llvm;
using namespace flame::cpu;

static const char *const kLinux = "-unknown-linux-gnu";

/// Fills in what follows from the enabled features.
static void describe(Target &target, const StringMap<bool> &enabled) {
  auto has = [&](StringRef feature) { return enabled.lookup(feature); };
  target.vectorBytes = has("avx512f") && has("avx512vl") ? 64 : has("avx") ? 32 : 16;
  target.registers = target.vectorBytes == 64 ? 32 : 16;
  target.fma = has("fma");
  target.f16c = has("f16c");
}

static StringMap<bool> featuresOf(const Target &target) {
  StringMap<bool> enabled;
  if (StringRef(target.triple).starts_with("x86_64")) {
    SmallVector<StringRef> names;
    X86::getFeaturesForCPU(target.cpu, names);
    for (StringRef name : names) {
      enabled[name] = true;
      X86::updateImpliedFeatures(name, /*Enabled=*/true, enabled);
    }
  }
  SmallVector<StringRef> changes;
  StringRef(target.features).split(changes, ',', -1, /*KeepEmpty=*/false);
  for (StringRef change : changes)
    enabled[change.drop_front()] = change.starts_with("+");
  return enabled;
}

Target Target::host() {
  Target target;
  Triple triple(sys::getProcessTriple());
  target.triple = (triple.getArchName() + kLinux).str();
  target.cpu = sys::getHostCPUName().str();
  // A virtual machine may hide features of its processor: say all that can be asked.
  StringMap<bool> detected = sys::getHostCPUFeatures();
  std::vector<StringRef> names;
  for (const auto &entry : detected)
    names.push_back(entry.first());
  llvm::sort(names);
  for (StringRef name : names) {
    if (!target.features.empty())
      target.features += ',';
    target.features += (detected[name] ? "+" : "-") + name.str();
  }
  describe(target, featuresOf(target));
  if (!triple.isX86())
    target.vectorBytes = 16, target.registers = 32, target.fma = true, target.f16c = true;
  return target;
}

Expected<Target> Target::parse(StringRef name) {
  if (name.empty() || name == "native")
    return host();
  Target target;
  target.triple = std::string("x86_64") + kLinux;
  target.cpu = name.str();
  if (X86::parseArchX86(name, /*Only64Bit=*/true) == X86::CK_None)
    return createStringError(formatv("unknown processor '{0}'; use native, x86-64, x86-64-v2, x86-64-v3, x86-64-v4 or a "
                                     "name that LLVM knows, such as skylake, znver3 or sapphirerapids",
                                     name));
  describe(target, featuresOf(target));
  return target;
}

std::string Target::architecture() const { return StringRef(triple).split('-').first.str(); }

std::vector<std::string> Target::requiredFeatures() const {
  // Only what compiled arithmetic may use; the rest (aes, sha, clflushopt, …) is never emitted.
  static const char *const used[] = {"sse3",       "ssse3",       "sse4.1",       "sse4.2",     "popcnt",   "avx",
                                     "f16c",       "fma",         "bmi",          "bmi2",       "lzcnt",    "movbe",
                                     "avx2",       "avx512f",     "avx512bw",     "avx512cd",   "avx512dq", "avx512vl",
                                     "avx512vbmi", "avx512vbmi2", "avx512bitalg", "avx512vnni", "avx512bf16",
                                     "avx512fp16", "avxvnni",     "gfni"};
  StringMap<bool> enabled = featuresOf(*this);
  std::vector<std::string> required;
  for (const char *feature : used)
    if (enabled.lookup(feature))
      required.push_back(feature);
  return required;
}
