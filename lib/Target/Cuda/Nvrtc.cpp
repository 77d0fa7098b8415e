//===- Nvrtc.cpp - see Nvrtc.h ------------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/Nvrtc.h"
#include "llvm/ADT/StringExtras.h"
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>

using namespace flame::cuda;
namespace fs = std::filesystem;

// The part of NVRTC's interface that is used; its functions have C linkage and have kept these types since CUDA 11.1.
struct Nvrtc::Functions {
  using Program = struct ProgramTag *;
  int (*createProgram)(Program *, const char *source, const char *name, int headers, const char *const *,
                       const char *const *);
  int (*compileProgram)(Program, int options, const char *const *);
  int (*destroyProgram)(Program *);
  int (*logSize)(Program, size_t *);
  int (*log)(Program, char *);
  int (*cubinSize)(Program, size_t *);
  int (*cubin)(Program, char *);
  int (*ptxSize)(Program, size_t *);
  int (*ptx)(Program, char *);
  int (*version)(int *major, int *minor);
  const char *(*errorString)(int);
  // CUDA 11.2; may be absent.
  int (*numArchitectures)(int *);
  int (*architectures)(int *);
};

bool flame::cuda::isArchitecture(llvm::StringRef name) {
  bool known = name.consume_front("sm_") || name.consume_front("compute_");
  llvm::StringRef digits = name.take_while([](char c) { return llvm::isDigit(c); });
  llvm::StringRef suffix = name.drop_front(digits.size());
  return known && (digits.size() == 2 || digits.size() == 3) && (suffix.empty() || suffix == "a" || suffix == "f");
}

bool flame::cuda::runsKernels(llvm::StringRef architecture) {
  (void)(architecture.consume_front("sm_") || architecture.consume_front("compute_"));
  unsigned number = 0;
  return !architecture.consumeInteger(10, number) && number >= 80;
}

/// Where the library may lie, most specific first.
static std::vector<std::string> candidates() {
  if (const char *given = std::getenv("FLAME_NVRTC"); given && *given)
    return {given};
  std::vector<std::string> found{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  auto add = [&](const fs::path &folder) {
    std::error_code code;
    for (const char *name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
      if (fs::exists(folder / name, code))
        found.push_back((folder / name).string());
  };
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable); home && *home)
      add(fs::path(home) / "lib64");
  add("/usr/local/cuda/lib64");
  add("/usr/local/cuda/lib");
  // NVIDIA's wheels: nvidia/cuda_nvrtc/lib, since CUDA 13 nvidia/cu13/lib, in the active environment or the system's.
  std::vector<fs::path> roots;
  if (const char *environment = std::getenv("VIRTUAL_ENV"); environment && *environment)
    roots.push_back(fs::path(environment) / "lib");
  roots.insert(roots.end(), {"/usr/local/lib", "/usr/lib"});
  for (const fs::path &root : roots) {
    std::error_code code;
    for (fs::directory_iterator it(root, code), end; !code && it != end; it.increment(code)) {
      if (!llvm::StringRef(it->path().filename().string()).starts_with("python3"))
        continue;
      for (const char *packages : {"site-packages", "dist-packages"})
        for (const char *wheel : {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"})
          add(it->path() / packages / wheel);
    }
  }
  return found;
}

llvm::Expected<std::unique_ptr<Nvrtc>> Nvrtc::load() {
  std::unique_ptr<Nvrtc> nvrtc(new Nvrtc);
  std::string reason;
  for (const std::string &candidate : candidates()) {
    nvrtc->library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (nvrtc->library) {
      nvrtc->file = candidate;
      break;
    }
    if (reason.empty())
      reason = dlerror();
  }
  if (!nvrtc->library)
    return llvm::createStringError(
        "NVRTC, which compiles CUDA kernels, was not found (" + reason +
        "); install NVIDIA's wheels (pip install nvidia-cuda-nvrtc "
        "nvidia-cuda-runtime) or a CUDA toolkit, or set FLAME_NVRTC to the path of libnvrtc.so");
  auto functions = std::make_unique<Functions>();
  std::string missing;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(nvrtc->library, name));
    if (!function)
      missing = name;
  };
  find(functions->createProgram, "nvrtcCreateProgram");
  find(functions->compileProgram, "nvrtcCompileProgram");
  find(functions->destroyProgram, "nvrtcDestroyProgram");
  find(functions->logSize, "nvrtcGetProgramLogSize");
  find(functions->log, "nvrtcGetProgramLog");
  find(functions->cubinSize, "nvrtcGetCUBINSize");
  find(functions->cubin, "nvrtcGetCUBIN");
  find(functions->ptxSize, "nvrtcGetPTXSize");
  find(functions->ptx, "nvrtcGetPTX");
  find(functions->version, "nvrtcVersion");
  find(functions->errorString, "nvrtcGetErrorString");
  auto findOptional = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(nvrtc->library, name));
  };
  findOptional(functions->numArchitectures, "nvrtcGetNumSupportedArchs");
  findOptional(functions->architectures, "nvrtcGetSupportedArchs");
  if (!missing.empty())
    return llvm::createStringError(nvrtc->file + " has no function " + missing + "; flame needs NVRTC 11.1 or newer");
  nvrtc->functions = std::move(functions);
  return nvrtc;
}

