//===- RegularFile.cpp - see RegularFile.h
//----------------------------------------------------------------------------===//
#include "flame/Support/RegularFile.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace flame;

RegularFile::~RegularFile() {
  if (descriptor >= 0)
    ::close(descriptor);
}

std::string RegularFile::open(const std::string &path) {
  if (path.find('\0') != std::string::npos)
    return "has a NUL character in its name";
  descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return std::string("can't be opened: ") + std::strerror(errno) + "; check the path and its permissions";
  struct stat info;
  if (::fstat(descriptor, &info) != 0)
    return std::string("can't be examined: ") + std::strerror(errno);
  if (!S_ISREG(info.st_mode))
    return S_ISDIR(info.st_mode) ? "is a folder where a file is needed" : "is not a regular file";
  bytes = info.st_size;
  return "";
}

std::string RegularFile::read(uint64_t offset, uint64_t length, std::string &text) const {
  text.resize(length);
  for (uint64_t done = 0; done < length;) {
    ssize_t count = ::pread(descriptor, text.data() + done, length - done, offset + done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return std::string("can't be read: ") + std::strerror(errno);
    if (count == 0)
      return "became shorter while it was read; wait until whoever writes it has finished";
    done += count;
  }
  return "";
}
