//===- FileCache.cpp - see FileCache.h ----------------------------------------------------------------------------===//
//
// An entry is a file of the name of its key: the magic number, the SHA-256 of key and data, the data. Its time of
// modification is the time of its last use. Temporary files that a killed process left go an hour later.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Support/FileCache.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/SHA256.h"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

using namespace flame;
namespace fs = std::filesystem;

static constexpr llvm::StringLiteral kMagic = "flame-cache-1\n";
static constexpr size_t kHeaderBytes = kMagic.size() + 32;
static constexpr uint64_t kMaxEntryBytes = uint64_t(1) << 30;
static constexpr time_t kTemporarySeconds = 3600;

std::string FileCache::defaultFolder() {
  if (const char *given = std::getenv("FLAME_CACHE_DIR"); given && *given)
    return given;
  if (const char *cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::string(cache) + "/flame";
  if (const char *home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + "/.cache/flame";
  return {};
}

FileCache::FileCache(std::string folder, uint64_t limit) : folder(std::move(folder)), limit(limit) {}

std::string FileCache::key(llvm::ArrayRef<llvm::StringRef> parts) {
  llvm::SHA256 hash;
  for (llvm::StringRef part : parts) {
    uint8_t length[8];
    llvm::support::endian::write64le(length, part.size());
    hash.update(llvm::ArrayRef(length));
    hash.update(part);
  }
  return llvm::toHex(hash.final(), /*LowerCase=*/true);
}

static std::array<uint8_t, 32> checksum(llvm::StringRef key, llvm::ArrayRef<char> data) {
  llvm::SHA256 hash;
  hash.update(key);
  hash.update(llvm::StringRef(data.data(), data.size()));
  return hash.final();
}

static bool readAll(int file, char *out, size_t bytes) {
  while (bytes > 0) {
    ssize_t got = read(file, out, bytes);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    out += got;
    bytes -= got;
  }
  return true;
}

static bool writeAll(int file, const char *data, size_t bytes) {
  while (bytes > 0) {
    ssize_t put = write(file, data, bytes);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    data += put;
    bytes -= put;
  }
  return true;
}

std::optional<std::vector<char>> FileCache::load(llvm::StringRef key) {
  if (folder.empty())
    return std::nullopt;
  // A FIFO or a device of this name must neither block nor be read.
  int file = open((folder + "/" + key.str()).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return std::nullopt;
  llvm::scope_exit closing([&] { close(file); });
  struct stat status;
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || uint64_t(status.st_size) < kHeaderBytes ||
      uint64_t(status.st_size) > kMaxEntryBytes)
    return std::nullopt;
  char header[kHeaderBytes];
  std::vector<char> data(status.st_size - kHeaderBytes);
  if (!readAll(file, header, kHeaderBytes) || !readAll(file, data.data(), data.size()))
    return std::nullopt;
  std::array<uint8_t, 32> sum = checksum(key, data);
  if (llvm::StringRef(header, kMagic.size()) != kMagic ||
      std::memcmp(header + kMagic.size(), sum.data(), sum.size()) != 0)
    return std::nullopt;
  futimens(file, nullptr);
  return data;
}

bool FileCache::store(llvm::StringRef key, llvm::ArrayRef<char> data) {
  if (folder.empty() || data.size() > limit || data.size() > kMaxEntryBytes - kHeaderBytes)
    return false;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return false;
  makeRoom(data.size() + kHeaderBytes);
  static std::atomic<unsigned> counter{0};
  std::string temporary = folder + "/tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
  int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0)
    return false;
  std::array<uint8_t, 32> sum = checksum(key, data);
  bool ok = writeAll(file, kMagic.data(), kMagic.size()) &&
            writeAll(file, reinterpret_cast<const char *>(sum.data()), sum.size()) &&
            writeAll(file, data.data(), data.size()) && fsync(file) == 0;
  ok &= close(file) == 0;
  ok = ok && std::rename(temporary.c_str(), (folder + "/" + key.str()).c_str()) == 0;
  if (!ok)
    unlink(temporary.c_str());
  return ok;
}

/// Counts what is there once, and again where it has become too much; other processes' entries are seen then.
void FileCache::makeRoom(uint64_t added) {
  std::lock_guard lock(mutex);
  if (size) {
    *size += added;
    if (*size <= limit)
      return;
  }
  struct Entry {
    std::string path;
    uint64_t bytes;
    timespec used;
  };
  std::vector<Entry> entries;
  uint64_t total = added;
  DIR *list = opendir(folder.c_str());
  if (!list)
    return;
  time_t now = time(nullptr);
  while (dirent *item = readdir(list)) {
    llvm::StringRef name = item->d_name;
    bool isTemporary = name.starts_with("tmp-");
    // Other files in the folder are none of ours.
    if (!isTemporary && (name.size() != 64 || !llvm::all_of(name, llvm::isHexDigit)))
      continue;
    std::string path = folder + "/" + item->d_name;
    struct stat status;
    if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
      continue;
    if (isTemporary) {
      if (status.st_mtim.tv_sec + kTemporarySeconds < now)
        unlink(path.c_str());
      continue;
    }
    entries.push_back({path, uint64_t(status.st_size), status.st_mtim});
    total += status.st_size;
  }
  closedir(list);
  if (total > limit) {
    // A quarter more than needed, so that not every entry has to look for room.
    llvm::sort(entries, [](const Entry &a, const Entry &b) {
      return std::tie(a.used.tv_sec, a.used.tv_nsec, a.path) < std::tie(b.used.tv_sec, b.used.tv_nsec, b.path);
    });
    for (const Entry &entry : entries) {
      if (total <= limit - limit / 4)
        break;
      if (unlink(entry.path.c_str()) == 0)
        total -= entry.bytes;
    }
  }
  size = total;
}
