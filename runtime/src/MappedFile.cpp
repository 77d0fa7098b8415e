//===- MappedFile.cpp - see MappedFile.h ----------------------------------===//

#include "MappedFile.h"
#include "Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace flame::rt {

MappedFile::MappedFile(const std::string &path) : name(path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    fail(FLAME_IO, path, ": cannot open: ", std::strerror(errno));
  struct stat status;
  const char *reason = nullptr;
  if (fstat(descriptor, &status) != 0)
    reason = std::strerror(errno);
  else if (S_ISDIR(status.st_mode))
    reason = "it is a directory";
  else if (!S_ISREG(status.st_mode))
    reason = "it is not a regular file";
  if (!reason && status.st_size > 0) {
    bytes = status.st_size;
    memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
      memory = nullptr;
      reason = std::strerror(errno);
    }
  }
  if (reason) {
    close(descriptor);
    descriptor = -1;
    fail(FLAME_IO, path, ": cannot map: ", reason);
  }
}

MappedFile::~MappedFile() {
  if (memory)
    munmap(memory, bytes);
  if (descriptor >= 0)
    close(descriptor);
}

void MappedFile::swap(MappedFile &other) noexcept {
  std::swap(memory, other.memory);
  std::swap(bytes, other.bytes);
  std::swap(descriptor, other.descriptor);
  std::swap(name, other.name);
}

void MappedFile::checkNotShrunk() const {
  struct stat status;
  if (descriptor >= 0 && fstat(descriptor, &status) == 0 && static_cast<uint64_t>(status.st_size) < bytes)
    fail(FLAME_IO, name, ": the file shrank from ", bytes, " to ", status.st_size,
         " bytes while it was in use; load the model again");
}

} // namespace flame::rt
