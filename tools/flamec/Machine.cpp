//===- Machine.cpp - what this machine has ----------------------------------------------------------------------------===//
#include "Machine.h"
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gnu/libc-version.h>
#include <iterator>
#include <sched.h>
#include <sstream>
#include <sys/utsname.h>
#include <thread>

using namespace flame::tool;

std::string flame::tool::fileText(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The value of the line "key : value".
static std::string field(const std::string &text, const std::string &key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key))
      continue;
    size_t start = line.find(':');
    start = start == std::string::npos ? start : line.find_first_not_of(" \t", start + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

Machine flame::tool::thisMachine() {
  Machine out;
  out.processor = field(fileText("/proc/cpuinfo"), "model name");
  cpu_set_t allowed;
  out.cores = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? unsigned(CPU_COUNT(&allowed))
                                                                   : std::thread::hardware_concurrency();
  std::string memory = fileText("/proc/meminfo");
  out.memory = std::strtoull(field(memory, "MemTotal").c_str(), nullptr, 10) * 1024;
  out.available = std::strtoull(field(memory, "MemAvailable").c_str(), nullptr, 10) * 1024;
  for (const char *file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (uint64_t limit = std::strtoull(fileText(file).c_str(), nullptr, 10)) {
      out.memory = std::min(out.memory, limit);
      out.available = std::min(out.available, limit);
    }
  utsname name{};
  if (uname(&name) == 0)
    out.system = std::string(name.sysname) + " " + name.release + " " + name.machine + ", glibc " + gnu_get_libc_version();
  return out;
}
