//===- FileCacheTest.cpp - the folder of compiled kernels: damage, crowds, lack of room ---------------------------===//
#include "flame/Support/FileCache.h"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using flame::FileCache;
namespace fs = std::filesystem;

namespace {

class Cache : public testing::Test {
protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "flame-cache-test-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  /// Data that differ by key and version.
  static std::vector<char> data(const std::string &seed, size_t bytes = 1000) {
    std::vector<char> out(bytes);
    for (size_t i = 0; i < bytes; ++i)
      out[i] = char(seed[i % seed.size()] + i / 7);
    return out;
  }
  static std::string key(const std::string &text) { return FileCache::key({text}); }
  size_t files() const { return std::distance(fs::directory_iterator(folder), fs::directory_iterator()); }
  static void setAge(const std::string &path, int seconds) {
    timespec times[2] = {{time(nullptr) - seconds, 0}, {time(nullptr) - seconds, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  std::string folder;
};

TEST_F(Cache, KeepsWhatItIsGiven) {
  FileCache cache(folder + "/made/on/demand");
  EXPECT_FALSE(cache.load(key("a")));
  EXPECT_TRUE(cache.store(key("a"), data("a")));
  EXPECT_TRUE(cache.store(key("b"), {}));
  EXPECT_EQ(cache.load(key("a")), data("a"));
  EXPECT_EQ(FileCache(cache.path()).load(key("b")), std::vector<char>());
  EXPECT_TRUE(cache.store(key("a"), data("other")));
  EXPECT_EQ(cache.load(key("a")), data("other"));
}

TEST_F(Cache, KeysTellPartsApart) {
  EXPECT_NE(FileCache::key({"ab", "c"}), FileCache::key({"a", "bc"}));
  EXPECT_NE(FileCache::key({"a"}), FileCache::key({"a", ""}));
  EXPECT_EQ(FileCache::key({"a"}).size(), 64u);
}

TEST_F(Cache, DamagedEntriesAreMisses) {
  FileCache cache(folder);
  const std::string path = folder + "/" + key("a");
  ASSERT_TRUE(cache.store(key("a"), data("a", 100)));
  std::ifstream in(path, std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(in), {}};
  auto write = [&](const std::string &bytes) { std::ofstream(path, std::ios::binary) << bytes; };
  for (size_t length = 0; length < good.size(); ++length) {
    write(good.substr(0, length));
    EXPECT_FALSE(cache.load(key("a"))) << "of length " << length;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 4;
    write(bad);
    EXPECT_FALSE(cache.load(key("a"))) << "flipped at " << i;
  }
  write(good + "x");
  EXPECT_FALSE(cache.load(key("a")));
  // The entry of another key, under this name.
  ASSERT_TRUE(cache.store(key("b"), data("b")));
  fs::copy_file(folder + "/" + key("b"), path, fs::copy_options::overwrite_existing);
  EXPECT_FALSE(cache.load(key("a")));
  EXPECT_TRUE(cache.store(key("a"), data("a")));
  EXPECT_EQ(cache.load(key("a")), data("a"));
}

TEST_F(Cache, OddThingsInItsPlaceAreMisses) {
  FileCache cache(folder);
  ASSERT_EQ(mkfifo((folder + "/" + key("fifo")).c_str(), 0600), 0);
  fs::create_directory(folder + "/" + key("folder"));
  fs::create_symlink("/nowhere", folder + "/" + key("link"));
  for (const char *name : {"fifo", "folder", "link"})
    EXPECT_FALSE(cache.load(key(name))) << name;
  EXPECT_FALSE(cache.store(key("folder"), data("x")));
}

TEST_F(Cache, FoldersThatCannotBeWrittenAreNoError) {
  std::ofstream(folder + "/file") << "x";
  FileCache none(""), file(folder + "/file"), below(folder + "/file/below"), kernel("/proc/self/flame");
  for (FileCache *cache : {&none, &file, &below, &kernel}) {
    EXPECT_FALSE(cache->store(key("a"), data("a"))) << cache->path();
    EXPECT_FALSE(cache->load(key("a"))) << cache->path();
  }
}

TEST_F(Cache, NoRoomOnTheDiskIsNoError) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{512, 512};
    setrlimit(RLIMIT_FSIZE, &limit);
    FileCache cache(folder);
    bool right =
        !cache.store(key("a"), data("a", 5000)) && !cache.load(key("a")) && cache.store(key("b"), data("b", 50));
    _exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(files(), 1u) << "the file that was not finished is still there";
}

TEST_F(Cache, WhatWasNotUsedGoesFirst) {
  std::ofstream(folder + "/notes.txt") << "not an entry";
  {
    FileCache cache(folder, 10500);
    for (int i = 0; i < 8; ++i) {
      ASSERT_TRUE(cache.store(key("old" + std::to_string(i)), data("x")));
      setAge(folder + "/" + key("old" + std::to_string(i)), 1000 - i);
    }
    EXPECT_TRUE(cache.load(key("old0"))); // which makes it young again
  }
  FileCache cache(folder, 10500);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(cache.store(key("new" + std::to_string(i)), data("y")));
  EXPECT_TRUE(cache.load(key("old0")));
  EXPECT_FALSE(cache.load(key("old1")));
  EXPECT_TRUE(cache.load(key("old7")));
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(cache.load(key("new" + std::to_string(i))));
  EXPECT_TRUE(fs::exists(folder + "/notes.txt"));
  EXPECT_FALSE(cache.store(key("huge"), data("z", 20000)));
}

TEST_F(Cache, LeftoversOfKilledProcessesGo) {
  std::ofstream(folder + "/tmp-1-0") << "half";
  std::ofstream(folder + "/tmp-2-0") << "in the making";
  setAge(folder + "/tmp-1-0", 7200);
  FileCache cache(folder);
  cache.store(key("a"), data("a"));
  EXPECT_FALSE(fs::exists(folder + "/tmp-1-0"));
  EXPECT_TRUE(fs::exists(folder + "/tmp-2-0"));
}

/// Eight processes write, read and evict the same 20 entries, and one of them is killed while it writes.
TEST_F(Cache, ManyProcessesAtOnce) {
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p) {
    pid_t child = fork();
    if (child == 0) {
      FileCache cache(folder, 60000);
      for (int round = 0; round < 50 || p == 7; ++round) {
        std::string name = std::to_string((round * 7 + p) % 20);
        if (auto found = cache.load(key(name)); found && *found != data(name, 5000))
          _exit(1);
        if (!cache.store(key(name), data(name, 5000)))
          _exit(2);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  usleep(50'000);
  kill(children[7], SIGKILL);
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(child == children[7] ? WIFSIGNALED(status) : status == 0) << status;
  }
  FileCache cache(folder);
  for (int i = 0; i < 20; ++i)
    if (auto found = cache.load(key(std::to_string(i)))) {
      EXPECT_EQ(*found, data(std::to_string(i), 5000));
    }
}

TEST(CacheFolder, FollowsTheEnvironment) {
  setenv("HOME", "/home/someone", 1);
  unsetenv("FLAME_CACHE_DIR");
  unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(FileCache::defaultFolder(), "/home/someone/.cache/flame");
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(FileCache::defaultFolder(), "/home/someone/.cache/flame");
  setenv("XDG_CACHE_HOME", "/var/cache", 1);
  EXPECT_EQ(FileCache::defaultFolder(), "/var/cache/flame");
  setenv("FLAME_CACHE_DIR", "/elsewhere", 1);
  EXPECT_EQ(FileCache::defaultFolder(), "/elsewhere");
}

} // namespace
