//===- Generate.cpp - flamec generate
//---------------------------------------------------------------------------------===//
//
// Compiles the models of a diffusers folder, unless a former call has (PipelineArtifacts.h), and makes pictures with
// them.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Model.h"
#include "PipelineArtifacts.h"
#include "Run.h"
#include "flame_diffusion.h"
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;

namespace {

struct GenerateSettings {
  std::string folder, output = "picture.png", promptFile, size, artifacts, memoryLimit, generator = "cpu",
                      tiling = "auto";
  std::vector<std::string> prompts;
  std::vector<uint64_t> seeds;
  size_t images = 1, steps = 0, batch = 0, textTokens = 0, tile = 0;
  double guidance = 0, tileOverlap = 0;
  int threads = 0, device = 0;
  bool compileOnly = false, quiet = false, profile = false;
  CompileOptions options;
};

using Seconds = std::chrono::duration<double>;
double since(std::chrono::steady_clock::time_point begin) {
  return Seconds(std::chrono::steady_clock::now() - begin).count();
}

/// "1024" or "1024x768"
std::pair<size_t, size_t> parseSize(const std::string &text) {
  size_t width = 0, height = 0;
  const char *begin = text.data(), *end = begin + text.size();
  auto first = std::from_chars(begin, end, width);
  bool good = first.ec == std::errc();
  height = width;
  if (good && first.ptr != end) {
    auto second = std::from_chars(first.ptr + 1, end, height);
    good = *first.ptr == 'x' && second.ec == std::errc() && second.ptr == end;
  }
  if (!good || width == 0 || height == 0)
    throw run::UsageError("--size " + text + " is no size; write pixels as 1024 or 1024x768 (width x height)");
  return {width, height};
}

/// The lines of a file that are not empty.
std::vector<std::string> linesOf(const std::string &path) {
  std::error_code code;
  if (!fs::is_regular_file(path, code))
    throw io::InputError(path + " is no file; --prompt-file takes a text file with a prompt in each line");
  std::vector<std::string> lines;
  std::string text = fileText(path);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r'))
      line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos)
      lines.push_back(line);
    begin = end + 1;
  }
  if (lines.empty())
    throw io::InputError(path + " has no prompt: every line is empty");
  return lines;
}

std::string counted(size_t count, const std::string &what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// "12.34 it/s" or "1.50 s/it"
std::string rateOf(double steps, double seconds) {
  char text[32];
  bool fast = steps >= seconds;
  std::snprintf(text, sizeof text, "%.2f %s", fast ? steps / seconds : seconds / steps, fast ? "it/s" : "s/it");
  return text;
}

/// Shows what the pipeline does.
struct Display {
  Console &console;
  std::string rate; // of denoising

  static int report(const flame_progress *progress, void *user) {
    static const char *names[] = {"texts", "denoising", "decoding"};
    auto &display = *static_cast<Display *>(user);
    std::string detail;
    if (progress->step > 0 && progress->seconds > 0) {
      detail = rateOf(double(progress->step), progress->seconds);
      if (progress->stage == FLAME_STAGE_DENOISE)
        display.rate = detail;
      double left = double(progress->steps - progress->step) * progress->seconds / double(progress->step);
      char eta[32];
      std::snprintf(eta, sizeof eta, "  ETA %02d:%02d", int(left) / 60, int(left) % 60);
      detail += eta;
    }
    display.console.bar(names[progress->stage], unsigned(progress->step), unsigned(progress->steps), detail);
    return 0;
  }
};

/// Weights that a processor computes with are mapped from their files.
std::string weightsNote(const GenerateSettings &settings) {
  return settings.options.target == "cuda" ? "" : " beside mapped weights";
}

/// Says beforehand what the run will hold.
void showPlan(flame_pipeline *pipeline, const flame_generate_options &request, uint64_t limit, Console &console) {
  flame_memory_plan plan{};
  plan.struct_size = sizeof plan;
  check(flame_pipeline_plan(pipeline, &request, &plan));
  uint64_t sum = 0;
  std::string parts;
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    uint64_t all = plan.weight_bytes[i] + plan.run_bytes[i];
    sum += all;
    parts += std::string(i ? ", " : "") + name + " " + formatBytes(all);
  }
  std::string text = "memory      peak " + formatBytes(plan.peak_bytes) + " planned";
  if (limit && sum > limit)
    text += " under the limit of " + formatBytes(limit) + ", idle parts are moved out of the way";
  if (plan.tile_sample_size)
    text += ", decoded in tiles of " + std::to_string(plan.tile_sample_size) + " pixels";
  console.line(text + " (" + parts + ")");
}

