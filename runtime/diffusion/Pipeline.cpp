//===- Pipeline.cpp - from prompts to pictures -----------------------------===//

#include "Pipeline.h"

#include "Elements.h"
#include "Error.h"
#include "Files.h"
#include "Image.h"
#include "Random.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <variant>

namespace flame::diffusion {

using rt::fail;

namespace {

constexpr size_t kPatch = 2;        // latent pixels each way that make a token
constexpr size_t kSampleSize = 128; // latent pixels of the size that FLUX was made for
constexpr size_t kMostTextTokens = 512;
constexpr size_t kLargestSide = 1 << 16;
constexpr size_t kMostPictures = 1 << 16;
constexpr size_t kCachedTexts = 32;

std::vector<int64_t> shape(std::initializer_list<size_t> dims) { return {dims.begin(), dims.end()}; }

/// A tensor of another float type, rounded.
Value converted(const Value &value, flame_dtype type) {
  if (value.dtype() == type)
    return value;
  Value out = Value::tensor(type, value.dims());
  withFloatType(value.dtype(), [&]<typename From>(From) {
    withFloatType(type, [&]<typename To>(To) {
      const auto *from = static_cast<const typename From::Storage *>(value.data());
      auto *to = static_cast<typename To::Storage *>(out.data());
      for (size_t i = 0, n = value.elements(); i < n; ++i)
        to[i] = To::store(From::load(from[i]));
    });
  });
  return out;
}

/// A tensor of one float type whose elements are all x.
Value filled(flame_dtype type, const std::vector<int64_t> &dims, float x) {
  Value out = Value::tensor(type, dims);
  withFloatType(type, [&]<typename Type>(Type) {
    auto *to = static_cast<typename Type::Storage *>(out.data());
    std::fill_n(to, out.elements(), Type::store(x));
  });
  return out;
}

/// `x` as a tensor of the type would keep it.
float roundedTo(flame_dtype type, float x) {
  withFloatType(type, [&]<typename Type>(Type) { x = rounded<Type>(x); });
  return x;
}

/// One tensor [n, …] of n tensors [1, …] of the same shape.
Value stacked(const std::vector<Value> &values) {
  std::vector<int64_t> dims(values[0].dims().begin(), values[0].dims().end());
  dims[0] = static_cast<int64_t>(values.size());
  Value out = Value::tensor(values[0].dtype(), dims);
  auto *to = static_cast<char *>(out.data());
  for (const Value &value : values) {
    std::memcpy(to, value.data(), value.bytes());
    to += value.bytes();
  }
  return out;
}

} // namespace

/// Times a stage and reports its steps.
class Pipeline::StageClock {
public:
  StageClock(Pipeline &pipeline, const PipelineRequest &request, flame_stage stage, size_t steps)
      : pipeline(pipeline), request(request), progress{stage, 0, steps, 0}, before(pipeline.stageSeconds[stage]) {
    report();
  }
  void step() {
    ++progress.step;
    report();
  }

private:
  void report() {
    progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    pipeline.stageSeconds[progress.stage] = before + progress.seconds;
    if (request.progress && !request.progress(progress))
      pipeline.cancelled = true;
    if (pipeline.cancelled)
      fail(FLAME_CANCELLED, "the run was cancelled");
  }

