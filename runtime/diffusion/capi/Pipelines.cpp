//===- Pipelines.cpp - C interface: pipelines ------------------------------===//

#include "Guard.h"
#include "ImageHandle.h"
#include "Pipeline.h"
#include "Unicode.h"

#include <algorithm>
#include <cstring>

using namespace flame;
using namespace flame::diffusion;
using flame::rt::fail;

struct flame_pipeline {
  Pipeline pipeline;
};

namespace {

/// A copy of an options struct that a caller compiled, who may know fewer fields.
template <typename T> T optionsOf(const T *given, const char *name) {
  T options{};
  if (!given)
    return options;
  if (given->struct_size < sizeof(size_t) || given->struct_size > 4096)
    fail(FLAME_INVALID_ARGUMENT, name, "->struct_size is ", given->struct_size, "; it must be sizeof of the struct");
  std::memcpy(static_cast<void *>(&options), given, std::min(given->struct_size, sizeof options));
  return options;
}

/// Fills an options struct of the caller's, who may know fewer fields.
template <typename T> void giveStruct(T &from, T *to, const char *name) {
  const size_t size = given(to, name).struct_size;
  if (size < sizeof(size_t) || size > 4096)
    fail(FLAME_INVALID_ARGUMENT, name, "->struct_size is ", size, "; it must be sizeof of the struct");
  from.struct_size = size;
  std::memcpy(static_cast<void *>(to), &from, std::min(size, sizeof from));
}

PipelineRequest requestOf(const flame_generate_options &options) {
  PipelineRequest request;
  if (options.prompt_count == 0)
    fail(FLAME_INVALID_ARGUMENT, "there is no prompt");
  given(options.prompts, "options->prompts");
  for (size_t i = 0; i < options.prompt_count; ++i) {
    request.prompts.push_back(&given(options.prompts[i], "options->prompts[]"));
    if (const size_t bad = unicode::firstInvalid(request.prompts.back()); bad != std::string::npos)
      fail(FLAME_INVALID_ARGUMENT, "prompt ", i, " is no valid UTF-8 at byte ", bad);
  }
  request.images = options.images ? options.images : 1;
  constexpr size_t most = 1 << 16;
  if (request.images > most || options.prompt_count > most / request.images)
    fail(FLAME_INVALID_ARGUMENT, options.prompt_count, " prompts with ", request.images, " pictures each; at most ",
         most, " pictures are made at once");
  for (size_t i = 0; i < options.prompt_count * request.images; ++i)
    request.seeds.push_back(options.seeds ? options.seeds[i] : options.seed + i % request.images);
  request.steps = options.steps;
  request.width = options.width;
  request.height = options.height;
  request.guidance = options.guidance;
  request.textTokens = options.text_tokens;
  request.batch = options.batch;
  if (options.generator != FLAME_GENERATOR_CPU && options.generator != FLAME_GENERATOR_CUDA)
    fail(FLAME_INVALID_ARGUMENT, "there is no generator of the kind ", static_cast<int>(options.generator));
  request.generator = options.generator;
  if (options.vae_tiling < FLAME_TILING_AUTO || options.vae_tiling > FLAME_TILING_OFF)
    fail(FLAME_INVALID_ARGUMENT, "there is no tiling of the kind ", static_cast<int>(options.vae_tiling));
  request.vaeTiling = options.vae_tiling;
  request.tileSampleMinSize = options.tile_sample_min_size;
  request.tileOverlapFactor = options.tile_overlap_factor;
  if (options.progress)
    request.progress = [function = options.progress, user = options.progress_user](const flame_progress &progress) {
      return function(&progress, user) == 0;
    };
  return request;
}

} // namespace

flame_status *flame_pipeline_load(const char *folder, const flame_pipeline_options *options,
                                  flame_pipeline **pipeline) {
  return guard([&] {
    auto &out = given(pipeline, "pipeline");
    const std::string path = &given(folder, "folder");
    const auto own = optionsOf(options, "options");
    Options each;
    each.memory_limit = own.memory_limit;
    each.threads = own.threads;
    each.device = own.device;
    each.log = own.log;
    each.log_user = own.log_user;
    out = new flame_pipeline{Pipeline(path, own.artifacts ? own.artifacts : path, each)};
  });
}

void flame_pipeline_release(flame_pipeline *pipeline) { delete pipeline; }

const char *flame_pipeline_part(size_t index) {
  return index < Pipeline::kParts.size() ? Pipeline::kParts[index].folder : nullptr;
}
const char *flame_pipeline_part_kind(size_t index) {
  return index < Pipeline::kParts.size() ? Pipeline::kParts[index].kind : nullptr;
}

flame_status *flame_pipeline_generate(flame_pipeline *pipeline, const flame_generate_options *options,
                                      flame_image **images_out) {
  return guard([&] {
    auto &from = given(pipeline, "pipeline");
    given(options, "options");
    given(images_out, "images_out");
    auto pictures = from.pipeline.generate(requestOf(optionsOf(options, "options")));
    std::vector<std::unique_ptr<flame_image>> images;
    for (Picture &picture : pictures) {
      auto image = std::make_unique<flame_image>();
      image->width = picture.width;
      image->height = picture.height;
      image->pixels = std::move(picture.pixels);
      image->texts = std::move(picture.texts);
      images.push_back(std::move(image));
    }
    for (size_t i = 0; i < images.size(); ++i)
      images_out[i] = images[i].release();
  });
}

void flame_pipeline_cancel(flame_pipeline *pipeline) {
  if (pipeline)
    flame_status_free(guard([&] { pipeline->pipeline.cancel(); }));
}

flame_status *flame_pipeline_statistics(const flame_pipeline *pipeline, flame_statistics *statistics) {
  return guard([&] {
    const Pipeline::Statistics &from = given(pipeline, "pipeline").pipeline.statistics;
    flame_statistics out{};
    std::copy(from.stages.begin(), from.stages.end(), out.seconds);
    out.loading_seconds = from.loading;
    out.peak_bytes = from.peak;
    out.texts_encoded = from.textsEncoded;
    out.parts_loaded = from.partsLoaded;
    giveStruct(out, statistics, "statistics");
  });
}

flame_status *flame_pipeline_plan(flame_pipeline *pipeline, const flame_generate_options *options,
                                  flame_memory_plan *plan) {
  return guard([&] {
    given(options, "options");
    const auto [peak, parts, tile] =
        given(pipeline, "pipeline").pipeline.planned(requestOf(optionsOf(options, "options")));
    flame_memory_plan out{};
    out.peak_bytes = peak;
    out.tile_sample_size = tile;
    for (size_t i = 0; i < parts.size(); ++i) {
      out.weight_bytes[i] = parts[i].weights;
      out.run_bytes[i] = parts[i].all() - parts[i].weights;
    }
    giveStruct(out, plan, "plan");
  });
}

flame_status *flame_pipeline_profile(flame_pipeline *pipeline, int enable) {
  return guard([&] { given(pipeline, "pipeline").pipeline.profile(enable != 0); });
}

flame_session *flame_pipeline_session(const flame_pipeline *pipeline, size_t part) {
  return pipeline ? pipeline->pipeline.session(part) : nullptr;
}