/// The commands of all parts that took most of the time.
void showProfile(flame_pipeline *pipeline, Console &console) {
  struct Row {
    std::string part, command, nodes;
    uint64_t calls, nanoseconds;
  };
  std::vector<Row> rows;
  uint64_t total = 0;
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    flame_session *session = flame_pipeline_session(pipeline, i);
    std::vector<flame_profile_entry> entries(flame_session_profile_entries(session, nullptr, 0));
    flame_session_profile_entries(session, entries.data(), entries.size());
    for (const flame_profile_entry &entry : entries) {
      rows.push_back({name, entry.command, entry.node, entry.calls, entry.nanoseconds});
      total += entry.nanoseconds;
    }
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) { return a.nanoseconds > b.nanoseconds; });
  constexpr size_t kShown = 30, kWidest = 60;
  console.line("      ms     %   calls  part            command  [source]");
  for (size_t i = 0; i < std::min(rows.size(), kShown); ++i) {
    const Row &row = rows[i];
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "%8.3f %5.1f %7llu  %-14s  ", double(row.nanoseconds) / 1e6,
                  100 * double(row.nanoseconds) / double(std::max<uint64_t>(total, 1)),
                  static_cast<unsigned long long>(row.calls), row.part.c_str());
    std::string nodes = row.nodes.size() > kWidest ? row.nodes.substr(0, kWidest) + "…" : row.nodes;
    console.line(numbers + row.command + (nodes.empty() ? "" : "  [" + nodes + "]"));
  }
  if (rows.size() > kShown)
    console.line("and " + counted(rows.size() - kShown, "command") + " more; " + std::to_string(total / 1000000) +
                 " ms in all (CUDA graphs are off while profiling)");
}

std::string numbered(const std::string &path, size_t index, size_t count) {
  if (count == 1)
    return path;
  fs::path name(path);
  return (name.parent_path() / (name.stem().string() + "-" + std::to_string(index + 1) + name.extension().string()))
      .string();
}

