//===- Reference.cpp - where flamec check takes expected values from --------------------------------------------------===//
#include "Reference.h"
#include "Commands.h"
#include "InputSpec.h"
#include "Machine.h"
#include "Npy.h"
#include "Python.h"
#include "Run.h"
#include <filesystem>
#include <fstream>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;

static const char onnxRuntimeScript[] =
#include "OnnxRuntimeReference.inc"
    ;

Reference flame::tool::runOnnxRuntime(const std::string &model, const std::vector<flame_port> &inputs,
                                      const std::vector<Value> &feeds, const std::vector<flame_port> &wanted,
                                      const std::string &scratch, Console &console) {
  fs::create_directories(scratch + "/in");
  fs::create_directories(scratch + "/out");
  {
    std::ofstream names(scratch + "/in/names.txt", std::ios::binary);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!feeds[i].isTensor()) {
        console.error("input '" + std::string(inputs[i].name) + "' is no tensor: ONNX Runtime can't be given it by flamec; " +
                      "use --against FOLDER with expected outputs");
        throw Exit{int(Status::Unsupported)};
      }
      names << inputs[i].name << "\n";
      io::writeNpy(scratch + "/in/" + std::to_string(i) + ".npy", feeds[i]);
    }
    std::ofstream outputs(scratch + "/names.txt", std::ios::binary);
    for (const flame_port &port : wanted)
      outputs << port.name << "\n";
  }
  std::string program = pythonProgram();
  PythonResult result = runPython({"-c", onnxRuntimeScript, model, scratch + "/names.txt", scratch + "/in", scratch + "/out"});
  if (result.status == 127) {
    console.error(program + " can't be started (" + result.problem() +
                  "); install python3 with onnxruntime, or set FLAME_PYTHON to an interpreter that has it");
    throw Exit{int(Status::BadInput)};
  }
  if (result.status == 3) {
    console.error("--against onnxruntime needs Python packages that " + program + " does not have (" + result.problem() +
                  "); run: " + program + " -m pip install onnxruntime, or set FLAME_PYTHON to an interpreter that has it");
    throw Exit{int(Status::BadInput)};
  }
  if (result.status != 0) {
    console.error("ONNX Runtime can't run " + model + ": " + result.problem());
    throw Exit{int(Status::Unsupported)};
  }
  Reference reference{"ONNX Runtime " + fileText(scratch + "/out/done.txt"), {}};
  for (size_t i = 0; i < wanted.size(); ++i)
    if (std::string file = scratch + "/out/" + std::to_string(i) + ".npy"; fs::exists(file))
      reference.values[wanted[i].name] = io::readNpy(file, wanted[i].dtype);
  return reference;
}

Reference flame::tool::readReference(const std::string &path, const std::vector<flame_port> &wanted, size_t outputs) {
  Reference reference{path, {}};
  if (!fs::exists(path))
    throw io::InputError(path + ": no such file or folder; --against takes onnxruntime, or expected outputs: an .npz, or "
                                "a folder of NAME.npy or output_N.pb");
  if (!fs::is_directory(path)) {
    if (path.ends_with(".npz")) {
      for (auto &[name, bytes] : io::parseNpz(io::readFile(path), path))
        for (const flame_port &port : wanted)
          if (name == port.name)
            reference.values[name] = io::parseNpy(bytes, path + ": " + name, port.dtype);
    } else if (outputs == 1) {
      reference.values[wanted[0].name] = io::readValue(path, wanted[0].kind, wanted[0].dtype);
    } else {
      throw io::InputError(path + ": the model has " + std::to_string(outputs) +
                           " outputs; give an .npz or a folder with a file for each");
    }
  }
  for (size_t i = 0; i < wanted.size() && fs::is_directory(path); ++i) {
    std::string name = run::fileName(wanted[i].name);
    for (const std::string &file : {name + ".npy", std::to_string(i) + "-" + name + ".npy",
                                    "output_" + std::to_string(i) + ".pb"})
      if (fs::exists(path + "/" + file) && (i < outputs || !file.starts_with("output_"))) {
        reference.values[wanted[i].name] = io::readValue(path + "/" + file, wanted[i].kind, wanted[i].dtype);
        break;
      }
  }
  if (reference.values.empty())
    throw io::InputError(path + ": has no expected value for any tensor of the model; its first output is '" +
                         std::string(wanted[0].name) + "', so a file could be " + run::fileName(wanted[0].name) + ".npy");
  return reference;
}
