//===- FlowMatchEuler.cpp - FlowMatchEulerDiscreteScheduler ----------------===//
//
// Sigmas fall from 1 to 1/N evenly, are shifted (by a constant, or by one that grows with the image), and give the
// timesteps. A step is Euler's: sample += (next sigma - sigma) * prediction.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Scheduler.h"

#include <cmath>

namespace flame::diffusion {

namespace {

class FlowMatchEuler final : public Scheduler {
public:
  explicit FlowMatchEuler(const Json &config) {
    trainSteps = config.integer("num_train_timesteps", 1000, 1, kMostTrainSteps);
    shift = config.number("shift", 1);
    dynamic = config.boolean("use_dynamic_shifting", false);
    baseShift = config.number("base_shift", 0.5);
    maxShift = config.number("max_shift", 1.15);
    baseTokens = config.integer("base_image_seq_len", 256, 1, 1 << 30);
    maxTokens = config.integer("max_image_seq_len", 4096, 1, 1 << 30);
    spread = readSpread(config);
    invert = config.boolean("invert_sigmas", false);
    terminal = config.number("shift_terminal", 0);
    const std::string kind = config.string("time_shift_type", "exponential");
    linear = kind == "linear";
    if (!linear && kind != "exponential")
      config.fail("time_shift_type must be 'exponential' or 'linear', not '" + kind + "'");
    if (config.boolean("stochastic_sampling", false))
      rt::fail(FLAME_UNSUPPORTED, config.file(), ": stochastic_sampling is not supported; remove it");
    if (!(shift > 0) || terminal < 0 || terminal >= 1)
      config.fail("shift must be positive, and shift_terminal in [0, 1)");
    if (dynamic && baseTokens == maxTokens)
      config.fail("base_image_seq_len and max_image_seq_len must differ where use_dynamic_shifting is set");
  }

  void prepare(size_t count, size_t imageTokens) override {
    if (count == 0 || count > static_cast<size_t>(trainSteps))
      rt::fail(FLAME_INVALID_ARGUMENT, count, " steps: this schedule has 1 to ", trainSteps);
    if (dynamic && imageTokens == 0)
      rt::fail(FLAME_INVALID_ARGUMENT,
               "this schedule has dynamic shifting: the number of image tokens must be given");
    std::vector<float> levels(count);
    const double least = 1.0 / static_cast<double>(count);
    const double step = count > 1 ? (least - 1) / static_cast<double>(count - 1) : 0;
    for (size_t i = 0; i < count; ++i)
      levels[i] = static_cast<float>(i + 1 == count && count > 1 ? least : static_cast<double>(i) * step + 1);
    if (dynamic) {
      const double slope = (maxShift - baseShift) / static_cast<double>(maxTokens - baseTokens);
      const double mu = static_cast<double>(imageTokens) * slope + (baseShift - slope * static_cast<double>(baseTokens));
      const float e = static_cast<float>(linear ? mu : std::exp(mu));
      for (float &s : levels)
        s = e / (e + (1.0f / s - 1.0f));
    } else {
      const float by = static_cast<float>(shift), less = static_cast<float>(shift - 1);
      for (float &s : levels)
        s = by * s / (1.0f + less * s);
    }
    if (terminal > 0) {
      const float scale = (1.0f - levels.back()) / static_cast<float>(1 - terminal);
      for (float &s : levels)
        s = 1.0f - (1.0f - s) / scale;
    }
    if (spread != Spread::AsIs) {
      const auto wide = spreadSigmas(spread, levels.front(), levels.back(), count);
      for (size_t i = 0; i < count; ++i)
        levels[i] = static_cast<float>(wide[i]);
    }
    if (invert)
      for (float &s : levels)
        s = 1.0f - s;
    timesteps.clear();
    for (const float s : levels)
      timesteps.push_back(s * static_cast<float>(trainSteps));
    sigmas = std::move(levels);
    sigmas.push_back(invert ? 1.0f : 0.0f);
  }

  void step(size_t i, flame_dtype type, const void *prediction, void *sample, size_t count) const override {
    checkStep(i);
    const float dt = sigmas[i + 1] - sigmas[i];
    withFloatType(type, [&]<typename Type>(Type) {
      const auto *p = static_cast<const typename Type::Storage *>(prediction);
      auto *s = static_cast<typename Type::Storage *>(sample);
      // PyTorch multiplies a tensor by a tensor of one element in the type of the former, the number rounded to it, too.
      const float by = rounded<Type>(dt);
      for (size_t k = 0; k < count; ++k)
        s[k] = Type::store(Type::load(s[k]) + rounded<Type>(by * Type::load(p[k])));
    });
  }

private:
  int64_t trainSteps, baseTokens, maxTokens;
  double shift, baseShift, maxShift, terminal;
  Spread spread;
  bool dynamic, invert, linear;
};

} // namespace

std::unique_ptr<Scheduler> makeFlowMatchEuler(const Json &config) { return std::make_unique<FlowMatchEuler>(config); }

} // namespace flame::diffusion
