//===- PipelineArtifacts.cpp - see PipelineArtifacts.h
//------------------------------------------------------------------===//
#include "PipelineArtifacts.h"
#include "Machine.h"
#include "Run.h"
#include "flame/Support/FileCache.h"
#include "flame/Target/Cuda/Device.h"
#include "flame_diffusion.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/TargetParser/Host.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/file.h>
#include <unistd.h>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;

namespace {

/// What a safetensors file says of its tensors; of a damaged one, something that no good one says.
std::string safetensorsHeader(const fs::path &path) {
  constexpr uint64_t kLargest = 100'000'000; // as the reader's
  std::ifstream file(path, std::ios::binary);
  uint64_t length = 0;
  char bytes[8];
  if (!file.read(bytes, sizeof bytes))
    return "short";
  std::memcpy(&length, bytes, sizeof length);
  if (length > kLargest)
    return "damaged";
  std::string header(length, '\0');
  return file.read(header.data(), std::streamsize(length)) ? header : "short";
}

/// The part of the key that says for which machine code is made.
std::vector<std::string> machineOf(const CompileOptions &options) {
  if (options.target == "cuda")
    return options.gpus.empty() ? cuda::defaultArchitectures() : options.gpus;
  std::vector<std::string> names = {options.cpu};
  if (options.cpu.empty() || options.cpu == "native") {
    names.push_back(llvm::sys::getHostCPUName().str());
    for (const auto &feature : llvm::sys::getHostCPUFeatures())
      if (feature.second)
        names.push_back(feature.first().str());
    std::sort(names.begin() + 1, names.end());
  }
  return names;
}

/// Exclusive for as long as it lives, among all processes; where there is no folder, writing to it will say so.
class FolderLock {
public:
  FolderLock(const std::string &folder, Console &console)
      : file(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file < 0 || flock(file, LOCK_EX | LOCK_NB) == 0)
      return;
    console.line("waiting for another process that compiles the same models");
    while (flock(file, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~FolderLock() {
    if (file >= 0)
      close(file);
  }
  FolderLock(const FolderLock &) = delete;

private:
  int file;
};

} // namespace

std::string flame::tool::cachedArtifacts(const std::string &folder, const CompileOptions &options) {
  std::string cache = FileCache::defaultFolder();
  if (cache.empty())
    throw io::InputError(
        "there is no cache folder for compiled models; set FLAME_CACHE_DIR or HOME, or use --artifacts");
  std::error_code code;
  const fs::path self = fs::read_symlink("/proc/self/exe", code);
  std::vector<std::string> key = {"pipeline",
                                  flame_version(),
                                  std::to_string(fs::file_size(self, code)),
                                  std::to_string(fs::last_write_time(self, code).time_since_epoch().count()),
                                  options.target,
                                  options.dtype,
                                  options.tf32 ? "tf32" : ""};
  std::vector<std::string> machine = machineOf(options);
  key.push_back(llvm::join(machine, ","));
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    key.push_back(name);
    key.push_back(flame_pipeline_part_kind(i));
    std::vector<fs::path> files;
    for (const auto &entry : fs::directory_iterator(fs::path(folder) / name, code))
      if (entry.is_regular_file(code))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path &file : files) {
      const bool isJson = file.extension() == ".json", isWeights = file.extension() == ".safetensors";
      if (!isJson && !isWeights)
        continue;
      key.push_back(file.filename().string());
      key.push_back(isJson ? fileText(file.string()) : safetensorsHeader(file));
      if (isWeights)
        key.push_back(std::to_string(fs::file_size(file, code)));
    }
  }
  std::vector<llvm::StringRef> refs(key.begin(), key.end());
  return cache + "/pipelines/" + FileCache::key(refs);
}

void flame::tool::compilePipeline(const std::string &folder, const CompileOptions &options,
                                  const std::string &artifacts, Console &console) {
  using Clock = std::chrono::steady_clock;
  std::error_code code;
  auto pathOf = [&](const char *name) { return artifacts + "/" + name + ".flame"; };
  auto isThere = [&](const char *name) { return fs::is_regular_file(pathOf(name), code); };
  bool all = true;
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i)
    all &= isThere(name);
  if (all)
    return;
  fs::create_directories(artifacts, code);
  FolderLock lock(artifacts, console);
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    const fs::path model = fs::path(folder) / name;
    if (isThere(name)) // of a former call, or of the process that had the lock before
      continue;
    if (!fs::is_directory(model, code))
      throw io::InputError(model.string() + " is missing: " + folder +
                           " is no folder of a FLUX pipeline as diffusers saves it");
    Clock::time_point begin = Clock::now();
    CompileOptions own = options;
    own.part = flame_pipeline_part_kind(i);
    own.weights = CompileOptions::Weights::External;
    CompileResult result;
    if (int status = compileWithProgress(model.string(), own, console, result, true))
      throw Exit{status};
    std::string error;
    if (!writeArtifact(pathOf(name), result.artifact, error))
      throw io::InputError(pathOf(name) + ": can't be written: " + error +
                           "; say with --artifacts where compiled models may be kept");
    std::chrono::duration<double> seconds = Clock::now() - begin;
    console.phase("compiled", std::string(name) + ", " + std::to_string(result.kernels) + " kernels", seconds.count());
  }
}
