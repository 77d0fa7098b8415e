//===- CudaModule.cpp - see CudaModule.h -----------------------------------===//

#include "CudaModule.h"
#include "../CodeObject.h"

#include <algorithm>
#include <charconv>

namespace flame::rt::cuda {

namespace {

constexpr int kSharedWithoutAsking = 48 * 1024;
constexpr int kHopperMajor = 9; // kernels that wait for others, more shared memory

struct Target {
  int major = 0, minor = 0;
  bool exact = false; // "sm_90a": features of this architecture alone
};

/// Reads "sm_90a" or "compute_80"; major 0 where it is neither.
Target parseTarget(const std::string &text) {
  Target target;
  const size_t underscore = text.find('_');
  int number = 0;
  if (underscore == std::string::npos)
    return target;
  const char *end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + underscore + 1, end, number);
  if (parsed.ec != std::errc() || number < 10 || end - parsed.ptr > 1)
    return target;
  target.exact = parsed.ptr != end;
  target.major = number / 10;
  target.minor = number % 10;
  return target;
}

} // namespace

int chooseCode(const std::vector<CodeInfo> &codes, int32_t unit, int major, int minor) {
  int best = -1, bestScore = 0;
  for (size_t i = 0; i < codes.size(); ++i) {
    const Target t = parseTarget(codes[i].target);
    const int distance = (major - t.major) * 10 + minor - t.minor;
    int score = 0;
    if (codes[i].unit != unit || t.major == 0 || distance < 0)
      continue;
    if (codes[i].format == CodeFormat::Cubin) {
      if (t.exact ? distance == 0 : t.major == major)
        score = t.exact ? 3000 : 2000 - distance;
    } else if (codes[i].format == CodeFormat::Ptx) {
      if (!t.exact || distance == 0)
        score = 1000 - distance;
    }
    if (score > bestScore) {
      best = i;
      bestScore = score;
    }
  }
  return best;
}

CudaModule::CudaModule(const Plan &plan, Ref<Device> on) : device(std::move(on)) {
  if (plan.kernels.empty())
    return;
  ContextScope scope(*device);
  modules.resize(plan.codes.size());
  isHopper.resize(plan.codes.size());
  isExact.resize(plan.codes.size());
  try {
    for (const KernelInfo &kernel : plan.kernels) {
      if (!modules[kernel.unit])
        load(plan.codes[choose(plan, kernel.unit)]);
      find(kernel);
    }
  } catch (...) {
    unload();
    throw;
  }
}

int CudaModule::choose(const Plan &plan, int32_t unit) const {
  const int chosen = chooseCode(plan.codes, unit, device->major, device->minor);
  if (chosen != -1)
    return chosen;
  std::string list;
  for (const CodeInfo &code : plan.codes)
    if (code.unit == unit)
      list += (list.empty() ? "" : ", ") + code.target;
  fail(FLAME_UNSUPPORTED, "it has code for ", list, "; ", device->describe(),
       " runs none of these: compile the model with --gpu=sm_", device->major, device->minor);
}

void CudaModule::unload() {
  for (CUmodule module : modules)
    if (module)
      device->driver.moduleUnload(module);
}

void CudaModule::load(const CodeInfo &code) {
  checkCode(code);
  const Target target = parseTarget(code.target);
  isHopper[code.unit] = target.major >= kHopperMajor;
  isExact[code.unit] = target.major == kHopperMajor && target.minor == 0 && target.exact;
  std::vector<char> image(code.size + 1); // PTX is text that ends in a zero
  decompress(code, image.data());
  std::vector<char> log(16384);
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size() - 1)};
  const CUresult result = device->driver.moduleLoadDataEx(&modules[code.unit], image.data(), 2, options, values);
  if (result == CUDA_SUCCESS)
    return;
  std::string text = log.data();
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  const char *remedy = "";
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
    remedy = "; the driver is older than the compiler that made the PTX: update it, or compile a cubin for this GPU";
  fail(result == CUDA_ERROR_OUT_OF_MEMORY ? FLAME_OUT_OF_MEMORY : FLAME_DEVICE, "its code for ", code.target,
       " cannot be loaded into ", device->describe(), ": ", device->driver.describe(result), text.empty() ? "" : ":\n",
       text, remedy);
}

void CudaModule::find(const KernelInfo &kernel) {
  CUfunction function = nullptr;
  const CUresult found = device->driver.moduleGetFunction(&function, modules[kernel.unit], kernel.symbol.c_str());
  if (found == CUDA_ERROR_NOT_FOUND)
    fail(FLAME_BAD_ARTIFACT, "its code does not define the kernel '", kernel.symbol, "'");
  check(found, "looking for a kernel");
  wgmma.push_back(kernel.wgmma.threads != 0 && isExact[kernel.unit]);
  const int32_t shared = wgmma.back()            ? kernel.wgmma.shared
                         : isHopper[kernel.unit] ? kernel.shared
                                                 : kernel.sharedBefore90;
  if (shared > device->maxShared)
    fail(FLAME_UNSUPPORTED, "its kernel '", kernel.symbol, "' wants ", shared, " bytes of shared memory, ",
         device->describe(), " has ", device->maxShared, " for a block; compile the model for this GPU");
  if (shared > kSharedWithoutAsking)
    check(device->driver.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared),
          "asking for shared memory");
  functions.push_back(function);
  state = std::max(state, kernel.state);
  int blocks = 0;
  if (kernel.cooperative) {
    check(device->driver.occupancyMaxActiveBlocks(&blocks, function, kernel.threads, shared),
          "asking how many blocks fit on a multiprocessor");
    blocks *= device->multiprocessors;
    if (blocks == 0)
      fail(FLAME_UNSUPPORTED, "no block of its kernel '", kernel.symbol, "' fits on a multiprocessor of ",
           device->describe(), "; compile the model for this GPU");
    if (blocks < kernel.leastBlocks)
      fail(FLAME_UNSUPPORTED, "its kernel '", kernel.symbol, "' needs ", kernel.leastBlocks, " blocks at one time, ",
           device->describe(), " holds ", blocks, " on ", device->multiprocessors,
           " multiprocessors; run it on a larger GPU or a larger part of this one");
  }
  resident.push_back(blocks);
  sharedBytes.push_back(shared);
  waiting.push_back(kernel.waits && isHopper[kernel.unit]);
}

CudaModule::~CudaModule() {
  if (modules.empty())
    return;
  try {
    ContextScope scope(*device);
    unload();
  } catch (const Error &) {
    // The context is gone, and the module with it.
  }
}

} // namespace flame::rt::cuda
