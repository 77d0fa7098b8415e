//===- Doctor.cpp - flamec doctor: what this machine has, and what to do about what it lacks --------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Python.h"
#include "flame/Support/Version.h"
#include "flame/Target/Cpu/Target.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <dlfcn.h>
#include <memory>
#include <nlohmann/json.hpp>

using namespace flame;
using namespace flame::tool;

namespace {

struct Finding {
  std::string what, found; // "memory", "16.0 GB"
  enum Verdict { Good, Optional, Bad } verdict = Good;
  std::string remedy; // unless good
};

Finding processor() {
  cpu::Target target = cpu::Target::host();
  Machine machine = thisMachine();
  std::string features;
  for (const std::string &feature : target.requiredFeatures())
    features += " " + feature;
  std::string text = machine.processor + " (" + target.cpu + "), vectors of " + std::to_string(target.vectorBytes * 8) +
                     " bits" + (target.fma ? ", fused multiply-add" : "") + (target.f16c ? ", f16 conversion" : "");
  if (target.vectorBytes < 32 || !target.fma)
    return {"processor", text, Finding::Optional, "kernels run, but slowly: AVX2 and FMA are missing; another machine helps"};
  return {"processor", text};
}

Finding memory() {
  Machine machine = thisMachine();
  std::string text = formatBytes(machine.memory) + ", " + formatBytes(machine.available) + " free";
  if (machine.available < 1'000'000'000)
    return {"memory", text, Finding::Optional, "compiling large models may fail; end other programs or add swap"};
  return {"memory", text};
}

Finding temporary() {
  llvm::SmallString<128> folder, file;
  llvm::sys::path::system_temp_directory(true, folder);
  int descriptor;
  std::error_code error = llvm::sys::fs::createUniqueFile(folder + "/flame-%%%%%%", descriptor, file);
  if (error)
    return {"temporary", folder.str().str() + ": " + error.message(), Finding::Bad,
            "linking kernels needs a folder that can be written; set TMPDIR"};
  llvm::sys::fs::closeFile(descriptor);
  llvm::sys::fs::remove(file);
  return {"temporary", folder.str().str()};
}

/// Version of the CUDA driver by its own interface; nothing of CUDA is linked.
Finding cudaDriver() {
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return {"CUDA driver", "none", Finding::Optional,
            "only needed for NVIDIA GPUs: install the distribution's NVIDIA driver (libcuda.so.1)"};
  auto initialise = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
  auto driverVersion = reinterpret_cast<int (*)(int *)>(dlsym(library, "cuDriverGetVersion"));
  auto deviceCount = reinterpret_cast<int (*)(int *)>(dlsym(library, "cuDeviceGetCount"));
  auto deviceName = reinterpret_cast<int (*)(char *, int, int)>(dlsym(library, "cuDeviceGetName"));
  int version = 0, count = 0;
  if (!initialise || !driverVersion || driverVersion(&version) != 0)
    return {"CUDA driver", "libcuda.so.1 does not answer", Finding::Optional, "install the NVIDIA driver again"};
  std::string text = std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  if (int code = initialise(0); code != 0 || !deviceCount || deviceCount(&count) != 0 || count == 0)
    return {"CUDA driver", text + ", no device (error " + std::to_string(code) + ")", Finding::Optional,
            "check nvidia-smi; in a container, start it with access to the GPU"};
  for (int device = 0; device < count; ++device) {
    char name[256] = {};
    if (deviceName && deviceName(name, sizeof name, device) == 0)
      text += ", " + std::string(name);
  }
  return {"CUDA driver", text};
}

Finding nvrtc() {
  for (const char *name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
    if (void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
      int major = 0, minor = 0;
      if (auto version = reinterpret_cast<int (*)(int *, int *)>(dlsym(library, "nvrtcVersion")))
        version(&major, &minor);
      return {"NVRTC", std::to_string(major) + "." + std::to_string(minor)};
    }
  return {"NVRTC", "none", Finding::Optional,
          "only needed for NVIDIA GPUs: install the CUDA toolkit's libnvrtc, or set LD_LIBRARY_PATH to it"};
}

void python(std::vector<Finding> &out) {
  std::string interpreter = pythonProgram();
  PythonResult started = runPython({"-c", "import platform; print(platform.python_version())"});
  if (started.status != 0) {
    out.push_back({"Python", interpreter + ": " + started.problem(), Finding::Optional,
                   "`flamec check --against onnxruntime` needs it: install python3, or set FLAME_PYTHON"});
    return;
  }
  out.push_back({"Python", started.firstLine() + " (" + interpreter + ")"});
  for (const char *package : {"numpy", "onnxruntime", "onnx"}) {
    PythonResult result = runPython({"-c", std::string("import ") + package + "; print(" + package + ".__version__)"});
    if (result.status == 0)
      out.push_back({package, result.firstLine()});
    else
      out.push_back({package, "none", Finding::Optional,
                     std::string(package == std::string("onnx") ? "for looking into models"
                                                                : "`flamec check --against onnxruntime` needs it") +
                         ": " + interpreter + " -m pip install " + package + ", or set FLAME_PYTHON to an interpreter that has it"});
  }
}

} // namespace

Command flame::tool::addDoctor(CLI::App &app, Console &console) {
  auto format = std::make_shared<std::string>("table");
  CLI::App *sub = app.add_subcommand("doctor", "tell what this machine has, and what to do about what is missing");
  document(sub, {"flamec doctor [--format FORMAT]",
                 "Looks at the processor, cores, memory, the folder for temporary files, the linker, the CUDA driver and "
                 "compiler, and the Python packages that flamec can use. A remedy stands with everything that is missing. "
                 "The exit code is 7 only if flamec cannot work here.",
                 {{"Before a bug report:", "flamec doctor"}}});
  sub->add_option("--format", *format, "table (default) or json")->check(oneOf({"table", "json"}))->type_name("FORMAT");
  return [format]() -> int {
    Machine machine = thisMachine();
    std::vector<Finding> findings = {
        {"flamec", version()}, {"system", machine.system}, processor(), {"cores", std::to_string(machine.cores)},
        memory(), temporary(), {"linker", "lld " LLVM_VERSION_STRING ", part of flamec"}, cudaDriver(), nvrtc()};
    python(findings);
    bool works = true;
    auto list = nlohmann::ordered_json::array();
    for (const Finding &finding : findings) {
      works &= finding.verdict != Finding::Bad;
      static const char *const verdicts[] = {"ok", "optional", "bad"}, *const marks[] = {"ok", "--", "BAD"};
      if (*format == "json") {
        list.push_back({{"what", finding.what}, {"found", finding.found}, {"verdict", verdicts[finding.verdict]},
                        {"remedy", finding.remedy}});
        continue;
      }
      std::printf("%-4s %-12s %s\n", marks[finding.verdict], finding.what.c_str(), finding.found.c_str());
      if (!finding.remedy.empty())
        std::printf("                  → %s\n", finding.remedy.c_str());
    }
    if (*format == "json")
      std::puts(list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return works ? 0 : int(Status::Device);
  };
}
