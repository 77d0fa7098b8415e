//===- Bytes.h - files in memory and bounded reading ----------------------===//
//
// The readers of this library take bytes from strangers: every access is checked, sizes are compared with what is left
// before anything is allocated, and a failure is an InputError that names the file.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_IO_BYTES_H
#define FLAME_IO_BYTES_H

#include "flame_rt.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flame::io {

/// A file that cannot be read or is not what it claims to be (exit code 3 of the tools).
class InputError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// The whole file; regular files only. Throws InputError.
std::vector<uint8_t> readFile(const std::string &path);
/// Writes a temporary file beside `path` and renames it, so that a reader never sees half of it. Throws InputError.
void writeFile(const std::string &path, std::span<const uint8_t> bytes);

/// Reads little-endian numbers from the front of a span.
class ByteReader {
public:
  ByteReader(std::span<const uint8_t> bytes, std::string name) : rest(bytes), name(std::move(name)) {}

  size_t left() const { return rest.size(); }
  std::span<const uint8_t> take(size_t count) {
    if (count > rest.size())
      fail("it is truncated");
    auto out = rest.first(count);
    rest = rest.subspan(count);
    return out;
  }
  template <typename T> T number() {
    auto bytes = take(sizeof(T));
    T out = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      out = static_cast<T>(out | static_cast<T>(static_cast<T>(bytes[i]) << (8 * i)));
    return out;
  }
  [[noreturn]] void fail(const std::string &message) const { throw InputError(name + ": " + message); }
  const std::string &source() const { return name; }

private:
  std::span<const uint8_t> rest;
  std::string name;
};

/// A tensor of these dimensions, whose elements occupy `available` bytes or fewer; checks all arithmetic before it
/// allocates. `bitsPerElement` is that of the file. Throws InputError.
Value makeTensor(const std::string &name, flame_dtype dtype, std::span<const int64_t> dims, uint64_t available,
                 uint64_t bitsPerElement);
/// Product of the dimensions; throws InputError where there are more than 32, one is negative or the product is too large.
int64_t countElements(const std::string &name, std::span<const int64_t> dims);

/// Brings bytes of a file into the form that flame::Value promises: bools 0 or 1, narrow integers within their range
/// (the upper bits of a byte are dropped, I4 and I2 sign-extended).
void normaliseElements(const Value &tensor);

} // namespace flame::io

#endif
