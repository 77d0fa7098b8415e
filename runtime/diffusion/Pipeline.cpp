//===- Pipeline.cpp - from prompts to pictures -----------------------------===//

#include "Pipeline.h"

#include "Elements.h"
#include "Error.h"
#include "Files.h"
#include "Json.h"
#include "Random.h"
#include "Tensors.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace flame::diffusion {

using rt::fail;

namespace {

constexpr size_t kPatch = 2;        // latent pixels each way that make a token
constexpr size_t kSampleSize = 128; // latent pixels of the size that FLUX was made for
constexpr size_t kMostTextTokens = 512;
constexpr size_t kLargestSide = 1 << 16;
constexpr size_t kMostPictures = 1 << 16;
constexpr double kTileOverlap = 0.25;
constexpr size_t kSmallestTile = 32; // latent pixels, where the memory limit asks for tiles: smaller ones can be seen

using Clock = std::chrono::steady_clock;
double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Throws unless an output of the VAE has these dims.
void requireShape(const Value &value, const char *output, std::initializer_list<size_t> dims) {
  const auto own = value.dims();
  if (std::equal(own.begin(), own.end(), dims.begin(), dims.end(),
                 [](int64_t size, size_t wanted) { return size >= 0 && static_cast<size_t>(size) == wanted; }))
    return;
  std::string text;
  for (const size_t dim : dims)
    text += (text.empty() ? "" : " x ") + std::to_string(dim);
  fail(FLAME_BAD_ARTIFACT, "the VAE's output '", output, "' is no picture of ", text, " elements; compile it again");
}

/// Says which part runs, for as long as it does.
class RunningPart {
public:
  RunningPart(std::atomic<Part *> &running, Part &part) : running(running) { running = &part; }
  ~RunningPart() { running = nullptr; }

private:
  std::atomic<Part *> &running;
};

} // namespace

/// Times a stage and reports its steps. Loading parts is not the stage's time.
class Pipeline::StageClock {
public:
  StageClock(Pipeline &pipeline, const PipelineRequest &request, flame_stage stage, size_t steps)
      : pipeline(pipeline), request(request), progress{stage, 0, steps, 0}, loading(pipeline.statistics.loading) {
    report();
  }
  ~StageClock() { note(); } // with what was waited for behind the last step
  void step() {
    ++progress.step;
    report();
  }

private:
  void note() {
    progress.seconds = since(begin) - (pipeline.statistics.loading - loading);
    pipeline.statistics.stages[progress.stage] = progress.seconds;
  }
  void report() {
    note();
    if (request.progress && !request.progress(progress))
      pipeline.cancelled = true;
    pipeline.checkCancelled();
  }

  Pipeline &pipeline;
  const PipelineRequest &request;
  flame_progress progress;
  const double loading;
  const Clock::time_point begin = Clock::now();
};