int generate(GenerateSettings &settings, Console &console) {
  console.quiet = settings.quiet;
  while (settings.folder.size() > 1 && settings.folder.back() == '/')
    settings.folder.pop_back();
  std::error_code code;
  if (!fs::is_directory(settings.folder, code))
    throw io::InputError(settings.folder + " is no folder; generate takes one that diffusers saved (model_index.json)");
  if (!settings.promptFile.empty())
    for (std::string &line : linesOf(settings.promptFile))
      settings.prompts.push_back(std::move(line));
  if (settings.prompts.empty() && !settings.compileOnly)
    throw run::UsageError("there is no prompt; give one with --prompt, or some with --prompt-file");
  size_t count = settings.prompts.size() * settings.images;
  if (settings.seeds.size() > 1 && settings.seeds.size() != count)
    throw run::UsageError(std::to_string(settings.seeds.size()) + " seeds for " + std::to_string(count) +
                          " pictures; give one, from which they are counted, or one for each");
  std::pair<size_t, size_t> size = settings.size.empty() ? std::pair<size_t, size_t>() : parseSize(settings.size);

  auto begin = std::chrono::steady_clock::now();
  std::string artifacts =
      settings.artifacts.empty() ? cachedArtifacts(settings.folder, settings.options) : settings.artifacts;
  compilePipeline(settings.folder, settings.options, artifacts, console);
  if (settings.compileOnly) {
    std::printf("%s\n", artifacts.c_str());
    return 0;
  }

  flame_pipeline_options options{};
  options.struct_size = sizeof options;
  options.artifacts = artifacts.c_str();
  options.memory_limit = settings.memoryLimit.empty() ? 0 : run::parseBytes(settings.memoryLimit);
  options.threads = settings.threads;
  options.device = settings.device;
  flame_pipeline *raw = nullptr;
  check(flame_pipeline_load(settings.folder.c_str(), &options, &raw));
  std::unique_ptr<flame_pipeline, void (*)(flame_pipeline *)> pipeline(raw, flame_pipeline_release);
  if (settings.profile)
    check(flame_pipeline_profile(pipeline.get(), 1));

  std::vector<const char *> prompts;
  for (const std::string &prompt : settings.prompts)
    prompts.push_back(prompt.c_str());
  Display display{console, ""};
  flame_generate_options request{};
  request.struct_size = sizeof request;
  request.prompts = prompts.data();
  request.prompt_count = prompts.size();
  request.images = settings.images;
  request.seeds = settings.seeds.size() > 1 ? settings.seeds.data() : nullptr;
  request.seed = settings.seeds.empty() ? 0 : settings.seeds[0];
  request.steps = settings.steps;
  request.width = size.first;
  request.height = size.second;
  request.guidance = settings.guidance;
  request.text_tokens = settings.textTokens;
  request.batch = settings.batch;
  request.generator = settings.generator == "cuda" ? FLAME_GENERATOR_CUDA : FLAME_GENERATOR_CPU;
  request.vae_tiling = settings.tiling == "on"    ? FLAME_TILING_ON
                       : settings.tiling == "off" ? FLAME_TILING_OFF
                                                  : FLAME_TILING_AUTO;
  request.tile_sample_min_size = settings.tile;
  request.tile_overlap_factor = settings.tileOverlap;
  request.progress = Display::report;
  request.progress_user = &display;
  showPlan(pipeline.get(), request, options.memory_limit, console);
  std::vector<flame_image *> images(count);
  check(flame_pipeline_generate(pipeline.get(), &request, images.data()));
  std::vector<std::unique_ptr<flame_image, void (*)(flame_image *)>> owners;
  for (flame_image *image : images)
    owners.emplace_back(image, flame_image_release);

  flame_statistics statistics{};
  statistics.struct_size = sizeof statistics;
  check(flame_pipeline_statistics(pipeline.get(), &statistics));
  if (statistics.parts_loaded)
    console.phase("loading", counted(statistics.parts_loaded, "part"), statistics.loading_seconds);
  console.phase("texts", counted(prompts.size(), "prompt"), statistics.seconds[0]);
  console.phase("denoising", counted(count, "picture") + (display.rate.empty() ? "" : ", " + display.rate),
                statistics.seconds[1]);
  console.phase("decoding",
                std::to_string(flame_image_width(images[0])) + " x " + std::to_string(flame_image_height(images[0])) +
                    " pixels",
                statistics.seconds[2]);
  auto encoding = std::chrono::steady_clock::now();
  for (size_t i = 0; i < count; ++i) {
    std::string path = numbered(settings.output, i, count);
    check(flame_image_save(images[i], nullptr, 0, path.c_str()));
    std::printf("%s\n", path.c_str());
  }
  console.phase("files", counted(count, "picture"), since(encoding));
  console.phase("done", "peak " + formatBytes(statistics.peak_bytes) + weightsNote(settings), since(begin));
  if (settings.profile)
    showProfile(pipeline.get(), console);
  return 0;
}

} // namespace