  Pipeline &pipeline;
  const PipelineRequest &request;
  flame_progress progress;
  double before;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
};

Pipeline::Pipeline(const std::string &folder, const std::string &artifacts, const Options &options)
    : folder(folder), device(options.device) {
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
  latentChannels = static_cast<size_t>(vaeConfig.at("latent_channels").integer(1, 1 << 16));
  latentScale = vaeConfig.at("scaling_factor").number();
  latentShift = vaeConfig.number("shift_factor", 0);
  if (latentScale == 0)
    vaeConfig.fail("scaling_factor must not be 0");
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
  scheduler = loadScheduler(joinPath(joinPath(folder, "scheduler"), "scheduler_config.json"));
  for (const char *part : kParts)
    parts.emplace_back(folder, artifacts, part, options);
  for (Part *encoder : {&clip(), &t5()})
    encoder->input("input_ids", 2);
  clip().output("pooler_output", 2);
  t5().output("last_hidden_state", 3);
  type = transformer().input("hidden_states", 3);
  for (const auto &[port, rank] : {std::pair{"encoder_hidden_states", 3},
                                   {"pooled_projections", 2},
                                   {"timestep", 1},
                                   {"img_ids", 2},
                                   {"txt_ids", 2}})
    transformer().input(port, rank);
  if (guided)
    transformer().input("guidance", 1);
  transformer().output("sample", 3);
  vae().input("latent", 4);
  vae().output("sample", 4);
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
}

Value Pipeline::run(Part &part, const std::map<std::string, Value> &inputs, const char *port) {
  running = &part;
  struct Reset {
    std::atomic<Part *> &running;
    ~Reset() { running = nullptr; }
  } reset{running};
  if (cancelled)
    fail(FLAME_CANCELLED, "the run was cancelled");
  Value result = part.run(inputs, port);
  uint64_t held = 0;
  for (const Part &other : parts)
    held += &other == &part ? other.memory().second : other.memory().first;
  peakBytes = std::max(peakBytes, held);
  return result;
}

const Pipeline::Encoded &Pipeline::encode(const std::string &prompt, size_t tokens) {
  const auto known = std::find_if(cache.begin(), cache.end(),
                                  [&](const Encoded &e) { return e.prompt == prompt && e.tokens == tokens; });
  if (known != cache.end())
    return *known;
  const auto ids = [](const Tokenizer &tokenizer, const std::string &text, size_t length) {
    const Encoding encoding = tokenizer.encode(text, length);
    const std::vector<int64_t> wide(encoding.ids.begin(), encoding.ids.end());
    return Value::tensor<int64_t>(shape({1, wide.size()}), wide);
  };
  Encoded encoded{prompt, tokens, {}, {}};
  encoded.pooled = run(clip(), {{"input_ids", ids(*clipTokenizer, prompt, 0)}}, "pooler_output");
  encoded.states = run(t5(), {{"input_ids", ids(*t5Tokenizer, prompt, tokens)}}, "last_hidden_state");
  encoded.pooled = converted(encoded.pooled, transformer().input("pooled_projections", 2));
  encoded.states = converted(encoded.states, transformer().input("encoder_hidden_states", 3));
  return cache.emplace_back(std::move(encoded));
}

/// Tokens of noise for pictures `first` and on: each picture's is drawn by its own generator, as [channels, rows,
/// columns], and a token holds a patch of all channels.
Value Pipeline::noise(const PipelineRequest &r, size_t first, size_t count) const {
  const size_t rows = r.height / scale, columns = r.width / scale, tokensDown = rows / kPatch,
               tokensAcross = columns / kPatch;
  const size_t size = latentChannels * rows * columns;
  Value out = Value::tensor(type, shape({count, tokensDown * tokensAcross, latentChannels * kPatch * kPatch}));
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
    const float initial = scheduler->initialScale();
    if (initial != 1)
      for (auto *p = static_cast<typename Type::Storage *>(out.data()); p != to; ++p)
        *p = Type::store(Type::load(*p) * initial);
  });
  return out;
}

Value Pipeline::denoise(const PipelineRequest &r, size_t first, size_t count, const std::vector<size_t> &encoded,
                        StageClock &clock) {
  const size_t rows = r.height / scale / kPatch, columns = r.width / scale / kPatch;
  std::vector<Value> states, pooled;
  for (size_t picture = first; picture < first + count; ++picture) {
    const Encoded &text = cache[encoded[picture / r.images]];
    states.push_back(text.states);
    pooled.push_back(text.pooled);
  }
  // Positions: 0, row, column. What is beyond three axes stays 0.
  const flame_dtype idType = transformer().input("img_ids", 2);
  Value imageIds = filled(idType, shape({rows * columns, axes}), 0);
  withFloatType(idType, [&]<typename Type>(Type) {
    auto *to = static_cast<typename Type::Storage *>(imageIds.data());
    for (size_t i = 0; i < rows * columns; ++i) {
      to[i * axes + 1] = Type::store(static_cast<float>(i / columns));
      to[i * axes + 2] = Type::store(static_cast<float>(i % columns));
    }
  });
  std::map<std::string, Value> inputs = {
      {"encoder_hidden_states", stacked(states)},
      {"pooled_projections", stacked(pooled)},
      {"img_ids", imageIds},
      {"txt_ids", filled(transformer().input("txt_ids", 2), shape({r.textTokens, axes}), 0)},
  };
  if (guided)
    inputs["guidance"] = filled(transformer().input("guidance", 1), shape({count}), static_cast<float>(r.guidance));
  Value latents = noise(r, first, count);
  const flame_dtype timeType = transformer().input("timestep", 1);
  for (size_t i = 0; i < scheduler->steps(); ++i) {
    Value scaled = latents;
    if (scheduler->initialScale() != 1) { // schedules of sigmas beyond 1 scale what the model sees
      scaled = Value::tensor(type, latents.dims());
      std::memcpy(scaled.data(), latents.data(), latents.bytes());
      scheduler->scaleInput(i, type, scaled.data(), scaled.elements());
    }
    inputs["hidden_states"] = scaled;
    // The model multiplies by 1000 again.
    const float time = roundedTo(type, roundedTo(type, scheduler->timesteps[i]) / 1000.0f);
    inputs["timestep"] = filled(timeType, shape({count}), time);
    const Value prediction = run(transformer(), inputs, "sample");
    if (prediction.dtype() != type || prediction.elements() != latents.elements())
      fail(FLAME_BAD_ARTIFACT, "the transformer's output 'sample' has ", prediction.elements(), " elements of ",
           flame_dtype_name(prediction.dtype()), ", ", latents.elements(), " of ", flame_dtype_name(type), " expected");
    scheduler->step(i, type, prediction.data(), latents.data(), latents.elements());
    clock.step();
  }
  return latents;
}