Pipeline::Pipeline(const std::string &folder, const std::string &artifacts, const Options &options)
    : folder(folder), device(options.device), memoryLimit(options.memory_limit) {
  const Json index = Json::load(joinPath(folder, "model_index.json"));
  const std::string name = index.at("_class_name").string();
  if (name != "FluxPipeline")
    fail(FLAME_UNSUPPORTED, index.file(), ": pipelines of the class '", name, "' are not supported; FluxPipeline is");
  const auto config = [&](const char *part) { return Json::load(joinPath(joinPath(folder, part), "config.json")); };
  const Json vaeConfig = config("vae"), transformerConfig = config("transformer");
  const Json blocks = vaeConfig.at("block_out_channels");
  if (!blocks.isArray() || blocks.size() == 0 || blocks.size() > 10)
    blocks.fail("must be an array of 1 to 10 numbers");
  scale = size_t{1} << (blocks.size() - 1);
  // A list has two sides of which diffusers takes the first.
  const std::optional<Json> sample = vaeConfig.find("sample_size");
  const Json first = sample && sample->isArray() && sample->size() ? sample->at(0) : sample.value_or(vaeConfig);
  sampleSize = sample ? static_cast<size_t>(first.integer(1, kLargestSide)) : kSampleSize * scale;
  latentChannels = static_cast<size_t>(vaeConfig.at("latent_channels").integer(1, 1 << 16));
  const int64_t channels = transformerConfig.integer("in_channels", 64, 1, 1 << 24);
  if (static_cast<size_t>(channels) != latentChannels * kPatch * kPatch)
    transformerConfig.fail(rt::cat("in_channels is ", channels, ", but a token of the VAE's latents has ",
                                   latentChannels * kPatch * kPatch, ": the models do not belong together"));
  guided = transformerConfig.boolean("guidance_embeds", false);
  const auto axesDims = transformerConfig.find("axes_dims_rope");
  axes = axesDims ? axesDims->size() : 3;
  if (axes < 3)
    axesDims->fail("must have three numbers: for the text, the rows and the columns");

  clipTokenizer = loadTokenizer(joinPath(folder, "tokenizer"));
  t5Tokenizer = loadTokenizer(joinPath(folder, "tokenizer_2"));
  const std::string schedule = joinPath(joinPath(folder, "scheduler"), "scheduler_config.json");
  scheduler = loadScheduler(schedule);
  const std::string kind = Json::load(schedule).string("_class_name", "");
  if (kind != "FlowMatchEulerDiscreteScheduler")
    fail(FLAME_UNSUPPORTED, schedule, ": a FluxPipeline takes steps of FlowMatchEulerDiscreteScheduler, not of ", kind);
  for (const auto &[part, partKind] : kParts)
    parts.emplace_back(folder, artifacts, part, partKind, options);
  for (const size_t encoder : {kClip, kT5})
    parts[encoder].input("input_ids", 2);
  parts[kClip].output("pooler_output", 2);
  parts[kT5].output("last_hidden_state", 3);
  type = parts[kTransformer].input("hidden_states", 3);
  for (const auto &[port, rank] : {std::pair{"encoder_hidden_states", 3},
                                   {"pooled_projections", 2},
                                   {"step", 0},
                                   {"timesteps", 1},
                                   {"step_sizes", 1},
                                   {"img_ids", 2},
                                   {"txt_ids", 2}})
    parts[kTransformer].input(port, rank);
  if (guided)
    parts[kTransformer].input("guidance", 1);
  parts[kTransformer].output("sample", 3);
  parts[kTransformer].output("next_step", 0);
  parts[kVae].input("tokens", 4);
  parts[kVae].output("pixels", 4);
  parts[kVae].output("not_numbers", 1);
  parts[kVae].output("sample", 4);
}

/// Puts the model's values where nothing was asked for, and checks what was.
void Pipeline::complete(PipelineRequest &r) const {
  const auto bad = [](const auto &...words) { fail(FLAME_INVALID_ARGUMENT, words...); };
  if (r.prompts.empty())
    bad("there is no prompt");
  if (r.images == 0 || r.images > kMostPictures || r.prompts.size() > kMostPictures / r.images)
    bad(r.prompts.size(), " prompts with ", r.images, " pictures each; at most ", kMostPictures,
        " pictures are made at once");
  if (r.seeds.size() != r.prompts.size() * r.images)
    bad(r.seeds.size(), " seeds for ", r.prompts.size() * r.images, " pictures; there must be one for each");
  if (!r.steps)
    r.steps = guided ? 28 : 4;
  if (!r.textTokens)
    r.textTokens = guided ? 512 : 256;
  if (r.textTokens < 2 || r.textTokens > kMostTextTokens)
    bad(r.textTokens, " text tokens; the text encoder takes 2 to ", kMostTextTokens);
  if (!std::isfinite(r.guidance) || r.guidance < 0)
    bad("the guidance must be a number of 0 or more");
  if (r.guidance == 0)
    r.guidance = 3.5;
  const size_t multiple = scale * kPatch;
  for (size_t *side : {&r.width, &r.height}) {
    if (!*side)
      *side = kSampleSize * scale;
    if (*side % multiple || *side > kLargestSide)
      bad("a picture of ", r.width, " x ", r.height, " pixels: both must be multiples of ", multiple, ", at most ",
          kLargestSide);
  }
  if (!r.batch || r.batch > r.seeds.size())
    r.batch = r.seeds.size();
  if (!r.tileSampleMinSize)
    r.tileSampleMinSize = sampleSize;
  if (r.tileOverlapFactor == 0)
    r.tileOverlapFactor = kTileOverlap;
  chooseTiling(r);
}

