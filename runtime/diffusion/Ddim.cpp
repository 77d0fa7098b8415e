//===- Ddim.cpp - DDIMScheduler --------------------------------------------===//
//
// Song et al., "Denoising diffusion implicit models", formula (12) without noise (eta 0).
//
//===----------------------------------------------------------------------===//

#include "Betas.h"
#include "Elements.h"
#include "Scheduler.h"

#include <algorithm>
#include <cmath>

namespace flame::diffusion {

namespace {

class Ddim final : public Scheduler {
public:
  explicit Ddim(const Json &config) : noise(config) {
    noise.spacing = TrainedNoise::readSpacing(config, "leading");
    clip = config.boolean("clip_sample", true) ? static_cast<float>(config.number("clip_sample_range", 1)) : 0;
    finalAlpha = config.boolean("set_alpha_to_one", true) ? 1.0f : noise.alphasCumprod.front();
    if (config.boolean("thresholding", false))
      rt::fail(FLAME_UNSUPPORTED, config.file(), ": thresholding is not supported; it is not meant for latents");
    if (config.boolean("clip_sample", true) && !(clip > 0))
      config.fail("clip_sample_range must be positive");
  }

  void prepare(size_t count, size_t) override {
    const std::vector<double> spaced = noise.spaced(count, true);
    timesteps.assign(spaced.begin(), spaced.end());
    alphas.clear();
    const auto stride = static_cast<int64_t>(noise.alphasCumprod.size() / count);
    for (const double t : spaced) {
      const int64_t now = static_cast<int64_t>(t), next = now - stride;
      alphas.push_back({noise.alphasCumprod[now], next >= 0 ? noise.alphasCumprod[next] : finalAlpha});
    }
  }

  void step(size_t i, flame_dtype type, const void *prediction, void *sample, size_t count) const override {
    checkStep(i);
    const auto [now, next] = alphas[i];
    const float a = std::sqrt(now), b = std::sqrt(1.0f - now), c = std::sqrt(next), d = std::sqrt(1.0f - next);
    withFloatType(type, [&]<typename Type>(Type) {
      const auto *p = static_cast<const typename Type::Storage *>(prediction);
      auto *s = static_cast<typename Type::Storage *>(sample);
      const auto r = [](float x) { return rounded<Type>(x); }; // diffusers computes in the model's type
      for (size_t k = 0; k < count; ++k) {
        const float x = Type::load(s[k]), m = Type::load(p[k]);
        float original = m, epsilon = m;
        if (noise.prediction == TrainedNoise::Prediction::Epsilon) {
          original = r(r(x - r(b * m)) / a);
        } else if (noise.prediction == TrainedNoise::Prediction::Sample) {
          epsilon = r(r(x - r(a * m)) / b);
        } else {
          original = r(r(a * x) - r(b * m));
          epsilon = r(r(a * m) + r(b * x));
        }
        if (clip > 0)
          original = std::clamp(original, r(-clip), r(clip));
        s[k] = Type::store(r(c * original) + r(d * epsilon));
      }
    });
  }

private:
  struct Alphas {
    float now, next;
  };
  TrainedNoise noise;
  float clip, finalAlpha;
  std::vector<Alphas> alphas; // of each step
};

} // namespace

std::unique_ptr<Scheduler> makeDdim(const Json &config) { return std::make_unique<Ddim>(config); }

} // namespace flame::diffusion
