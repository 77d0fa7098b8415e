//===- Compile.cpp - flamec compile -----------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Model.h"
#include "Run.h"
#include "flame/Import/HuggingFace.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <unistd.h>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;

int flame::tool::compileWithProgress(const std::string &path, const CompileOptions &options, Console &console,
                                     CompileResult &result, bool quiet) {
  const char *names[] = {"importing", "optimizing", "kernels"};
  auto progress = [&](const Progress &p) {
    if (quiet)
      return;
    if (p.finished)
      console.phase(names[int(p.phase)], p.detail, p.seconds);
    else
      console.bar(names[int(p.phase)], p.done, p.total);
  };
  result = compileModel(path, options, progress, &llvm::errs());
  for (const std::string &warning : result.warnings)
    console.warning(warning);
  for (const std::string &error : result.errors)
    console.error(error);
  return int(result.status);
}

bool flame::tool::writeArtifact(const std::string &path, llvm::ArrayRef<uint8_t> bytes, std::string &error) {
  std::error_code code;
  fs::file_status status = fs::status(path, code);
  bool special = fs::exists(status) && !fs::is_regular_file(status);
  std::string temporary = special ? path : path + ".tmp" + std::to_string(getpid());
  if (!special)
    llvm::sys::RemoveFileOnSignal(temporary);
  llvm::scope_exit forget([&] {
    if (!special)
      llvm::sys::DontRemoveFileOnSignal(temporary);
  });
  FILE *file = std::fopen(temporary.c_str(), "wb");
  if (!file) {
    error = std::strerror(errno);
    return false;
  }
  bool ok = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  ok &= std::fflush(file) == 0;
  if (ok && !special)
    ok = fsync(fileno(file)) == 0;
  if (!ok)
    error = std::strerror(errno);
  std::fclose(file);
  if (ok && !special && std::rename(temporary.c_str(), path.c_str()) != 0) {
    error = std::strerror(errno);
    ok = false;
  }
  if (!ok && !special)
    std::remove(temporary.c_str());
  return ok;
}