/// Tiles where they are asked for, and where the decoder alone would be beyond the memory limit: the largest of the
/// given size and its halves that it takes.
void Pipeline::chooseTiling(PipelineRequest &r) const {
  const size_t unit = scale * kPatch;
  if (r.vaeTiling == FLAME_TILING_ON) {
    const Tiling tiling = makeTiling(r.tileSampleMinSize, r.tileOverlapFactor, scale, unit);
    r.tiling = tiling.divides(r.width, r.height) ? tiling : Tiling();
  }
  if (r.vaeTiling != FLAME_TILING_AUTO || !memoryLimit)
    return;
  const auto fits = [&] { return parts[kVae].planned(shapesOf(r)[kVae]).all() <= memoryLimit; };
  if (fits())
    return;
  for (size_t side = r.tileSampleMinSize; side >= std::min(r.tileSampleMinSize, kSmallestTile * scale); side /= 2) {
    if (!isTiling(side, r.tileOverlapFactor, scale, unit))
      continue;
    r.tiling = makeTiling(side, r.tileOverlapFactor, scale, unit);
    if (r.tiling.divides(r.width, r.height) && fits())
      return;
  }
  r.tiling = {};
}

// ---- memory

/// Of the inputs of each part's runs, the largest where they differ.
std::array<NamedShapes, Pipeline::kParts.size()> Pipeline::shapesOf(const PipelineRequest &r) const {
  const size_t rows = r.height / scale / kPatch, columns = r.width / scale / kPatch,
               channels = latentChannels * kPatch * kPatch;
  const size_t tile = r.tiling.side ? r.tiling.side / scale / kPatch : std::max(rows, columns);
  // Widths of the texts are those that the transformer's ports say, which the planner checks against its own.
  return {{{{"input_ids", shapeOf({1, clipTokenizer->modelMaxLength()})}},
           {{"input_ids", shapeOf({1, r.textTokens})}},
           {{"hidden_states", shapeOf({r.batch, rows * columns, channels})},
            {"encoder_hidden_states",
             shapeOf({r.batch, r.textTokens, parts[kTransformer].fixedDim("encoder_hidden_states", 2)})},
            {"pooled_projections", shapeOf({r.batch, parts[kTransformer].fixedDim("pooled_projections", 1)})},
            {"step", {}},
            {"timesteps", shapeOf({r.steps})},
            {"step_sizes", shapeOf({r.steps})},
            {"img_ids", shapeOf({rows * columns, axes})},
            {"txt_ids", shapeOf({r.textTokens, axes})},
            {"guidance", shapeOf({r.batch})}},
           {{"tokens", shapeOf({1, std::min(rows, tile), std::min(columns, tile), channels})}}}};
}

std::vector<PartBytes> Pipeline::plan(const PipelineRequest &request) const {
  const auto shapes = shapesOf(request);
  std::vector<PartBytes> needed;
  for (size_t i = 0; i < parts.size(); ++i)
    needed.push_back(parts[i].planned(shapes[i]));
  return needed;
}

Pipeline::Plan Pipeline::planned(PipelineRequest request) {
  complete(request);
  const std::vector<PartBytes> needed = plan(request);
  std::array<PartBytes, kParts.size()> each;
  std::copy(needed.begin(), needed.end(), each.begin());
  return {peakOf(needed, memoryLimit), each, request.tiling.side};
}

/// Makes room for a part, and brings its weights to where they are used.
void Pipeline::enter(size_t part, const PipelineRequest &request) {
  checkCancelled();
  const Clock::time_point begin = Clock::now();
  if (memoryLimit) {
    const PartBytes needed = plan(request)[part];
    std::vector<PartBytes> held;
    for (const Part &each : parts)
      held.push_back(each.held());
    for (const Eviction &eviction : evictionsFor(part, needed, held, memoryLimit))
      parts[eviction.part].unload(eviction.weightsToo);
  }
  if (parts[part].isLoaded())
    return;
  parts[part].load(/*inStream=*/part == kTransformer);
  ++statistics.partsLoaded;
  statistics.loading += since(begin);
}

void Pipeline::noteMemory(size_t running) {
  uint64_t held = 0;
  for (size_t i = 0; i < parts.size(); ++i)
    held += i == running ? parts[i].peak() : parts[i].held().all();
  statistics.peak = std::max(statistics.peak, held);
}

void Pipeline::profile(bool enable) {
  const std::lock_guard lock(runMutex);
  for (Part &part : parts)
    part.profile(enable);
}

