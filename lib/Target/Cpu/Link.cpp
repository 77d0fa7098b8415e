//===- Link.cpp - object files to a shared object, by lld in this process ---------------------------------------------===//
//
// Objects and result live in anonymous memory files: nothing is written to a disk. lld keeps its state in globals, so
// only one link runs at a time.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Lowering.h"
#include "lld/Common/CommonLinkerContext.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/Error.h"
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace {

/// An anonymous file with a path.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) : descriptor(memfd_create(name, MFD_CLOEXEC)) {}
  MemoryFile(MemoryFile &&other) : descriptor(std::exchange(other.descriptor, -1)) {}
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }
  bool ok() const { return descriptor >= 0; }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }
  bool write(ArrayRef<char> bytes) {
    while (!bytes.empty()) {
      ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0)
        return false;
      bytes = bytes.drop_front(written);
    }
    return true;
  }
  bool read(std::vector<char> &bytes) {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
      return false;
    bytes.resize(status.st_size);
    size_t done = 0;
    while (done < bytes.size()) {
      ssize_t got = pread(descriptor, bytes.data() + done, bytes.size() - done, done);
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return false;
      done += got;
    }
    return true;
  }

private:
  int descriptor;
};

} // namespace

Expected<std::vector<char>> flame::cpu::linkShared(ArrayRef<SmallVector<char, 0>> objects) {
  auto noMemory = [] {
    return createStringError(std::error_code(errno, std::generic_category()),
                             "can't make room for the kernels' code: " + sys::StrError());
  };
  std::vector<MemoryFile> files;
  std::vector<std::string> paths;
  for (const SmallVector<char, 0> &object : objects) {
    files.emplace_back("flame-object");
    if (!files.back().ok() || !files.back().write(object))
      return noMemory();
    paths.push_back(files.back().path());
  }
  MemoryFile output("flame-shared-object");
  if (!output.ok())
    return noMemory();
  std::string outputPath = output.path();
  std::vector<const char *> arguments = {"ld.lld",  "-shared",        "--build-id=none", "--hash-style=gnu",
                                         "-ztext",  "-znow",          "--threads=1",     "--no-mmap-output-file",
                                         "--strip-all", "-o", outputPath.c_str()};
  for (const std::string &path : paths)
    arguments.push_back(path.c_str());

  std::string log;
  raw_string_ostream messages(log);
  bool ok;
  {
    static std::mutex linking;
    std::lock_guard<std::mutex> lock(linking);
    ok = lld::elf::link(arguments, messages, messages, /*exitEarly=*/false, /*disableOutput=*/false);
    lld::CommonLinkerContext::destroy();
  }
  if (!ok)
    return createStringError("linking the kernels failed: " + log);
  std::vector<char> bytes;
  if (!output.read(bytes))
    return noMemory();
  return bytes;
}
