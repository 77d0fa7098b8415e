//===- Files.cpp - the small files of a model folder -----------------------===//

#include "Files.h"

#include "Error.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace flame::diffusion {

using rt::fail;

namespace {

/// An open file, closed at the end.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0)
      ::close(number);
  }
};

} // namespace

std::string joinPath(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && path.back() != '/')
    path += '/';
  return path += name;
}

bool fileExists(const std::string &path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string readFile(const std::string &path, size_t limit) {
  if (path.find('\0') != std::string::npos)
    fail(FLAME_IO, "the path '", path.c_str(), "…' contains a zero byte");
  // O_NONBLOCK: opening a FIFO that nobody writes must not wait.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status;
  if (file.number < 0 || ::fstat(file.number, &status) != 0)
    fail(FLAME_IO, "cannot open ", path, ": ", std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    fail(FLAME_IO, path, " is no regular file");
  const auto tooLarge = [&](size_t bytes) {
    if (bytes > limit)
      fail(FLAME_IO, path, " has ", bytes, " bytes; files of this kind have at most ", limit);
  };
  tooLarge(static_cast<size_t>(status.st_size));
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t have = 0;
  while (true) {
    if (have == text.size()) // the file may have grown since
      text.resize(have + 4096);
    const ssize_t got = ::read(file.number, text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      fail(FLAME_IO, "cannot read ", path, ": ", std::strerror(errno));
    if (got == 0)
      break;
    have += static_cast<size_t>(got);
    tooLarge(have);
  }
  text.resize(have);
  return text;
}

void writeFile(const std::string &path, const void *data, size_t bytes) {
  std::string temporary = path + ".XXXXXX";
  Descriptor file{::mkstemp(temporary.data())};
  if (file.number < 0)
    fail(FLAME_IO, "cannot write into the folder of ", path, ": ", std::strerror(errno));
  const auto give = [&](const char *what) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    fail(FLAME_IO, "cannot ", what, " ", path, ": ", std::strerror(reason));
  };
  const auto *p = static_cast<const char *>(data);
  for (size_t done = 0; done < bytes;) {
    const ssize_t wrote = ::write(file.number, p + done, bytes - done);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0)
      give("write");
    done += static_cast<size_t>(wrote);
  }
  const mode_t mask = ::umask(0); // what open() would have applied; mkstemp makes private files
  ::umask(mask);
  if (::fchmod(file.number, 0666 & ~mask) != 0)
    give("write");
  const int number = file.number;
  file.number = -1;
  if (::close(number) != 0)
    give("write");
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    give("replace");
}

} // namespace flame::diffusion
