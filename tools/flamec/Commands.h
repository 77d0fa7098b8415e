//===- Commands.h - the subcommands of flamec -------------------------------------------------------------------------===//
//
// A subcommand is a file. Data goes to stdout, everything else to the console. A subcommand returns its exit code or throws:
// Exit (all is said), UsageError, InputError, RuntimeError; flamec.cpp turns these into a message and an exit code.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_COMMANDS_H
#define FLAME_TOOLS_FLAMEC_COMMANDS_H

#include "Console.h"
#include "flame/Pipelines/Compiler.h"
#include "llvm/ADT/ArrayRef.h"
#include <CLI/CLI.hpp>

namespace flame::tool {

/// Each adds its subcommand to `app`; the returned function runs it and gives the exit code.
using Command = std::function<int()>;
Command addCompile(CLI::App &app, Console &console);
Command addRun(CLI::App &app, Console &console);
Command addBench(CLI::App &app, Console &console);
Command addCheck(CLI::App &app, Console &console);
Command addProfile(CLI::App &app, Console &console);
Command addGenerate(CLI::App &app, Console &console);
Command addInspect(CLI::App &app, Console &console);
Command addDoctor(CLI::App &app, Console &console);
Command addSuiteTest(CLI::App &app, Console &console);
Command addReproduce(CLI::App &app, Console &console);

/// `flamec --list-ops`.
int listOps(const std::string &format);

/// The command ends with this code; its messages have been printed.
struct Exit {
  int code;
};

/// Compiles with a progress display; prints errors and gives the exit code.
int compileWithProgress(const std::string &path, const CompileOptions &options, Console &console, CompileResult &result,
                        bool quiet = false);
/// Writes by a temporary file beside the target and an atomic rename, so that nobody ever sees half an artifact.
bool writeArtifact(const std::string &path, llvm::ArrayRef<uint8_t> bytes, std::string &error);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_COMMANDS_H