Command flame::tool::addCompile(CLI::App &app, Console &console) {
  struct State {
    std::string model, output, emit, weights = "auto", precision = "strict";
    std::vector<std::string> typical;
    bool embed = false, quiet = false;
    CompileOptions options;
  };
  auto state = std::make_shared<State>();
  CLI::App *sub = app.add_subcommand("compile", "compile a model to an artifact");
  document(sub,
           {"flamec compile MODEL [-o ARTIFACT] [options]",
            "Compiles an ONNX file (opsets 7 to 27, local functions and external data included), or a model folder as "
            "diffusers and transformers save it (config.json, safetensors), to an artifact. A FLUX pipeline folder (model_index.json) "
            "becomes one program, with its steps as a loop: from token ids, noise and noise levels to pixels. "
            "Dims may be symbolic: one artifact serves every batch and length. Small weights go into the artifact; "
            "others stay in the model's files, which must then lie beside the artifact.",
            {{"For this machine:", "flamec compile model.onnx -o model.flame"},
             {"For every x86-64 processor with AVX2, as a single file:",
              "flamec compile model.onnx -o model.flame --cpu x86-64-v3 --embed-weights"},
             {"For NVIDIA GPUs from Ampere on, whatever is in this machine:",
              "flamec compile model.onnx --target=cuda --gpu=sm_90a,compute_80"},
             {"The denoiser of a diffusers pipeline, whose weights stay in its folder:",
              "flamec compile FLUX.1-schnell/transformer -o transformer.flame"},
             {"A whole pipeline as one program; flamec inspect shows its inputs:",
              "flamec compile FLUX.1-schnell -o flux.flame --target=cuda"},
             {"Edit a CUDA kernel and put it back:",
              "flamec compile model.onnx --emit=cuda > edited.cu\n    $ flamec compile model.onnx --target=cuda "
              "--kernels edited.cu"},
             {"See which nodes share a kernel:", "flamec compile model.onnx --emit=regions"}}});
  sub->add_option("model", state->model, "the ONNX file, the model folder or the pipeline folder")->required()->type_name("MODEL");
  sub->add_option("-o,--output", state->output,
                  "the artifact to write (default: the model's name with .flame, in this folder), or the text of --emit (default: standard output)")
      ->type_name("FILE");
  sub->add_option("--target", state->options.target, "what to compile for: cpu (default) or cuda")
      ->check(oneOf({"cpu", "cuda"}))
      ->type_name("TARGET");
  sub->add_option(
         "--gpu", state->options.gpus,
         "with --target=cuda: architectures, separated by commas; sm_90a is machine code for one, compute_80 is "
         "PTX for it and everything newer (default: the GPU present; without one sm_90a,compute_80)")
      ->delimiter(',')
      ->type_name("NAMES");
  sub->add_option("--cpu", state->options.cpu, "processor to compile for: native (default), x86-64-v3, znver3, …")
      ->type_name("NAME");
  sub->add_option("--threads", state->options.threads, "threads that compile kernels (default: all cores)")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
  sub->add_option("--precision", state->precision,
                  "with --target=cuda: strict (default), or tf32: products and convolutions of f32 by matrix "
                  "instructions, which take ten bits of each factor's fraction")
      ->check(oneOf({"strict", "tf32"}))
      ->type_name("WHAT");
  sub->add_option("--schedule", state->options.scheduleFile,
                  "with --target=cuda: take tile sizes and the like from this file, which is the output of --emit=schedules, edited")
      ->type_name("FILE");
  sub->add_option("--typical", state->typical,
                  "with --target=cuda: tune kernels for this size of a symbolic dim; the artifact runs with any other, too "
                  "(default: what is usual for a known class of models, else 512)")
      ->allow_extra_args(false)
      ->type_name("NAME=NUMBER");
  sub->add_flag("!--no-cache", state->options.cache,
                "neither use nor keep compiled CUDA kernels of earlier runs (they are in FLAME_CACHE_DIR, else "
                "XDG_CACHE_HOME/flame, else ~/.cache/flame)");
  sub->add_flag("--embed-weights", state->embed, "the same as --weights=embed");
  sub->add_option("--weights", state->weights,
                  "where the weights go: embed (into the artifact), external (they stay in their files), or auto "
                  "(default: embed up to 16 MiB)")
      ->check(oneOf({"auto", "embed", "external"}))
      ->type_name("WHERE");
  sub->add_option("--emit", state->emit, "print a stage instead of an artifact: onnx-ir, flame, regions, kernels, plan; cuda is the kernels "
                  "with --target=cuda, schedules their tile sizes")
      ->check(oneOf({"onnx-ir", "flame", "regions", "kernels", "plan", "cuda", "schedules"}))
      ->type_name("STAGE");
  addFolderOptions(sub, state->options.dtype, state->options.part);
  sub->add_option("--dump-after", state->options.dumpAfter,
                  "print the IR on stderr after the pass of this name, e.g. canonicalize; or all")
      ->type_name("PASS");
  sub->add_option("--kernels", state->options.kernelFile,
                  "with --target=cuda: take the kernels from this file, which is the output of --emit=cuda, edited")
      ->type_name("FILE");
  sub->add_flag("-q,--quiet", state->quiet, "no progress");
  return [state, &console]() -> int {
    static const std::map<std::string, Stage> stages = {{"", Stage::Artifact},       {"onnx-ir", Stage::OnnxIr},
                                                        {"flame", Stage::Flame},     {"regions", Stage::Regions},
                                                        {"kernels", Stage::Kernels}, {"plan", Stage::Plan},
                                                        {"cuda", Stage::Kernels},    {"schedules", Stage::Schedules}};
    if (state->emit == "cuda" || state->emit == "schedules")
      state->options.target = "cuda";
    if (state->options.target != "cuda" && !state->options.kernelFile.empty())
      throw run::UsageError("--kernels takes CUDA kernels; it needs --target=cuda");
    if (state->options.target != "cuda" && !state->options.gpus.empty())
      throw run::UsageError("--gpu names GPU architectures; it needs --target=cuda");
    state->options.tf32 = state->precision == "tf32";
    if (state->options.target != "cuda" && state->options.tf32)
      throw run::UsageError("--precision=tf32 is for GPUs; it needs --target=cuda");
    if (state->options.target != "cuda" && !state->options.scheduleFile.empty())
      throw run::UsageError("--schedule is for CUDA kernels; it needs --target=cuda");
    if (state->options.target != "cuda" && !state->typical.empty())
      throw run::UsageError("--typical is for CUDA kernels; it needs --target=cuda");
    state->options.typicalDims = run::parseDims(state->typical);
    console.quiet = state->quiet;
    state->options.stage = stages.at(state->emit);
    if (state->embed || state->weights == "embed")
      state->options.weights = CompileOptions::Weights::Embed;
    else if (state->weights == "external")
      state->options.weights = CompileOptions::Weights::External;
    while (state->model.size() > 1 && state->model.back() == '/')
      state->model.pop_back();
    std::string output = state->output.empty() ? fs::path(state->model).stem().string() + ".flame" : state->output;
    bool isFolder = fs::is_directory(state->model);
    CompileResult result;
    bool text = state->options.stage != Stage::Artifact;
    uint64_t before = llvm::errs().tell();
    if (int code = compileWithProgress(state->model, state->options, console, result, text))
      return code;
    if (!state->options.dumpAfter.empty() && llvm::errs().tell() == before)
      console.warning("no pass '" + state->options.dumpAfter + "' ran; --dump-after=all shows the names of all");
    if (text && state->output.empty()) {
      std::fwrite(result.text.data(), 1, result.text.size(), stdout);
      return 0;
    }
    std::string error;
    llvm::ArrayRef<uint8_t> bytes(result.artifact);
    if (text)
      bytes = llvm::ArrayRef(reinterpret_cast<const uint8_t *>(result.text.data()), result.text.size());
    if (!writeArtifact(output, bytes, error)) {
      console.error(output + ": can't be written: " + error);
      return int(Status::BadInput);
    }
    if (text)
      return 0;
    console.line(output + " " + formatBytes(result.artifact.size()) + " · " + std::to_string(result.kernels) +
                 (result.kernels == 1 ? " kernel" : " kernels") + " · weights " + formatBytes(result.weightBytes) +
                 (result.embedded ? " inside" : " stay in their files"));
    if (!result.embedded && !result.weightFiles.empty()) {
      std::string files;
      for (const std::string &file : result.weightFiles)
        files += " " + file;
      console.line(isFolder ? "needs of that folder:" + files : "needs beside it:" + files);
    }
    // The sizes of a pipeline's inputs are no numbers of any kind; what they are is to be looked at first.
    const bool isPipeline = isFolder && isPipelineFolder(state->model);
    console.line(std::string("next: flamec ") + (isPipeline ? "inspect " : "run ") + output +
                 (isFolder && !result.embedded ? " --weights-dir " + state->model : "") + (isPipeline ? "" : " --random-inputs"));
    return 0;
  };
}
