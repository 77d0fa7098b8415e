//===- Parts.cpp - C interface: tokenizers, random numbers, schedules ------===//

#include "Guard.h"
#include "Random.h"
#include "Scheduler.h"
#include "Tokenizer.h"
#include "flame_diffusion.h"

#include <algorithm>
#include <variant>

using namespace flame::diffusion;
using flame::rt::fail;

struct flame_tokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
};
struct flame_generator {
  std::variant<CpuGenerator, CudaGenerator> generator;
};
struct flame_scheduler {
  std::unique_ptr<Scheduler> scheduler;
};

namespace {

std::string_view textArgument(const char *text, size_t bytes) {
  if (bytes == 0)
    return {};
  return {&given(text, "text"), bytes};
}

/// Copies what fits; returns how many there are.
template <typename T> size_t copyOut(const std::vector<T> &from, T *to, size_t capacity) {
  if (to)
    std::copy_n(from.begin(), std::min(capacity, from.size()), to);
  return from.size();
}

} // namespace

flame_status *flame_tokenizer_load(const char *folder, flame_tokenizer **tokenizer) {
  return guard([&] {
    auto &out = given(tokenizer, "tokenizer");
    out = new flame_tokenizer{loadTokenizer(&given(folder, "folder"))};
  });
}
void flame_tokenizer_release(flame_tokenizer *tokenizer) { delete tokenizer; }
size_t flame_tokenizer_max_length(const flame_tokenizer *tokenizer) {
  return tokenizer ? tokenizer->tokenizer->modelMaxLength() : 0;
}

flame_status *flame_tokenizer_encode(const flame_tokenizer *tokenizer, const char *text, size_t bytes, size_t length,
                                     int32_t *ids, size_t *used, size_t *dropped) {
  return guard([&] {
    given(ids, "ids");
    const Encoding encoding = given(tokenizer, "tokenizer").tokenizer->encode(textArgument(text, bytes), length);
    copyOut(encoding.ids, ids, encoding.ids.size());
    if (used)
      *used = encoding.used;
    if (dropped)
      *dropped = encoding.dropped;
  });
}

flame_status *flame_tokenizer_tokens(const flame_tokenizer *tokenizer, const char *text, size_t bytes, int32_t *ids,
                                     size_t capacity, size_t *count) {
  return guard([&] {
    auto &out = given(count, "count");
    if (capacity)
      given(ids, "ids");
    out = copyOut(given(tokenizer, "tokenizer").tokenizer->tokens(textArgument(text, bytes)), ids, capacity);
  });
}

flame_status *flame_generator_create(flame_generator_kind kind, uint64_t seed, flame_generator **generator) {
  return guard([&] {
    auto &out = given(generator, "generator");
    if (kind == FLAME_GENERATOR_CPU)
      out = new flame_generator{CpuGenerator(seed)};
    else if (kind == FLAME_GENERATOR_CUDA)
      out = new flame_generator{makeCudaGenerator(seed, 0)};
    else
      fail(FLAME_INVALID_ARGUMENT, "there is no generator of the kind ", static_cast<int>(kind));
  });
}
void flame_generator_release(flame_generator *generator) { delete generator; }

flame_status *flame_generator_normal(flame_generator *generator, flame_dtype dtype, void *out, size_t count) {
  return guard([&] {
    auto &g = given(generator, "generator");
    if (count)
      given(static_cast<char *>(out), "out");
    std::visit([&](auto &one) { one.normal(dtype, out, count); }, g.generator);
  });
}

flame_status *flame_scheduler_load(const char *path, flame_scheduler **scheduler) {
  return guard([&] {
    auto &out = given(scheduler, "scheduler");
    out = new flame_scheduler{loadScheduler(&given(path, "path"))};
  });
}
void flame_scheduler_release(flame_scheduler *scheduler) { delete scheduler; }

flame_status *flame_scheduler_prepare(flame_scheduler *scheduler, size_t steps, size_t image_tokens) {
  return guard([&] { given(scheduler, "scheduler").scheduler->prepare(steps, image_tokens); });
}
size_t flame_scheduler_timesteps(const flame_scheduler *scheduler, float *timesteps, size_t capacity) {
  return scheduler ? copyOut(scheduler->scheduler->timesteps, timesteps, capacity) : 0;
}
size_t flame_scheduler_sigmas(const flame_scheduler *scheduler, float *sigmas, size_t capacity) {
  return scheduler ? copyOut(scheduler->scheduler->sigmas, sigmas, capacity) : 0;
}
float flame_scheduler_initial_scale(const flame_scheduler *scheduler) {
  return scheduler ? scheduler->scheduler->initialScale() : 1;
}

flame_status *flame_scheduler_scale_input(const flame_scheduler *scheduler, size_t step, flame_dtype dtype,
                                          void *sample, size_t count) {
  return guard([&] {
    if (count)
      given(static_cast<char *>(sample), "sample");
    given(scheduler, "scheduler").scheduler->scaleInput(step, dtype, sample, count);
  });
}

flame_status *flame_scheduler_step(const flame_scheduler *scheduler, size_t step, flame_dtype dtype,
                                   const void *prediction, void *sample, size_t count) {
  return guard([&] {
    if (count) {
      given(static_cast<const char *>(prediction), "prediction");
      given(static_cast<char *>(sample), "sample");
    }
    given(scheduler, "scheduler").scheduler->step(step, dtype, prediction, sample, count);
  });
}
