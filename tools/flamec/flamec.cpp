//===- flamec.cpp - the command a person uses: dispatch, messages, exit codes -----------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "InputSpec.h"
#include "Interrupt.h"
#include "Run.h"
#include "flame/Support/Version.h"
#include "llvm/ADT/StringRef.h"
#include <filesystem>

using namespace flame;
using namespace flame::tool;

namespace {

int usage(Console &console, const std::string &message, const std::string &subcommand = "") {
  console.error(message);
  console.line("see flamec " + (subcommand.empty() ? "" : subcommand + " ") + "--help");
  return int(Status::Usage);
}

/// A word that can only be a model: then `flamec model.onnx …` is `flamec compile model.onnx …`.
bool looksLikeModel(const std::string &word) {
  std::error_code error;
  return llvm::StringRef(word).ends_with(".onnx") ||
         (word.find_first_of("/.") != std::string::npos &&
          (std::filesystem::is_regular_file(word, error) || std::filesystem::exists(word + "/config.json", error)));
}

/// What the parser complains about, in our words.
std::string explain(const CLI::ParseError &error, const CLI::App *sub) {
  std::string text = error.what();
  if (error.get_name() == "RequiredError" && sub) {
    for (const CLI::Option *option : sub->get_options())
      if (option->get_required() && option->count() == 0)
        return "the argument " + option->get_type_name() + " is missing: " + option->get_description();
  }
  if (error.get_name() == "ExtrasError") {
    size_t colon = text.find(": ");
    return "unexpected argument" + (colon == std::string::npos ? "" : ": " + text.substr(colon + 2)) +
           "; options stand with dashes, and only one model is taken at a time";
  }
  return text;
}

int dispatch(CLI::App &app, std::map<std::string, Command> &commands, std::vector<std::string> arguments,
             Console &console) {
  const CLI::App *sub = nullptr;
  if (arguments.empty()) {
    std::fputs(helpPage(app).c_str(), stderr);
    return int(Status::Usage);
  }
  if (arguments[0][0] != '-' && !commands.count(arguments[0])) {
    if (!looksLikeModel(arguments[0])) {
      std::string near = nearestSubcommand(app, arguments[0]);
      return usage(console, "unknown subcommand '" + arguments[0] + "'" +
                                (near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
    arguments.insert(arguments.begin(), "compile");
  }
  if (arguments[0][0] != '-') {
    sub = app.get_subcommand(arguments[0]);
    std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    if (std::string problem = unknownOption(*sub, rest); !problem.empty())
      return usage(console, problem, sub->get_name());
  } else if (std::string problem = unknownOption(app, arguments); !problem.empty()) {
    return usage(console, problem);
  }
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp &) {
    std::fputs(helpPage(sub ? *sub : app).c_str(), stdout);
    return 0;
  } catch (const CLI::CallForVersion &) {
    std::printf("flamec %s\n", version());
    return 0;
  } catch (const CLI::ParseError &error) {
    return usage(console, explain(error, sub), sub ? sub->get_name() : "");
  }
  if (app.get_option("--list-ops")->count())
    return listOps(app.get_option("--format")->count() ? app.get_option("--format")->as<std::string>() : "table");
  if (!sub)
    return usage(console, "say what to do: a subcommand is missing");
  return commands.at(sub->get_name())();
}

} // namespace

int main(int argc, char **argv) {
  watchInterrupts();
  installCrashHandler(argc, argv);
  Console console;
  CLI::App app("compile neural networks to artifacts and run them", "flamec");
  document(
      &app,
      {"flamec SUBCOMMAND [arguments] [options]\nflamec model.onnx -o model.flame    (short for: flamec compile)",
       "flamec compiles ONNX models and model folders of diffusers and transformers to artifacts, which it and the "
       "small runtime (flame-run, libflame_rt) "
       "execute. Data goes to stdout, progress and messages to stderr. Colour and animation appear on a "
       "terminal only; NO_COLOR turns the colour off.",
       {{"Compile a model, look at the result, run it:",
         "flamec compile model.onnx -o model.flame\n    $ flamec inspect model.flame\n    $ flamec run model.flame "
         "--random-inputs"},
        {"Compare every tensor with ONNX Runtime:", "flamec check model.onnx --against onnxruntime"}}});
  app.set_help_flag("-h,--help", "this text; after a subcommand: its help");
  app.set_version_flag("--version", version(), "print the version");
  bool list = false;
  std::string format;
  app.add_flag("--list-ops", list, "list the ONNX operators that can be imported, with opsets and element types");
  app.add_option("--format", format, "of --list-ops: table (default) or json")
      ->check(oneOf({"table", "json"}))
      ->type_name("FORMAT");
  std::map<std::string, Command> commands = {
      {"compile", addCompile(app, console)},    {"run", addRun(app, console)},
      {"bench", addBench(app, console)},        {"check", addCheck(app, console)},
      {"profile", addProfile(app, console)},    {"inspect", addInspect(app, console)},
      {"generate", addGenerate(app, console)},  {"doctor", addDoctor(app, console)},      {"suite-test", addSuiteTest(app, console)},
      {"reproduce", addReproduce(app, console)}};
  for (CLI::App *sub : app.get_subcommands([](CLI::App *) { return true; }))
    sub->set_help_flag("-h,--help", "this text");
  try {
    return dispatch(app, commands, std::vector<std::string>(argv + 1, argv + argc), console);
  } catch (const Exit &exit) {
    return exit.code;
  } catch (const run::UsageError &error) {
    return usage(console, error.what());
  } catch (const io::InputError &error) {
    console.error(error.what());
    return int(Status::BadInput);
  } catch (const RuntimeError &error) {
    console.error(error.what());
    return run::exitCode(error.code());
  } catch (const std::bad_alloc &) {
    console.error("out of memory");
    return int(Status::OutOfMemory);
  } catch (const std::exception &error) {
    console.error(std::string("internal error: ") + error.what() + "; this is a bug of flame");
    return int(Status::Internal);
  }
}