// ---- stages

void Pipeline::checkCancelled() const {
  if (cancelled)
    fail(FLAME_CANCELLED, "the run was cancelled");
}

NamedValues Pipeline::run(size_t part, const NamedValues &inputs, std::initializer_list<const char *> wanted) {
  const RunningPart scope(running, parts[part]);
  checkCancelled();
  NamedValues outputs = parts[part].run(inputs, wanted);
  noteMemory(part);
  return outputs;
}

/// What the transformer takes of each prompt. One encoder has done its work before the other one begins.
std::vector<Pipeline::Text> Pipeline::encode(const PipelineRequest &r) {
  StageClock clock(*this, r, FLAME_STAGE_ENCODE, r.prompts.size());
  std::vector<Text> texts;
  std::map<std::string, std::vector<size_t>> unknown;
  for (const std::string &prompt : r.prompts) {
    texts.push_back(cache.find(prompt, r.textTokens));
    if (texts.back())
      clock.step();
    else
      unknown[prompt].push_back(texts.size() - 1);
  }
  const auto ids = [](const Tokenizer &tokenizer, const std::string &text, size_t length) {
    const Encoding encoding = tokenizer.encode(text, length);
    const std::vector<int64_t> wide(encoding.ids.begin(), encoding.ids.end());
    return Value::tensor<int64_t>(shapeOf({1, wide.size()}), wide);
  };
  const Part &transformer = parts[kTransformer];
  std::map<std::string, Value> pooled;
  for (const auto &[prompt, places] : unknown) {
    enter(kClip, r);
    const Value output =
        run(kClip, {{"input_ids", ids(*clipTokenizer, prompt, 0)}}, {"pooler_output"}).at("pooler_output");
    pooled[prompt] = converted(output, transformer.input("pooled_projections", 2));
  }
  for (const auto &[prompt, places] : unknown) {
    enter(kT5, r);
    constexpr const char *port = "last_hidden_state";
    const Value output = run(kT5, {{"input_ids", ids(*t5Tokenizer, prompt, r.textTokens)}}, {port}).at(port);
    const Value states = converted(output, transformer.input("encoder_hidden_states", 3));
    const Text text = cache.add({prompt, r.textTokens, states, pooled[prompt]});
    ++statistics.textsEncoded;
    for (const size_t place : places) {
      texts[place] = text;
      clock.step();
    }
  }
  return texts;
}

/// Tokens of noise for pictures `first` and on: each picture's is drawn by its own generator, as [channels, rows,
/// columns], and a token holds a patch of all channels.
Value Pipeline::noise(const PipelineRequest &r, size_t first, size_t count) const {
  const size_t rows = r.height / scale, columns = r.width / scale, tokensDown = rows / kPatch,
               tokensAcross = columns / kPatch;
  const size_t size = latentChannels * rows * columns;
  Value out = Value::tensor(type, shapeOf({count, tokensDown * tokensAcross, latentChannels * kPatch * kPatch}));
  withFloatType(type, [&]<typename Type>(Type) {
    std::vector<typename Type::Storage> drawn(size);
    auto *to = static_cast<typename Type::Storage *>(out.data());
    for (size_t picture = first; picture < first + count; ++picture) {
      if (r.generator == FLAME_GENERATOR_CUDA)
        makeCudaGenerator(r.seeds[picture], device).normal(type, drawn.data(), size);
      else
        CpuGenerator(r.seeds[picture]).normal(type, drawn.data(), size);
      for (size_t y = 0; y < tokensDown; ++y)
        for (size_t x = 0; x < tokensAcross; ++x)
          for (size_t c = 0; c < latentChannels; ++c)
            for (size_t i = 0; i < kPatch; ++i)
              for (size_t j = 0; j < kPatch; ++j)
                *to++ = drawn[(c * rows + y * kPatch + i) * columns + x * kPatch + j];
    }
  });
  return out;
}

/// Positions: 0, row, column. What is beyond three axes stays 0.
Value Pipeline::imageIds(size_t rows, size_t columns) const {
  const flame_dtype idType = parts[kTransformer].input("img_ids", 2);
  Value ids = filled(idType, shapeOf({rows * columns, axes}), 0);
  withFloatType(idType, [&]<typename Type>(Type) {
    auto *to = static_cast<typename Type::Storage *>(ids.data());
    for (size_t i = 0; i < rows * columns; ++i) {
      to[i * axes + 1] = Type::store(static_cast<float>(i / columns));
      to[i * axes + 2] = Type::store(static_cast<float>(i % columns));
    }
  });
  return ids;
}

