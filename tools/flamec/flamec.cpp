//===- flamec.cpp - the command a person uses -------------------------------------------------------------------------===//
#include "Commands.h"
#include "flame/Support/Version.h"
#include "llvm/ADT/StringRef.h"

using namespace flame;
using namespace flame::tool;

int main(int argc, char **argv) {
  Console console;
  CLI::App app("flamec compiles models and runs them.", "flamec");
  app.set_version_flag("--version", version());
  std::map<std::string, Command> commands = {{"compile", addCompile(app, console)},
                                             {"suite-test", addSuiteTest(app, console)}};
  app.require_subcommand(1);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // `flamec model.onnx …` is `flamec compile model.onnx …`.
  if (!arguments.empty() && llvm::StringRef(arguments[0]).ends_with(".onnx"))
    arguments.insert(arguments.begin(), "compile");
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : int(Status::Usage);
  }
  for (CLI::App *sub : app.get_subcommands())
    return commands.at(sub->get_name())();
  return int(Status::Usage);
}
