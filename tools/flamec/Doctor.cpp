//===- Doctor.cpp - flamec doctor: what this machine has, and what to do about what it lacks --------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Python.h"
#include "flame/Support/FileCache.h"
#include "flame/Support/Version.h"
#include "flame/Target/Cpu/Target.h"
#include "flame/Target/Cuda/Device.h"
#include "flame/Target/Cuda/Nvrtc.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
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

void gpus(std::vector<Finding> &out) {
  cuda::DriverInfo driver = cuda::queryDriver();
  std::string remedy = "only needed to run on NVIDIA GPUs: " + driver.remedy;
  if (driver.version.empty()) {
    out.push_back({"CUDA driver", driver.problem, Finding::Optional, remedy});
    return;
  }
  out.push_back({"CUDA driver", driver.version + " (" + driver.path + ")"});
  if (driver.gpus.empty())
    out.push_back({"GPU", driver.problem, Finding::Optional, remedy});
  for (const cuda::Gpu &gpu : driver.gpus) {
    std::string text =
        gpu.name + ", " + formatBytes(gpu.memory) + ", compiles for " + cuda::architectureOf(gpu.major, gpu.minor);
    if (gpu.major < 8)
      out.push_back({"GPU", text, Finding::Optional, "flame's kernels need compute capability 8.0 or newer"});
    else
      out.push_back({"GPU", text});
  }
}

void nvrtc(std::vector<Finding> &out) {
  const char *wheels =
      "python3 -m pip install nvidia-cuda-nvrtc nvidia-cuda-runtime (in a virtual environment that is active), "
      "or a CUDA toolkit, or set FLAME_NVRTC to the path of libnvrtc.so";
  auto loaded = cuda::Nvrtc::load();
  if (!loaded) {
    out.push_back({"NVRTC", llvm::toString(loaded.takeError()), Finding::Optional,
                   std::string("only needed to compile for NVIDIA GPUs: ") + wheels});
    return;
  }
  std::string text = (*loaded)->version() + " (" + (*loaded)->path() + ")";
  std::vector<int> known = (*loaded)->architectures();
  if (!known.empty())
    text += ", architectures " + std::to_string(known.front()) + " to " + std::to_string(known.back());
  for (const cuda::Gpu &gpu : cuda::queryDriver().gpus)
    if (int number = gpu.major * 10 + gpu.minor; !known.empty() && !llvm::is_contained(known, number)) {
      out.push_back({"NVRTC", text, Finding::Optional,
                     "it does not know this machine's GPU (" + cuda::architectureOf(gpu.major, gpu.minor) +
                         "); update it: " + wheels});
      return;
    }
  out.push_back({"NVRTC", text});
}

Finding cache() {
  std::string folder = FileCache::defaultFolder();
  const char *remedy = "CUDA kernels are compiled anew every time; set FLAME_CACHE_DIR to a folder that can be written";
  if (folder.empty())
    return {"kernel cache", "none: HOME is not set", Finding::Optional, remedy};
  // The first part of the path that exists decides.
  std::string parent = folder;
  while (!llvm::sys::fs::exists(parent) && !llvm::sys::path::parent_path(parent).empty())
    parent = llvm::sys::path::parent_path(parent).str();
  if (!llvm::sys::fs::is_directory(parent) || !llvm::sys::fs::can_write(parent))
    return {"kernel cache", folder + " can't be written", Finding::Optional, remedy};
  return {"kernel cache", folder};
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
  document(sub,
           {"flamec doctor [--format FORMAT]",
            "Looks at the processor, cores, memory, the folder for temporary files, the linker, the cache of "
            "kernels, the CUDA driver, GPUs and compiler, and the Python packages that flamec can use. A remedy stands "
            "with everything that is missing. "
            "The exit code is 7 only if flamec cannot work here.",
            {{"Before a bug report:", "flamec doctor"}}});
  sub->add_option("--format", *format, "table (default) or json")->check(oneOf({"table", "json"}))->type_name("FORMAT");
  return [format]() -> int {
    Machine machine = thisMachine();
    std::vector<Finding> findings = {{"flamec", version()},
                                     {"system", machine.system},
                                     processor(),
                                     {"cores", std::to_string(machine.cores)},
                                     memory(),
                                     temporary(),
                                     {"linker", "lld " LLVM_VERSION_STRING ", part of flamec"},
                                     cache()};
    gpus(findings);
    nvrtc(findings);
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
