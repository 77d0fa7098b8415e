//===- Generate.cpp - flamec generate
//---------------------------------------------------------------------------------===//
//
// Compiles the models of a diffusers folder, unless a former call has, and makes pictures with them. Artifacts are kept
// in a folder of the cache, named by all that they depend on.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Model.h"
#include "Run.h"
#include "flame/Support/FileCache.h"
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
  std::string folder, output = "picture.png", promptFile, size, artifacts, memoryLimit, generator = "cpu";
  std::vector<std::string> prompts;
  std::vector<uint64_t> seeds;
  size_t images = 1, steps = 0, batch = 0, textTokens = 0;
  double guidance = 0;
  int threads = 0, device = 0;
  bool compileOnly = false, quiet = false;
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

/// All that the artifacts of a folder depend on: the files of its models by name, size and time, the options, the
/// compiler.
std::string artifactKey(const GenerateSettings &settings) {
  std::vector<std::string> parts = {"pipeline",           flame_version(),        settings.options.target,
                                    settings.options.cpu, settings.options.dtype, settings.options.tf32 ? "tf32" : ""};
  parts.insert(parts.end(), settings.options.gpus.begin(), settings.options.gpus.end());
  std::error_code code;
  auto add = [&](const fs::path &path) {
    parts.push_back(path.string());
    parts.push_back(std::to_string(fs::file_size(path, code)));
    parts.push_back(std::to_string(fs::last_write_time(path, code).time_since_epoch().count()));
  };
  add(fs::read_symlink("/proc/self/exe", code));
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    std::vector<fs::path> files;
    for (const auto &entry : fs::directory_iterator(fs::path(settings.folder) / name, code))
      if (entry.is_regular_file(code))
        files.push_back(fs::weakly_canonical(entry.path(), code));
    std::sort(files.begin(), files.end());
    parts.push_back(name);
    for (const fs::path &file : files)
      add(file);
  }
  std::vector<llvm::StringRef> refs(parts.begin(), parts.end());
  return FileCache::key(refs);
}

/// Compiles what is missing in the folder of artifacts. Throws Exit after the compiler's messages.
void compileParts(const GenerateSettings &settings, const std::string &artifacts, Console &console) {
  std::error_code code;
  fs::create_directories(artifacts, code);
  for (size_t i = 0; const char *name = flame_pipeline_part(i); ++i) {
    fs::path artifact = fs::path(artifacts) / (std::string(name) + ".flame"), folder = fs::path(settings.folder) / name;
    if (fs::is_regular_file(artifact, code))
      continue;
    if (!fs::is_directory(folder, code))
      throw io::InputError(folder.string() + " is missing: " + settings.folder +
                           " is no folder of a FLUX pipeline as diffusers saves it");
    auto begin = std::chrono::steady_clock::now();
    CompileResult result;
    if (int status = compileWithProgress(folder.string(), settings.options, console, result, true))
      throw Exit{status};
    std::string error;
    if (!writeArtifact(artifact.string(), result.artifact, error))
      throw io::InputError(artifact.string() + ": can't be written: " + error +
                           "; say with --artifacts where compiled models may be kept");
    console.phase("compiled", std::string(name) + ", " + std::to_string(result.kernels) + " kernels", since(begin));
  }
}

/// Shows what the pipeline does.
struct Display {
  Console &console;

  static int report(const flame_progress *progress, void *user) {
    static const char *names[] = {"texts", "denoising", "decoding"};
    auto &console = static_cast<Display *>(user)->console;
    char detail[64] = "";
    if (progress->step > 0 && progress->seconds > 0) {
      double rate = progress->step / progress->seconds, left = (progress->steps - progress->step) / rate;
      std::snprintf(detail, sizeof detail, "%.2f %s  ETA %02d:%02d", rate >= 1 ? rate : 1 / rate,
                    rate >= 1 ? "it/s" : "s/it", int(left) / 60, int(left) % 60);
    }
    console.bar(names[progress->stage], unsigned(progress->step), unsigned(progress->steps), detail);
    return 0;
  }
};

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
  std::string artifacts = settings.artifacts;
  if (artifacts.empty()) {
    artifacts = FileCache::defaultFolder();
    if (artifacts.empty())
      throw io::InputError(
          "there is no cache folder for compiled models; set FLAME_CACHE_DIR or HOME, or use --artifacts");
    artifacts += "/pipelines/" + artifactKey(settings);
  }
  compileParts(settings, artifacts, console);
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

  std::vector<const char *> prompts;
  for (const std::string &prompt : settings.prompts)
    prompts.push_back(prompt.c_str());
  Display display{console};
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
  request.progress = Display::report;
  request.progress_user = &display;
  std::vector<flame_image *> images(count);
  check(flame_pipeline_generate(pipeline.get(), &request, images.data()));
  std::vector<std::unique_ptr<flame_image, void (*)(flame_image *)>> owners;
  for (flame_image *image : images)
    owners.emplace_back(image, flame_image_release);

  double stages[3];
  uint64_t peak = 0;
  flame_pipeline_statistics(pipeline.get(), stages, &peak);
  console.phase("texts", std::to_string(prompts.size()) + (prompts.size() == 1 ? " prompt" : " prompts"), stages[0]);
  console.phase("denoising", std::to_string(count) + (count == 1 ? " picture" : " pictures"), stages[1]);
  console.phase("decoding",
                std::to_string(flame_image_width(images[0])) + " x " + std::to_string(flame_image_height(images[0])) +
                    " pixels",
                stages[2]);
  for (size_t i = 0; i < count; ++i) {
    std::string path = numbered(settings.output, i, count);
    check(flame_image_save(images[i], nullptr, 0, path.c_str()));
    std::printf("%s\n", path.c_str());
  }
  console.phase("done", "peak " + formatBytes(peak) + " beside the weights", since(begin));
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
  sub->add_option("--memory-limit", state->memoryLimit, "most memory that a model may take beside its weights, e.g. 8G")
      ->type_name("BYTES");
  sub->add_flag("-q,--quiet", state->quiet, "no progress");
  return [state, &console]() { return generate(*state, console); };
}
