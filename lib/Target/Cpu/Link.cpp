//===- Link.cpp - object files to a shared object, by lld in this process ---------------------------------------------===//
//
// Objects live in anonymous memory files. The result needs a name in a folder, because lld writes beside it and renames:
// it goes to the folder for temporary files and is removed at once. lld keeps its state in globals, so only one link runs
// at a time.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Lowering.h"
#include "lld/Common/CommonLinkerContext.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Signals.h"
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
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
private:
  int descriptor;
};

/// A file for the result; removed with the object.
class TemporaryFile {
public:
  TemporaryFile() {
    if (sys::fs::createTemporaryFile("flame", "so", name) &&
        sys::fs::createUniqueFile("/dev/shm/flame-%%%%%%.so", name))
      name.clear();
    if (ok())
      sys::RemoveFileOnSignal(name);
  }
  ~TemporaryFile() {
    if (!ok())
      return;
    sys::fs::remove(name);
    sys::DontRemoveFileOnSignal(name);
  }
  bool ok() const { return !name.empty(); }
  SmallString<128> name;
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
  TemporaryFile output;
  if (!output.ok())
    return createStringError("can't write a temporary file for linking; make room in the folder for temporary files, or "
                             "set TMPDIR to a folder that can be written");
  std::vector<const char *> arguments = {"ld.lld",  "-shared",        "--build-id=none", "--hash-style=gnu",
                                         "-ztext",  "-znow",          "--threads=1",
                                         "--strip-all", "-o", output.name.c_str()};
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
  ErrorOr<std::unique_ptr<MemoryBuffer>> shared =
      MemoryBuffer::getFile(output.name, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!shared)
    return createStringError("can't read the linked kernels back: " + shared.getError().message());
  return std::vector<char>((*shared)->getBufferStart(), (*shared)->getBufferEnd());
}
