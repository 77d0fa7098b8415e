//===- FileCache.h - results of expensive computations, kept in a folder ------------------------------------------===//
//
// A folder of files, one for each entry, named by the hash of everything that the entry depends on. Any number of
// processes and threads may use one folder: an entry appears at once and complete (temporary file, fsync, rename), and
// an entry that is damaged counts as absent. Nothing here is ever an error: a folder that can't be made, read or
// written is a cache that keeps nothing.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SUPPORT_FILECACHE_H
#define FLAME_SUPPORT_FILECACHE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace flame {

class FileCache {
public:
  static constexpr uint64_t kDefaultLimit = uint64_t(1) << 30;

  /// $FLAME_CACHE_DIR, else $XDG_CACHE_HOME/flame, else $HOME/.cache/flame; empty where none is set (relative paths of
  /// the last two don't count).
  static std::string defaultFolder();

  /// Keeps about `limit` bytes: what has not been used for the longest time goes first. An empty folder name: keeps
  /// nothing.
  explicit FileCache(std::string folder, uint64_t limit = kDefaultLimit);

  /// The name of what depends on exactly these parts: 64 hexadecimal digits.
  static std::string key(llvm::ArrayRef<llvm::StringRef> parts);

  /// The entry, if it is there and undamaged; it then counts as used.
  std::optional<std::vector<char>> load(llvm::StringRef key);
  /// Makes or replaces the entry; false if that was not possible.
  bool store(llvm::StringRef key, llvm::ArrayRef<char> data);

  const std::string &path() const { return folder; }

private:
  void makeRoom(uint64_t added);

  std::string folder;
  uint64_t limit;
  std::mutex mutex;
  std::optional<uint64_t> size; // of all entries, when last counted
};

} // namespace flame

#endif // FLAME_SUPPORT_FILECACHE_H
