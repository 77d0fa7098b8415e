//===- FakeNvrtc.cpp - NVRTC that compiles kernels for the host ----------------------------------------------------===//
//
// In place of libnvrtc (environment variable FLAME_NVRTC): hands the source to emulate_kernels.py, which makes of it an
// object that libflame_fake_cuda.so runs, the device templates on the emulation. So whole models of products,
// convolutions and attention run numerically without a GPU, for sm_90a by wgmma and the copy engine:
//
//   FLAME_NVRTC=lib/libflame_fake_nvrtc.so make_contract_cases.py --gpu sm_90a … cases.tar.gz
//   FLAME_CUDA_DRIVER=lib/libflame_fake_cuda.so run_suite.py …
//
// test/e2e/test_emulated.py does so with a few. Sizes are to be small: a product of 256 × 256 × 192 takes a second.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

namespace fs = std::filesystem;

namespace {
struct Program {
  std::string source, code, log;
};

std::string read(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
} // namespace

#define API extern "C" __attribute__((visibility("default"))) int

API nvrtcCreateProgram(Program **program, const char *source, const char *, int, const char *const *,
                       const char *const *) {
  *program = new Program{source, {}, {}};
  return 0;
}
API nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  std::string folder = (fs::temp_directory_path() / "flame-emulate-XXXXXX").string();
  if (!mkdtemp(folder.data()))
    return 6;
  std::ofstream(folder + "/kernels.cu") << program->source;
  std::string gpu = "sm_80";
  for (const std::string_view option : std::span(options, count))
    if (option.starts_with("-arch=") || option.starts_with("--gpu-architecture="))
      gpu = option.substr(option.find('=') + 1);
  const std::string command = std::string(FLAME_PYTHON) +
                              " " FLAME_EMULATE " --cxx " FLAME_CXX " --root " FLAME_ROOT " --emulator " FLAME_EMULATOR " --gpu " + gpu + " " +
                              folder + " > " + folder + "/log 2>&1";
  const int status = std::system(command.c_str());
  program->log = read(folder + "/log");
  program->code = read(folder + "/kernels.so");
  fs::remove_all(folder);
  return status ? 6 : 0;
}
API nvrtcDestroyProgram(Program **program) {
  delete *program;
  return 0;
}
API nvrtcGetProgramLogSize(Program *program, size_t *size) {
  *size = program->log.size() + 1;
  return 0;
}
API nvrtcGetProgramLog(Program *program, char *log) {
  std::strcpy(log, program->log.c_str());
  return 0;
}
API nvrtcGetCUBINSize(Program *program, size_t *size) {
  *size = program->code.size();
  return 0;
}
API nvrtcGetCUBIN(Program *program, char *code) {
  std::memcpy(code, program->code.data(), program->code.size());
  return 0;
}
API nvrtcGetPTXSize(Program *program, size_t *size) { return nvrtcGetCUBINSize(program, size); }
API nvrtcGetPTX(Program *program, char *code) { return nvrtcGetCUBIN(program, code); }
API nvrtcVersion(int *major, int *minor) {
  *major = 13, *minor = 0;
  return 0;
}
extern "C" __attribute__((visibility("default"))) const char *nvrtcGetErrorString(int) {
  return "the emulation failed";
}
