//===- Run.h - what flame-run does ----------------------------------------===//
//
// Data goes to stdout, everything else to stderr. Failures are exceptions: InputError, UsageError, RuntimeError.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMERUN_RUN_H
#define FLAME_TOOLS_FLAMERUN_RUN_H

#include "Compare.h"
#include "InputSpec.h"

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
};

int execute(Settings settings);

/// The exit code of a runtime failure.
int exitCode(flame_code code);

} // namespace flame::run

#endif
