//===- Run.h - what flame-run does ----------------------------------------===//
//
// Data goes to stdout, everything else to stderr. Failures are exceptions: InputError, UsageError, RuntimeError.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMERUN_RUN_H
#define FLAME_TOOLS_FLAMERUN_RUN_H

#include "Compare.h"
#include "InputSpec.h"

#include <map>
#include <string>
#include <vector>

namespace flame::run {

enum ExitCode : int {
  Ok = 0,
  Internal = 1,
  Usage = 2,
  BadInput = 3,
  Unsupported = 4,
  Accuracy = 5,
  OutOfMemory = 6,
  Device = 7,
  Interrupted = 130
};

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Settings {
  std::string artifact, weightsDirectory, outputDirectory;
  io::InputOptions inputs;
  std::vector<std::string> dims;     // "batch=4"
  std::vector<std::string> expected; // "name=file"
  io::Tolerance tolerance;
  std::string memoryLimit; // "2G"
  int threads = 0;
  int bench = 0;
  bool dumpSignature = false, profile = false, quiet = false, poison = false, json = false;
  int device = 0;
  bool sync = false, redZones = false, noGraphs = false;
  std::string program = "flame-run"; // in messages
};

/// Loads `settings.artifact` and runs it.
int execute(Settings settings);
/// Runs a module that is loaded already; what concerns loading in `settings` is not looked at.
int execute(const Module &module, const Settings &settings);

/// The amount of memory in "512M", "2G", "64" or "100k" (units of 1024); throws UsageError.
uint64_t parseBytes(const std::string &text);
/// The values in "batch=4" texts; throws UsageError.
std::map<std::string, int64_t> parseDims(const std::vector<std::string> &dims);
/// Writes the outputs of a run as `<index>-<name>.npy`, a sequence's items as `<index>-<name>.<item>.npy`; makes the
/// folder.
void writeOutputs(const std::string &folder, const std::vector<flame_port> &ports, const std::vector<Value> &outputs);
/// A file name for a value: names of models contain slashes and worse.
std::string fileName(std::string name);

/// The exit code of a runtime failure.
int exitCode(flame_code code);

} // namespace flame::run

#endif