// The library stays loaded: it has threads and statics of its own.
Nvrtc::~Nvrtc() = default;

std::string Nvrtc::version() const {
  int major = 0, minor = 0;
  functions->version(&major, &minor);
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string Nvrtc::identity() const {
  // libnvrtc.so.13 is a link to libnvrtc.so.13.0.88.
  Dl_info info{};
  std::error_code code;
  if (!dladdr(reinterpret_cast<void *>(functions->version), &info) || !info.dli_fname)
    return version();
  fs::path real = fs::canonical(info.dli_fname, code);
  uintmax_t bytes = fs::file_size(real, code);
  return version() + " " + real.filename().string() + " " + std::to_string(code ? 0 : bytes);
}

std::vector<std::string> Nvrtc::options(llvm::StringRef architecture) {
  return {("--gpu-architecture=" + architecture).str(), "--std=c++20",
          "-default-device"}; // lambdas in kernels carry no execution space
}

std::vector<int> Nvrtc::architectures() const {
  int count = 0;
  if (!functions->numArchitectures || !functions->architectures || functions->numArchitectures(&count) != 0 ||
      count < 0)
    return {};
  std::vector<int> found(count);
  if (functions->architectures(found.data()) != 0)
    return {};
  return found;
}

llvm::Expected<std::vector<char>> Nvrtc::compile(llvm::StringRef source, llvm::StringRef architecture,
                                                 std::string *report) const {
  const Functions &f = *functions;
  Functions::Program program = nullptr;
  std::string text = source.str();
  auto readLog = [&] {
    std::string log;
    size_t size = 0;
    if (program && f.logSize(program, &size) == 0 && size > 1) {
      log.resize(size);
      f.log(program, log.data());
      log.resize(size - 1);
    }
    return log;
  };
  auto failure = [&](const char *what, int code) {
    std::string log = readLog();
    if (program)
      f.destroyProgram(&program);
    return llvm::createStringError(std::string("NVRTC ") + version() + " " + what + " for " + architecture.str() +
                                   ": " + f.errorString(code) + (log.empty() ? "" : "\n" + log));
  };
  if (int code = f.createProgram(&program, text.c_str(), "model.cu", 0, nullptr, nullptr))
    return failure("can't begin a program", code);
  std::vector<std::string> words = options(architecture);
  if (report)
    words.push_back("--ptxas-options=-v");
  std::vector<const char *> pointers;
  for (const std::string &word : words)
    pointers.push_back(word.c_str());
  if (int code = f.compileProgram(program, pointers.size(), pointers.data()))
    return failure("can't compile the kernels", code);
  bool isPtx = architecture.starts_with("compute_");
  size_t size = 0;
  if (int code = isPtx ? f.ptxSize(program, &size) : f.cubinSize(program, &size))
    return failure("has no code", code);
  std::vector<char> code(size);
  if (int status = isPtx ? f.ptx(program, code.data()) : f.cubin(program, code.data()))
    return failure("has no code", status);
  if (report)
    *report = readLog();
  f.destroyProgram(&program);
  return code;
}