Command flame::tool::addGenerate(CLI::App &app, Console &console) {
  auto state = std::make_shared<GenerateSettings>();
  CLI::App *sub = app.add_subcommand("generate", "make pictures from texts with a diffusers folder");
  document(
      sub,
      {"flamec generate FOLDER --prompt TEXT [-o FILE.png] [options]",
       "Makes pictures with a FLUX pipeline in a folder that diffusers saved. The first call compiles its models; "
       "what was compiled is kept and used again until the models or the options change. Seeds give the pictures that "
       "diffusers makes of them with a generator on the CPU (--generator=cuda: on an H100 or H200). A picture carries "
       "its parameters. The names of the pictures are printed on stdout.",
       {{"One picture:", "flamec generate FLUX.1-schnell --prompt \"a red fox in the snow\" -o fox.png"},
        {"Four of one prompt, at another size, on a GPU:",
         "flamec generate FLUX.1-dev --prompt \"a lighthouse\" --images 4 --size 1344x768\n        --target=cuda "
         "--dtype bf16"}}});
  sub->add_option("folder", state->folder, "the folder, with model_index.json")->required()->type_name("FOLDER");
  sub->add_option("-p,--prompt", state->prompts, "what the picture shows; may be given several times")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  sub->add_option("--prompt-file", state->promptFile, "a file with a prompt in each line")->type_name("FILE");
  sub->add_option("-o,--output", state->output,
                  "the picture to write (default: picture.png); several get numbers: picture-1.png, …")
      ->type_name("FILE");
  sub->add_option("--images", state->images, "pictures of each prompt (default: 1)")
      ->check(CLI::Range(size_t(1), size_t(65536)))
      ->type_name("N");
  sub->add_option(
         "--seed", state->seeds,
         "the seed of the first picture of each prompt, from which the others are counted (default: 0); or one "
         "for each picture, with commas between them")
      ->delimiter(',')
      ->type_name("N");
  sub->add_option("--steps", state->steps, "steps of denoising (default: 4 for schnell, 28 for dev)")
      ->check(CLI::Range(size_t(1), size_t(1000)))
      ->type_name("N");
  sub->add_option("--size", state->size, "pixels, as 1024 or 1344x768 (default: what the model was made for)")
      ->type_name("SIZE");
  sub->add_option("--batch", state->batch, "pictures that are denoised together (default: all)")->type_name("N");
  sub->add_option("--guidance", state->guidance, "how closely dev follows the prompt (default: 3.5)")->type_name("X");
  sub->add_option("--text-tokens", state->textTokens,
                  "length of the text in tokens (default: 256 for schnell, 512 for dev)")
      ->type_name("N");
  sub->add_option("--generator", state->generator,
                  "whose random numbers: those of torch's generator on the cpu (default) or cuda")
      ->check(oneOf({"cpu", "cuda"}))
      ->type_name("KIND");
  sub->add_option("--dtype,--precision", state->options.dtype,
                  "element type to compute in, f32, bf16 or f16 (default: the weights')")
      ->check(oneOf({"f32", "bf16", "f16"}))
      ->type_name("TYPE");
  sub->add_option("--target", state->options.target, "what to compile for: cpu (default) or cuda")
      ->check(oneOf({"cpu", "cuda"}))
      ->type_name("TARGET");
  sub->add_option("--gpu", state->options.gpus,
                  "with --target=cuda: architectures, e.g. sm_90a (default: this machine's)")
      ->delimiter(',')
      ->type_name("ARCH");
  sub->add_option("--artifacts", state->artifacts, "folder of the compiled models (default: one in the cache)")
      ->type_name("DIR");
  sub->add_flag("--compile-only", state->compileOnly, "compile the models, print where they are, and stop");
  sub->add_option("--threads", state->threads, "threads of the CPU (default: all cores)")->type_name("N");
  sub->add_option("--device", state->device, "number of the GPU (default: the first)")->type_name("N");
  sub->add_option("--memory-limit", state->memoryLimit,
                  "most memory that all models together may take, e.g. 30G: tensors, and weights that are on the GPU; "
                  "what is idle "
                  "is moved off the GPU as far as that is needed")
      ->type_name("BYTES");
  sub->add_option(
         "--vae-tiling", state->tiling,
         "decode pictures in tiles, as diffusers' enable_vae_tiling: on, off, or auto (default), where the VAE "
         "alone would need more than --memory-limit")
      ->check(oneOf({"auto", "on", "off"}))
      ->type_name("WHEN");
  sub->add_option("--tile-sample-min-size", state->tile,
                  "side of a tile in pixels (default: the VAE's sample_size, 1024)")
      ->type_name("N");
  sub->add_option("--tile-overlap-factor", state->tileOverlap,
                  "part of a tile that overlaps the next one (default: 0.25)")
      ->type_name("X");
  sub->add_flag("--profile", state->profile,
                "show at the end which kernels took the time; CUDA graphs are off meanwhile");
  sub->add_flag("-q,--quiet", state->quiet, "no progress");
  return [state, &console]() { return generate(*state, console); };
}
