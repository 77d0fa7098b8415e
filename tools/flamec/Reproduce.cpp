//===- Reproduce.cpp - flamec reproduce: what a crash leaves behind ---------------------------------------------------===//
//
// Hidden from --help; started by the crash handler with the arguments of the process that crashed. The folder has the model
// without its weights (a sparse file of zeros stands for them) and the command that fails.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "flame/Import/Onnx.h"
#include "flame/Support/Version.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <unistd.h>

using namespace flame;
using namespace flame::tool;

namespace {

std::string quoted(const std::string &word) {
  if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,+") ==
                           std::string::npos)
    return word;
  std::string out = "'";
  for (char c : word)
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// The folder, or "" with messages printed.
std::string reproduce(const std::vector<std::string> &arguments, Console &console) {
  llvm::SmallString<128> folder;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("flame-crash", folder)) {
    console.error("no folder for a reproducer can be made: " + error.message());
    return "";
  }
  std::string path = folder.str().str(), command = "flamec", model;
  for (const std::string &argument : arguments) {
    if (model.empty() && llvm::StringRef(argument).ends_with(".onnx") && llvm::sys::fs::exists(argument)) {
      model = argument;
      command += " model.onnx";
    } else {
      command += " " + quoted(argument);
    }
  }
  if (!model.empty()) {
    uint64_t weightBytes = 0;
    std::string error, stripped = stripOnnxWeights(model, weightBytes, error);
    if (!error.empty()) {
      console.warning(model + ": " + error + "; the reproducer has no model");
    } else {
      std::ofstream(path + "/model.onnx", std::ios::binary) << stripped;
      std::ofstream(path + "/weights.bin");
      if (truncate((path + "/weights.bin").c_str(), off_t(weightBytes)) != 0)
        console.warning(path + "/weights.bin: " + std::strerror(errno));
    }
  }
  std::ofstream(path + "/run.sh") << "#!/bin/sh\n# flamec " << version() << "\ncd \"$(dirname \"$0\")\" && " << command << "\n";
  return path;
}

} // namespace

Command flame::tool::addReproduce(CLI::App &app, Console &console) {
  auto arguments = std::make_shared<std::vector<std::string>>();
  CLI::App *sub = app.add_subcommand("reproduce", "describe a crash");
  sub->group("");
  sub->add_option("arguments", *arguments, "of the command that crashed");
  return [arguments, &console]() -> int {
    std::string folder = reproduce(*arguments, console);
    if (folder.empty())
      return int(Status::Internal);
    console.line("reproducer: " + folder + " (the model has lost its weights)");
    console.line("run again:  sh " + folder + "/run.sh");
    console.line("please send the folder to the developers of flame");
    return 0;
  };
}