void Pipeline::denoise(const PipelineRequest &r, Batch &batch, const std::vector<Text> &texts, StageClock &clock) {
  enter(kTransformer, r);
  Part &part = parts[kTransformer];
  const RunningPart scope(running, part);
  std::vector<Value> states, pooled;
  for (size_t picture = batch.first; picture < batch.first + batch.count; ++picture) {
    states.push_back(texts[picture / r.images]->states);
    pooled.push_back(texts[picture / r.images]->pooled);
  }
  std::vector<float> timesteps, stepSizes;
  for (size_t i = 0; i < scheduler->steps(); ++i) {
    // The model multiplies by 1000 again.
    timesteps.push_back(roundedTo(type, roundedTo(type, scheduler->timesteps[i]) / 1000.0f));
    stepSizes.push_back(scheduler->sigmas[i + 1] - scheduler->sigmas[i]);
  }
  NamedValues inputs = {
      {"hidden_states", noise(r, batch.first, batch.count)},
      {"encoder_hidden_states", stacked(states)},
      {"pooled_projections", stacked(pooled)},
      {"step", Value::tensor<int64_t>({}, std::array<int64_t, 1>{0})},
      {"timesteps", Value::tensor<float>(shapeOf({timesteps.size()}), timesteps)},
      {"step_sizes", Value::tensor<float>(shapeOf({stepSizes.size()}), stepSizes)},
      {"img_ids", imageIds(r.height / scale / kPatch, r.width / scale / kPatch)},
      {"txt_ids", filled(part.input("txt_ids", 2), shapeOf({r.textTokens, axes}), 0)},
  };
  if (guided)
    inputs["guidance"] = filled(part.input("guidance", 1), shapeOf({batch.count}), static_cast<float>(r.guidance));
  for (auto &[name, value] : inputs)
    value = part.upload(value);
  // A step's outputs are the next one's inputs, in the same memory: nothing comes to the CPU, and nobody waits but for
  // a step that is to be reported.
  const NamedValues outputs = {{"sample", inputs["hidden_states"]}, {"next_step", inputs["step"]}};
  for (size_t i = 0; i < scheduler->steps(); ++i) {
    checkCancelled();
    part.runInto(inputs, outputs);
    if (r.progress)
      part.wait();
    clock.step();
  }
  part.wait();
  noteMemory(kTransformer);
  batch.latents = outputs.at("sample");
}

