//===- Run.cpp - flamec run -------------------------------------------------------------------------------------------===//
#include "Run.h"
#include "Commands.h"
#include "Help.h"
#include "Model.h"
#include <memory>

using namespace flame;
using namespace flame::tool;

Command flame::tool::addRun(CLI::App &app, Console &console) {
  struct State {
    ModelSettings model;
    run::Settings settings;
  };
  auto state = std::make_shared<State>();
  CLI::App *sub = app.add_subcommand("run", "run a model or an artifact on given or random inputs");
  document(sub, {"flamec run MODEL [--input NAME=VALUE]... [--random-inputs] [options]",
                 "Runs the model once. Outputs are printed on stdout, or written as .npy files with --output-dir. "
                 "--expect compares them with files and ends with exit code 5 where they differ.",
                 {{"Random numbers for every input, batch 4:", "flamec run model.flame --random-inputs --dim batch=4"},
                  {"Inputs from files, outputs into a folder:",
                   "flamec run model.onnx --input image=digit.npy --output-dir out"},
                  {"At most 512 MiB beside the weights:",
                   "flamec run model.flame --input x=8x128:f32 --memory-limit 512M"}}});
  state->model.addModel(sub);
  state->model.addTarget(sub);
  state->model.addInputs(sub);
  sub->add_option("-o,--output-dir", state->settings.outputDirectory,
                  "write output number N as DIR/N-NAME.npy instead of printing it")
      ->type_name("DIR");
  sub->add_option("--expect", state->settings.expected, "compare an output with a file (.npy, .pb)")
      ->allow_extra_args(false)
      ->type_name("NAME=FILE");
  sub->add_option("--rtol", state->settings.tolerance.relative, "relative tolerance of --expect (default: 1e-3)")
      ->type_name("X");
  sub->add_option("--atol", state->settings.tolerance.absolute, "absolute tolerance of --expect (default: 1e-7)")
      ->type_name("X");
  state->model.addThreads(sub);
  state->model.addMemoryLimit(sub);
  sub->add_flag("--profile", state->settings.profile, "print the time of every kernel and the nodes it came from");
  sub->add_flag("-q,--quiet", state->settings.quiet, "print neither outputs nor progress");
  return [state, &console]() -> int {
    console.quiet = state->settings.quiet;
    state->model.resolve();
    state->settings.inputs = state->model.inputs;
    state->settings.program = "flamec run";
    Model model = loadModel(state->model, console);
    return explainingMemory(model, state->model, [&] { return run::execute(model.module, state->settings); });
  };
}
