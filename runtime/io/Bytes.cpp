//===- Bytes.cpp - see Bytes.h --------------------------------------------===//

#include "Bytes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace flame::io {

namespace {

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0)
      close(value);
  }
};

[[noreturn]] void failFile(const std::string &path, const char *what) {
  throw InputError(path + ": " + what + ": " + std::strerror(errno));
}

} // namespace

std::vector<uint8_t> readFile(const std::string &path) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status;
  if (file.value < 0 || fstat(file.value, &status) != 0)
    failFile(path, "cannot open");
  if (!S_ISREG(status.st_mode))
    throw InputError(path + ": it is not a regular file");
  std::vector<uint8_t> bytes(status.st_size);
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t got = read(file.value, bytes.data() + at, bytes.size() - at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      failFile(path, "cannot read");
    if (got == 0)
      break;
    at += got;
  }
  bytes.resize(at);
  return bytes;
}

void writeFile(const std::string &path, std::span<const uint8_t> bytes) {
  std::string temporary = path + ".XXXXXX";
  Descriptor file{mkstemp(temporary.data())};
  if (file.value < 0)
    failFile(path, "cannot create");
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t put = write(file.value, bytes.data() + at, bytes.size() - at);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0) {
      const int reason = errno;
      unlink(temporary.c_str());
      errno = reason;
      failFile(path, "cannot write");
    }
    at += put;
  }
  const mode_t mask = umask(0);
  umask(mask);
  if (fchmod(file.value, 0666 & ~mask) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    errno = reason;
    failFile(path, "cannot write");
  }
}

int64_t countElements(const std::string &name, std::span<const int64_t> dims) {
  if (dims.size() > 32)
    throw InputError(name + ": the tensor has " + std::to_string(dims.size()) +
                     " dimensions, at most 32 are supported");
  int64_t count = 1;
  bool empty = false;
  for (int64_t d : dims) {
    if (d < 0)
      throw InputError(name + ": a dimension is negative (" + std::to_string(d) + ")");
    empty |= d == 0;
  }
  if (empty)
    return 0;
  for (int64_t d : dims)
    if (__builtin_mul_overflow(count, d, &count) || count > int64_t(1) << 58)
      throw InputError(name + ": the product of the dimensions is too large");
  return count;
}

Value makeTensor(const std::string &name, flame_dtype dtype, std::span<const int64_t> dims, uint64_t available,
                 uint64_t bitsPerElement) {
  const uint64_t count = countElements(name, dims);
  if ((count * bitsPerElement + 7) / 8 > available)
    throw InputError(name + ": the tensor needs " + std::to_string((count * bitsPerElement + 7) / 8) +
                     " bytes, the file has " + std::to_string(available));
  return Value::tensor(dtype, dims);
}

void normaliseElements(const Value &tensor) {
  auto *bytes = static_cast<uint8_t *>(tensor.data());
  auto each = [&](auto change) {
    for (size_t i = 0; i < tensor.bytes(); ++i)
      bytes[i] = change(bytes[i]);
  };
  switch (tensor.dtype()) {
  case FLAME_BOOL:
    return each([](uint8_t b) { return static_cast<uint8_t>(b != 0); });
  case FLAME_U4:
  case FLAME_F4E2M1FN:
    return each([](uint8_t b) { return static_cast<uint8_t>(b & 15); });
  case FLAME_U2:
    return each([](uint8_t b) { return static_cast<uint8_t>(b & 3); });
  case FLAME_I4:
    return each([](uint8_t b) { return static_cast<uint8_t>(((b & 15) ^ 8) - 8); });
  case FLAME_I2:
    return each([](uint8_t b) { return static_cast<uint8_t>(((b & 3) ^ 2) - 2); });
  default:
    return;
  }
}

} // namespace flame::io