std::string Pipeline::parametersOf(const PipelineRequest &r, size_t picture) const {
  nlohmann::ordered_json parameters = {{"prompt", r.prompts[picture / r.images]},
                                       {"seed", r.seeds[picture]},
                                       {"steps", r.steps},
                                       {"width", r.width},
                                       {"height", r.height}};
  if (guided)
    parameters["guidance"] = r.guidance;
  parameters["generator"] = r.generator == FLAME_GENERATOR_CUDA ? "cuda" : "cpu";
  parameters["type"] = flame_dtype_name(type);
  std::string model = folder;
  while (model.size() > 1 && model.back() == '/')
    model.pop_back();
  parameters["model"] = model.substr(model.rfind('/') + 1);
  parameters["software"] = std::string("flame ") + flame_version();
  return parameters.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Picture `index` of the latents; it is number `picture` of the request.
Picture Pipeline::decode(const PipelineRequest &r, const Value &latents, size_t index, size_t picture) {
  const size_t rows = r.height / scale / kPatch, columns = r.width / scale / kPatch,
               channels = latentChannels * kPatch * kPatch, size = rows * columns * channels;
  Value tokens = viewOf(latents, index * size, shapeOf({1, rows, columns, channels}));
  if (const flame_dtype wanted = parts[kVae].input("tokens", 4); wanted != type)
    tokens = converted(tokens.device() < 0 ? tokens : tokens.copy(), wanted);
  std::vector<uint8_t> pixels;
  int64_t bad = 0;
  if (r.tiling.side) {
    pixels = decodeTiles(r, tokens.device() < 0 ? tokens : tokens.copy(), bad);
  } else {
    const NamedValues outputs = run(kVae, {{"tokens", tokens}}, {"pixels", "not_numbers"});
    const Value &image = outputs.at("pixels");
    requireShape(image, "pixels", {1, r.height, r.width, 3});
    if (image.dtype() != FLAME_U8)
      fail(FLAME_BAD_ARTIFACT, "the VAE's output 'pixels' has no bytes");
    const auto *bytes = static_cast<const uint8_t *>(image.data());
    pixels.assign(bytes, bytes + image.bytes());
    bad = outputs.at("not_numbers").as<int64_t>()[0];
  }
  if (bad)
    fail(FLAME_BAD_DATA, "the picture of seed ", r.seeds[picture], " has ", bad,
         " values that are no numbers: an intermediate value was too large for ", flame_dtype_name(type),
         "; compile the models with bf16 or f32");
  return {r.width, r.height, std::move(pixels), {{"parameters", parametersOf(r, picture)}}};
}

/// The pixels of tokens [1, rows, columns, channels] in CPU memory; adds to `bad` the values of tiles that are no
/// numbers.
std::vector<uint8_t> Pipeline::decodeTiles(const PipelineRequest &r, const Value &tokens, int64_t &bad) {
  const size_t unit = scale * kPatch, columns = r.width / unit,
               token = latentChannels * kPatch * kPatch * flame_dtype_size(tokens.dtype());
  TiledPicture picture(r.width, r.height, r.tiling);
  for (size_t y = 0; y < r.height; y += r.tiling.step)
    for (size_t x = 0; x < r.width; x += r.tiling.step) {
      const size_t width = picture.tileWidth(x), height = picture.tileHeight(y);
      Value part =
          Value::tensor(tokens.dtype(), shapeOf({1, height / unit, width / unit, latentChannels * kPatch * kPatch}));
      for (size_t row = 0; row < height / unit; ++row)
        std::memcpy(static_cast<char *>(part.data()) + row * (width / unit) * token,
                    static_cast<const char *>(tokens.data()) + ((y / unit + row) * columns + x / unit) * token,
                    width / unit * token);
      const NamedValues outputs = run(kVae, {{"tokens", part}}, {"sample", "not_numbers"});
      const Value &sample = outputs.at("sample");
      requireShape(sample, "sample", {1, 3, height, width});
      picture.add(x, y, sample.dtype(), sample.data());
      bad += outputs.at("not_numbers").as<int64_t>()[0];
    }
  return picture.take();
}

std::vector<Picture> Pipeline::generate(PipelineRequest request) {
  const std::lock_guard lock(runMutex);
  complete(request);
  cancelled = false;
  statistics = {};
  if (memoryLimit) {
    const std::vector<PartBytes> needed = plan(request);
    for (size_t i = 0; i < parts.size(); ++i)
      if (needed[i].all() > memoryLimit)
        fail(FLAME_OUT_OF_MEMORY, "the memory limit is ", bytesText(memoryLimit), ", and ", parts[i].name,
             " alone needs ", bytesText(needed[i].all()), ", ", bytesText(needed[i].weights),
             " of them for its weights; raise the limit, make smaller pictures, ",
             i == kVae ? "or decode them in smaller tiles" : "or fewer at once (batch)");
  }
  scheduler->prepare(request.steps, request.width / scale / kPatch * (request.height / scale / kPatch));
  const std::vector<Text> texts = encode(request);
  const size_t count = request.seeds.size();
  std::vector<Batch> batches;
  for (size_t first = 0; first < count; first += request.batch)
    batches.push_back({first, std::min(request.batch, count - first), {}});
  {
    StageClock clock(*this, request, FLAME_STAGE_DENOISE, batches.size() * scheduler->steps());
    for (Batch &batch : batches)
      denoise(request, batch, texts, clock);
  }
  std::vector<Picture> pictures;
  StageClock clock(*this, request, FLAME_STAGE_DECODE, count);
  for (const Batch &batch : batches)
    for (size_t i = 0; i < batch.count; ++i) {
      enter(kVae, request);
      pictures.push_back(decode(request, batch.latents, i, batch.first + i));
      clock.step();
    }
  return pictures;
}

void Pipeline::cancel() {
  cancelled = true;
  if (Part *part = running)
    part->cancel();
}

} // namespace flame::diffusion
