//===- Nvtx.cpp - see Nvtx.h ----------------------------------------------===//

#include "Nvtx.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <vector>

namespace flame::rt {

namespace {

// The part of NVTX's stable binary interface that is needed, by its numbers: modules of functions, functions of a module,
// tables that a profiler asks for.
using Slot = void (*)();
constexpr int kCore = 1, kCore2 = 5, kModules = 7;
constexpr unsigned kFunctions[kModules] = {0, 16, 9, 15, 7, 16, 7}; // core, CUDA, OpenCL, CUDA runtime, core 2, sync
constexpr unsigned kMostFunctions = 16;
enum : unsigned { kRangePushA = 9, kRangePop = 11 };                                    // core
enum : unsigned { kDomainRangePushEx = 4, kDomainRangePop = 5, kDomainCreateA = 12 };   // core 2
enum : uint32_t { kCallbacks = 1, kVersionInfo = 3 };
constexpr uint32_t kVersion = 3;

struct EventAttributes {
  uint16_t version = kVersion, size = sizeof(EventAttributes);
  uint32_t category = 0;
  int32_t colorType = 0;
  uint32_t color = 0;
  int32_t payloadType = 0, reserved = 0;
  uint64_t payload = 0;
  int32_t messageType = 1; // ASCII
  const char *message;
};
static_assert(sizeof(EventAttributes) == 48);

Slot slots[kModules][kMostFunctions];             // set by the profiler
Slot *tables[kModules][kMostFunctions + 1];       // null, the slots from 1 on, null

int getModuleFunctionTable(int module, Slot ***table, unsigned *size) {
  if (module < kCore || module >= kModules)
    return 0;
  if (size)
    *size = kFunctions[module];
  if (table)
    *table = tables[module];
  return 1;
}
void setVersion(uint32_t) {}

struct Callbacks {
  size_t size = sizeof(Callbacks);
  int (*get)(int, Slot ***, unsigned *) = getModuleFunctionTable;
} callbacks;
struct VersionInfo {
  size_t size = sizeof(VersionInfo);
  uint32_t version = kVersion, reserved = 0;
  void (*set)(uint32_t) = setVersion;
} versionInfo;

const void *getExportTable(uint32_t table) {
  return table == kCallbacks ? static_cast<const void *>(&callbacks)
         : table == kVersionInfo ? static_cast<const void *>(&versionInfo)
                                 : nullptr;
}

template <typename Function> Function *function(int module, unsigned number) {
  return reinterpret_cast<Function *>(slots[module][number]);
}

} // namespace

Nvtx::Nvtx(const std::string &path) : path(path) {
  for (int module = kCore; module < kModules; ++module)
    for (unsigned i = 1; i < kFunctions[module]; ++i)
      tables[module][i] = &slots[module][i];
  void *library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  using Initialize = int(const void *(*)(uint32_t));
  auto *initialize = library ? reinterpret_cast<Initialize *>(dlsym(library, "InitializeInjectionNvtx2")) : nullptr;
  if (!initialize || !initialize(getExportTable))
    return; // the profiler has said what is wrong, or nobody can
  if (slots[kCore2][kDomainRangePushEx] && slots[kCore2][kDomainRangePop] && slots[kCore2][kDomainCreateA])
    domain = function<void *(const char *)>(kCore2, kDomainCreateA)("flame");
  usable = domain || (slots[kCore][kRangePushA] && slots[kCore][kRangePop]);
}

const Nvtx *Nvtx::attached() {
  const char *named = std::getenv("NVTX_INJECTION64_PATH");
  if (!named || !*named)
    return nullptr;
  static std::mutex mutex;
  static std::vector<std::unique_ptr<Nvtx>> loaded; // by path; a profiler cannot be taken back
  std::lock_guard lock(mutex);
  auto known = std::find_if(loaded.begin(), loaded.end(), [&](const auto &nvtx) { return nvtx->path == named; });
  if (known == loaded.end())
    known = loaded.insert(loaded.end(), std::unique_ptr<Nvtx>(new Nvtx(named)));
  return (*known)->usable ? known->get() : nullptr;
}

void Nvtx::push(const char *name) const {
  if (domain) {
    EventAttributes attributes{.message = name};
    function<int(void *, const EventAttributes *)>(kCore2, kDomainRangePushEx)(domain, &attributes);
  } else {
    function<int(const char *)>(kCore, kRangePushA)(name);
  }
}

void Nvtx::pop() const {
  if (domain)
    function<int(void *)>(kCore2, kDomainRangePop)(domain);
  else
    function<int()>(kCore, kRangePop)();
}

} // namespace flame::rt
