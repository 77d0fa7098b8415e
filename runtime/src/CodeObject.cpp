//===- CodeObject.cpp - see CodeObject.h ----------------------------------===//

#include "CodeObject.h"
#include "CpuFeatures.h"
#include "PlanFormat.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <zstd.h>

namespace flame::rt {

namespace {

constexpr uint64_t kMaxCodeBytes = 1ull << 30;

void checkMachine(const CodeInfo &code) {
  if (code.target != hostArchitecture())
    fail(FLAME_UNSUPPORTED, "its code is for ", code.target, ", this machine is ", hostArchitecture(),
         "; compile the model for this machine");
  const auto missing = missingCpuFeatures(code.features);
  if (missing.empty())
    return;
  std::string list;
  for (const std::string &feature : missing)
    list += (list.empty() ? "" : ", ") + feature;
  fail(FLAME_UNSUPPORTED, "its code needs CPU features that this processor does not have: ", list,
       "; compile the model for this processor");
}

} // namespace

void checkCode(const CodeInfo &code) {
  if (plan::checksum(code.data, code.bytes) != code.checksum)
    fail(FLAME_BAD_ARTIFACT, "the checksum of its code does not match: the file is damaged");
  if (code.size == 0 || code.size > kMaxCodeBytes)
    fail(FLAME_BAD_ARTIFACT, "its code would have ", code.size, " bytes (at most ", kMaxCodeBytes, ")");
}

void decompress(const CodeInfo &code, void *out) {
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx *)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!context)
    throw std::bad_alloc();
  const size_t got = ZSTD_decompressDCtx(context.get(), out, code.size, code.data, code.bytes);
  if (ZSTD_isError(got))
    fail(FLAME_BAD_ARTIFACT, "its code cannot be decompressed: ", ZSTD_getErrorName(got));
  if (got != code.size)
    fail(FLAME_BAD_ARTIFACT, "its code has ", got, " bytes, ", code.size, " were expected");
}

namespace {

/// The kernels call the C library's mathematical functions without naming it as a dependency.
void loadMath() {
  static void *const math = dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
  (void)math;
}

struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0)
      close(value);
  }
};

int anonymousFile() {
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
  int descriptor = memfd_create("flame-code", MFD_CLOEXEC | MFD_EXEC);
  if (descriptor < 0 && errno == EINVAL) // a kernel before 6.3
    descriptor = memfd_create("flame-code", MFD_CLOEXEC);
  return descriptor;
}

} // namespace

CodeObject::CodeObject(const CodeInfo &code) {
  checkMachine(code);
  checkCode(code);
  Descriptor file{anonymousFile()};
  if (file.value < 0 || ftruncate(file.value, code.size) != 0)
    fail(errno == ENOMEM ? FLAME_OUT_OF_MEMORY : FLAME_IO, "cannot make room for its code: ", std::strerror(errno));
  void *memory = mmap(nullptr, code.size, PROT_READ | PROT_WRITE, MAP_SHARED, file.value, 0);
  if (memory == MAP_FAILED)
    fail(FLAME_OUT_OF_MEMORY, "cannot map its code: ", std::strerror(errno));
  try {
    decompress(code, memory);
  } catch (...) {
    munmap(memory, code.size);
    throw;
  }
  munmap(memory, code.size);

  loadMath();
  // The descriptor stays open as long as the object is loaded: the loader recognises objects by name, and a second
  // artifact must not get the same number.
  const std::string path = cat("/proc/self/fd/", file.value);
  handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    fail(FLAME_BAD_ARTIFACT, "its code cannot be loaded: ", dlerror());
  descriptor = std::exchange(file.value, -1);
}

CodeObject::CodeObject(CodeObject &&other) noexcept
    : handle(std::exchange(other.handle, nullptr)), descriptor(std::exchange(other.descriptor, -1)) {}

CodeObject::~CodeObject() {
  if (handle)
    dlclose(handle);
  if (descriptor >= 0)
    close(descriptor);
}

void *CodeObject::symbol(const std::string &name) const {
  void *address = dlsym(handle, name.c_str());
  if (!address)
    fail(FLAME_BAD_ARTIFACT, "its code does not define the kernel '", name, "'");
  return address;
}

} // namespace flame::rt