/// Picture `index` of the tokens; it is number `picture` of the request.
Picture Pipeline::decode(const PipelineRequest &r, const Value &latents, size_t index, size_t picture) {
  const size_t rows = r.height / scale, columns = r.width / scale, across = columns / kPatch;
  const size_t size = latentChannels * rows * columns;
  Value planes = Value::tensor(type, shape({1, latentChannels, rows, columns}));
  withFloatType(type, [&]<typename Type>(Type) {
    const auto *from = static_cast<const typename Type::Storage *>(latents.data()) + index * size;
    auto *to = static_cast<typename Type::Storage *>(planes.data());
    const float by = static_cast<float>(latentScale), shift = static_cast<float>(latentShift);
    for (size_t c = 0; c < latentChannels; ++c)
      for (size_t y = 0; y < rows; ++y)
        for (size_t x = 0; x < columns; ++x) {
          const size_t token = y / kPatch * across + x / kPatch;
          const size_t within = (c * kPatch + y % kPatch) * kPatch + x % kPatch;
          const float value = Type::load(from[token * latentChannels * kPatch * kPatch + within]);
          *to++ = Type::store(rounded<Type>(value / by) + shift);
        }
  });
  const Value image = run(vae(), {{"latent", converted(planes, vae().input("latent", 4))}}, "sample");
  const auto dims = image.dims();
  if (dims.size() != 4 || dims[1] != 3 || static_cast<size_t>(dims[2]) != r.height ||
      static_cast<size_t>(dims[3]) != r.width)
    fail(FLAME_BAD_ARTIFACT, "the VAE's output 'sample' is no picture of three colours and ", r.width, " x ", r.height,
         " pixels");
  Picture out{r.width, r.height, std::vector<uint8_t>(r.width * r.height * 3), {}};
  if (const size_t bad = pixelsOf(image.dtype(), image.data(), r.width, r.height, out.pixels.data()))
    fail(FLAME_BAD_DATA, "the picture of seed ", r.seeds[picture], " has ", bad,
         " values that are no numbers: an intermediate value was too large for ", flame_dtype_name(type),
         "; compile the models with bf16 or f32");
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
  using Handler = nlohmann::json::error_handler_t;
  out.texts.push_back({"parameters", parameters.dump(-1, ' ', false, Handler::replace)});
  return out;
}

std::vector<Picture> Pipeline::generate(PipelineRequest request) {
  const std::lock_guard lock(runMutex);
  complete(request);
  cancelled = false;
  peakBytes = 0;
  stageSeconds = {};
  const size_t tokens = request.width / scale / kPatch * (request.height / scale / kPatch);
  scheduler->prepare(request.steps, tokens);

  if (cache.size() > kCachedTexts) // indices into it are needed below: it is emptied before, never while
    cache.erase(cache.begin(), cache.end() - kCachedTexts);
  std::vector<size_t> encoded;
  {
    StageClock clock(*this, request, FLAME_STAGE_ENCODE, request.prompts.size());
    for (const std::string &prompt : request.prompts) {
      const Encoded &text = encode(prompt, request.textTokens);
      encoded.push_back(static_cast<size_t>(
          std::find_if(cache.begin(), cache.end(), [&](const Encoded &e) { return &e == &text; }) - cache.begin()));
      clock.step();
    }
  }
  std::vector<Picture> pictures;
  for (size_t first = 0; first < request.seeds.size(); first += request.batch) {
    const size_t count = std::min(request.batch, request.seeds.size() - first);
    Value latents;
    {
      StageClock clock(*this, request, FLAME_STAGE_DENOISE, scheduler->steps());
      latents = denoise(request, first, count, encoded, clock);
    }
    StageClock clock(*this, request, FLAME_STAGE_DECODE, count);
    for (size_t i = 0; i < count; ++i) {
      pictures.push_back(decode(request, latents, i, first + i));
      clock.step();
    }
  }
  return pictures;
}

void Pipeline::cancel() {
  cancelled = true;
  if (Part *part = running)
    part->cancel();
}

} // namespace flame::diffusion
