//===- RegularFile.h - reading a file that may be anything
//------------------------------------------------------------===//
//
// What a path leads to is unknown until it is open: a FIFO must not make the open wait, a folder or a device must not
// be read, and the size is that of the open file. Symbolic links are followed.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SUPPORT_REGULARFILE_H
#define FLAME_SUPPORT_REGULARFILE_H

#include <cstdint>
#include <string>

namespace flame {

class RegularFile {
public:
  RegularFile() = default;
  RegularFile(const RegularFile &) = delete;
  RegularFile &operator=(const RegularFile &) = delete;
  ~RegularFile();

  /// Returns an error message (cause and remedy, without the path), or an empty string.
  std::string open(const std::string &path);
  uint64_t size() const { return bytes; }
  /// Reads `length` bytes from `offset` on into `text`; returns an error message or an empty string.
  std::string read(uint64_t offset, uint64_t length, std::string &text) const;

private:
  int descriptor = -1;
  uint64_t bytes = 0;
};

} // namespace flame

#endif // FLAME_SUPPORT_REGULARFILE_H
