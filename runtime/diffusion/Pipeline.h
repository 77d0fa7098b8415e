//===- Pipeline.h - from prompts to pictures -------------------------------===//
//
// FluxPipeline of diffusers over compiled models: texts are encoded, noise is drawn for each picture by its own
// generator, the transformer takes its steps, the decoder makes pixels. On a GPU latents are there from the noise to
// the pixels. Roundings between the models are those of diffusers in the transformer's element type.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_PIPELINE_H
#define FLAME_DIFFUSION_PIPELINE_H

#include "Part.h"
#include "Png.h"
#include "Scheduler.h"
#include "Texts.h"
#include "Tiles.h"
#include "Tokenizer.h"
#include "flame_diffusion.h"

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>

namespace flame::diffusion {

struct PipelineRequest {
  std::vector<std::string> prompts;
  size_t images = 1;                                                  // of each prompt
  std::vector<uint64_t> seeds;                                        // of all pictures, prompt by prompt
  size_t steps = 0, width = 0, height = 0, textTokens = 0, batch = 0; // 0: the model's
  double guidance = 0;
  flame_tiling vaeTiling = FLAME_TILING_AUTO;
  size_t tileSampleMinSize = 0; // pixels; 0: the model's
  double tileOverlapFactor = 0; // 0: 0.25
  Tiling tiling;                // what has been made of them for the picture's size
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
  struct PartName {
    const char *folder, *kind;
  };
  static constexpr std::array<PartName, 4> kParts = {
      {{"text_encoder", ""}, {"text_encoder_2", ""}, {"transformer", "step"}, {"vae", "pictures"}}};
  static constexpr size_t kStages = 3;

  Pipeline(const std::string &folder, const std::string &artifacts, const Options &options);

  /// One picture for each seed. Errors as flame_pipeline_generate.
  std::vector<Picture> generate(PipelineRequest request);
  void cancel();
  struct Plan {
    uint64_t peak;                              // of `generate`
    std::array<PartBytes, kParts.size()> parts; // each alone
    size_t tile;                                // pixels of a tile's side; 0: no tiles
  };
  Plan planned(PipelineRequest request);
  /// As flame_pipeline_profile.
  void profile(bool enable);
  flame_session *session(size_t part) const { return part < parts.size() ? parts[part].handle() : nullptr; }

  struct Statistics {
    double loading = 0;
    std::array<double, kStages> stages{};
    uint64_t peak = 0, textsEncoded = 0, partsLoaded = 0;
  };
  Statistics statistics;

private:
  class StageClock;
  using Text = std::shared_ptr<const EncodedText>;
  /// Pictures that are denoised together, and in the end their latents.
  struct Batch {
    size_t first, count;
    Value latents; // [count, tokens, channels]
  };

  void complete(PipelineRequest &request) const;
  std::array<NamedShapes, kParts.size()> shapesOf(const PipelineRequest &request) const;
  std::vector<PartBytes> plan(const PipelineRequest &request) const;
  void enter(size_t part, const PipelineRequest &request);
  NamedValues run(size_t part, const NamedValues &inputs, std::initializer_list<const char *> wanted);
  void chooseTiling(PipelineRequest &request) const;
  void noteMemory(size_t running);
  void checkCancelled() const;

  std::vector<Text> encode(const PipelineRequest &request);
  Value noise(const PipelineRequest &request, size_t first, size_t count) const;
  Value imageIds(size_t rows, size_t columns) const;
  void denoise(const PipelineRequest &request, Batch &batch, const std::vector<Text> &texts, StageClock &clock);
  Picture decode(const PipelineRequest &request, const Value &latents, size_t index, size_t picture);
  std::vector<uint8_t> decodeTiles(const PipelineRequest &request, const Value &tokens, int64_t &bad);
  std::string parametersOf(const PipelineRequest &request, size_t picture) const;

  std::string folder;
  int32_t device;
  uint64_t memoryLimit;
  std::unique_ptr<Tokenizer> clipTokenizer, t5Tokenizer;
  std::unique_ptr<Scheduler> scheduler;
  enum PartIndex : size_t { kClip, kT5, kTransformer, kVae };
  std::deque<Part> parts; // in the order of kParts

  flame_dtype type = FLAME_UNDEFINED; // of the transformer
  size_t latentChannels = 0, scale = 0, axes = 0, sampleSize = 0;
  bool guided = false;

  TextCache cache;
  std::mutex runMutex; // one run at a time
  std::atomic<bool> cancelled = false;
  std::atomic<Part *> running = nullptr;
};

} // namespace flame::diffusion

#endif
