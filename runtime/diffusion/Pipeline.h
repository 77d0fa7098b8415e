//===- Pipeline.h - from prompts to pictures -------------------------------===//
//
// FluxPipeline of diffusers over compiled models: texts are encoded, noise is drawn for each picture by its own
// generator, the transformer and the scheduler take turns, the decoder makes pixels. Roundings between the models are
// those of diffusers in the transformer's element type.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_PIPELINE_H
#define FLAME_DIFFUSION_PIPELINE_H

#include "Png.h"
#include "Scheduler.h"
#include "Tokenizer.h"
#include "flame_diffusion.h"
#include "flame_rt.hpp"

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

namespace flame::diffusion {

/// A compiled model and its ports by name.
class Part {
public:
  /// Loads artifacts/name.flame, whose weights are in folder/name.
  Part(const std::string &folder, const std::string &artifacts, const char *name, Options options);

  /// Element type of an input. Throws Error(FLAME_BAD_ARTIFACT) where there is none of that name and rank.
  flame_dtype input(const char *port, int32_t rank) const;
  void output(const char *port, int32_t rank) const;

  /// The output `port` of a run. Every input must be given.
  Value run(const std::map<std::string, Value> &inputs, const char *port);
  void cancel();
  /// Bytes held now, and the most ever held.
  std::pair<uint64_t, uint64_t> memory() const;

private:
  [[noreturn]] void wrong(const std::string &problem) const;

  std::string name, artifact;
  Module module;
  std::mutex mutex; // of `session`, between a run and cancel
  Session session;  // made by the first run
  std::vector<flame_port> inputs, outputs;
};

struct PipelineRequest {
  std::vector<std::string> prompts;
  size_t images = 1;                                                  // of each prompt
  std::vector<uint64_t> seeds;                                        // of all pictures, prompt by prompt
  size_t steps = 0, width = 0, height = 0, textTokens = 0, batch = 0; // 0: the model's
  double guidance = 0;
  flame_generator_kind generator = FLAME_GENERATOR_CPU;
  std::function<bool(const flame_progress &)> progress; // false: stop
};

struct Picture {
  size_t width, height;
  std::vector<uint8_t> pixels;
  std::vector<PngText> texts;
};

class Pipeline {
public:
  static constexpr std::array kParts = {"text_encoder", "text_encoder_2", "transformer", "vae"};
  static constexpr size_t kStages = 3;

  Pipeline(const std::string &folder, const std::string &artifacts, const Options &options);

  /// One picture for each seed. Errors as flame_pipeline_generate.
  std::vector<Picture> generate(PipelineRequest request);
  void cancel();

  double seconds(size_t stage) const { return stageSeconds[stage]; }
  uint64_t peak() const { return peakBytes; }

private:
  struct Encoded {
    std::string prompt;
    size_t tokens;
    Value states, pooled; // [1, tokens, width], [1, width]
  };
  class StageClock;

  void complete(PipelineRequest &request) const;
  const Encoded &encode(const std::string &prompt, size_t tokens);
  Value noise(const PipelineRequest &request, size_t first, size_t count) const;
  Value denoise(const PipelineRequest &request, size_t first, size_t count, const std::vector<size_t> &encoded,
                StageClock &clock);
  Picture decode(const PipelineRequest &request, const Value &latents, size_t index, size_t picture);
  Value run(Part &part, const std::map<std::string, Value> &inputs, const char *port);

  std::string folder;
  int32_t device;
  std::unique_ptr<Tokenizer> clipTokenizer, t5Tokenizer;
  std::unique_ptr<Scheduler> scheduler;
  std::deque<Part> parts; // in the order of kParts
  Part &clip() { return parts[0]; }
  Part &t5() { return parts[1]; }
  Part &transformer() { return parts[2]; }
  Part &vae() { return parts[3]; }

  flame_dtype type = FLAME_UNDEFINED; // of the transformer
  size_t latentChannels = 0, scale = 0, axes = 0;
  double latentScale = 1, latentShift = 0;
  bool guided = false;

  std::deque<Encoded> cache; // texts that were encoded, the latest last
  std::mutex runMutex;       // one run at a time
  std::atomic<bool> cancelled = false;
  std::atomic<Part *> running = nullptr;
  std::array<double, kStages> stageSeconds{};
  uint64_t peakBytes = 0;
};

} // namespace flame::diffusion

#endif
