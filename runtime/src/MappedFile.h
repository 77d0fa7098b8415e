//===- MappedFile.h - a read-only map of a regular file -------------------===//
#ifndef FLAME_RUNTIME_MAPPEDFILE_H
#define FLAME_RUNTIME_MAPPEDFILE_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace flame::rt {

/// Maps a whole file and keeps it open, so that a later loss of bytes can be noticed before they are touched.
class MappedFile {
public:
  MappedFile() = default;
  /// Throws Error(FLAME_IO) naming the path and the system's reason.
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(MappedFile &&other) noexcept { swap(other); }
  MappedFile &operator=(MappedFile &&other) noexcept {
    swap(other);
    return *this;
  }

  const uint8_t *data() const { return static_cast<const uint8_t *>(memory); }
  size_t size() const { return bytes; }
  const std::string &path() const { return name; }
  /// Throws Error(FLAME_IO) where the file has become shorter than its map: touching the rest would be fatal.
  void checkNotShrunk() const;

private:
  void swap(MappedFile &other) noexcept;
  void *memory = nullptr;
  size_t bytes = 0;
  int descriptor = -1;
  std::string name;
};

} // namespace flame::rt

#endif
