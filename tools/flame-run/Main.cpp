//===- Main.cpp - flame-run's command line --------------------------------===//

#include "Run.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <dlfcn.h>
#include <iostream>
#include <new>
#include <string>
#include <vector>

namespace {

using namespace flame::run;

int runLines();

int runCommand(int argc, char **argv, bool outer) {
  Settings settings;
  bool each = false;
  bool version = false;
  std::string format = "table";

  CLI::App app{"Runs a model that flamec has compiled.\n\n"
               "Inputs: NAME=FILE.npy, NAME=FILE.pb (ONNX), NAME=random, or NAME=SHAPE:TYPE such as x=4x16:f32.\n"
               "Exit codes: 0 ok, 1 internal error, 2 usage, 3 bad input, 4 unsupported, 5 accuracy, 6 out of memory,\n"
               "7 device, 130 interrupted.",
               "flame-run"};
  app.add_option("artifact", settings.artifact, "the compiled model, model.flame");
  app.add_option("-i,--input", settings.inputs.specs, "one input, NAME=VALUE")->allow_extra_args(false);
  app.add_option("--inputs", settings.inputs.archive, "an .npz file with the inputs by name");
  app.add_flag("--random-inputs", settings.inputs.randomOthers, "random numbers for all inputs that are not given");
  app.add_option("--dim", settings.dims, "value of a symbolic dimension of random inputs, NAME=NUMBER")
      ->allow_extra_args(false);
  app.add_option("--seed", settings.inputs.seed, "seed of the random numbers (default 0)");
  app.add_option("-o,--output-dir", settings.outputDirectory,
                 "write the outputs as .npy files instead of printing them");
  app.add_option("--expect", settings.expected,
                 "compare an output with a file, NAME=FILE; exit code 5 where they differ")
      ->allow_extra_args(false);
  app.add_option("--rtol", settings.tolerance.relative, "relative tolerance of --expect (default 1e-3)");
  app.add_option("--atol", settings.tolerance.absolute, "absolute tolerance of --expect (default 1e-7)");
  app.add_option("--bench", settings.bench, "measure this many runs")->check(CLI::PositiveNumber);
  app.add_flag("--profile", settings.profile, "time by command");
  app.add_option("--threads", settings.threads, "threads (default: FLAME_NUM_THREADS, else all cores)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--memory-limit", settings.memoryLimit, "refuse to use more, e.g. 512M or 2G");
  app.add_option("--weights-dir", settings.weightsDirectory,
                 "where the weight files are (default: beside the artifact)");
  app.add_flag("--dump-signature", settings.dumpSignature, "print inputs, outputs and properties, run nothing");
  app.add_option("--format", format, "table or json, for --dump-signature and --bench")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_flag("--poison", settings.poison, "debugging: fill fresh memory with NaN");
  app.add_option("--device", settings.device, "number of the GPU, for artifacts that need one (default: FLAME_DEVICE, else 0)")
      ->check(CLI::Range(0, 1023));
  app.add_flag("--sync", settings.sync, "debugging: wait after every kernel, so that a failure names it");
  app.add_flag("--red-zones", settings.redZones, "debugging: guard bytes around every tensor");
  app.add_flag("--no-graphs", settings.noGraphs, "launch every GPU kernel by itself");
  app.add_flag("-q,--quiet", settings.quiet, "print neither outputs nor memory use");
  app.add_flag("--version", version, "print the version");
  if (outer)
    app.add_flag("--each", each, "testing: a command line from each line of the standard input, its words separated by tabs; "
                                 "after each a line with its exit code")
        ->group("");

  try {
    app.parse(argc, argv);
    settings.json = format == "json";
    if (version) {
      std::printf("flame-run %s (plan version %u)\n", flame_version(), flame_plan_version());
      return Ok;
    }
    if (each)
      return runLines();
    if (settings.artifact.empty())
      throw UsageError("which artifact? flame-run model.flame; see flame-run --help");
    return execute(std::move(settings));
  } catch (const CLI::CallForHelp &) {
    std::printf("%s", app.help().c_str());
    return Ok;
  } catch (const CLI::ParseError &error) {
    std::fprintf(stderr, "flame-run: error: %s; see flame-run --help\n", error.what());
    return Usage;
  } catch (const UsageError &error) {
    std::fprintf(stderr, "flame-run: error: %s\n", error.what());
    return Usage;
  } catch (const flame::io::InputError &error) {
    std::fprintf(stderr, "flame-run: error: %s\n", error.what());
    return BadInput;
  } catch (const flame::RuntimeError &error) {
    std::fprintf(stderr, "flame-run: error: %s\n", error.what());
    return exitCode(error.code());
  } catch (const std::bad_alloc &) {
    std::fprintf(stderr, "flame-run: error: out of memory\n");
    return OutOfMemory;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "flame-run: internal error: %s\n", error.what());
    return Internal;
  }
}

/// Many small tests in one process: starting a GPU's context takes longer than they do.
int runLines() {
  // What the first command would make and the last reference would destroy, command by command.
  if (void *driver = dlopen("libcuda.so.1", RTLD_NOW)) {
    auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
    auto retain = reinterpret_cast<int (*)(void **, int)>(dlsym(driver, "cuDevicePrimaryCtxRetain"));
    void *context = nullptr;
    if (init && retain && init(0) == 0)
      (void)retain(&context, 0);
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> words{"flame-run"};
    for (size_t at = 0; at <= line.size();) {
      const size_t end = std::min(line.find('\t', at), line.size());
      words.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    std::vector<char *> arguments;
    for (std::string &word : words)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int code = runCommand(static_cast<int>(words.size()), arguments.data(), false);
    std::fflush(stdout);
    std::printf("exit %d\n", code);
    std::fflush(stdout);
  }
  return Ok;
}

} // namespace

int main(int argc, char **argv) { return runCommand(argc, argv, true); }
