//===- Euler.cpp - EulerDiscreteScheduler ----------------------------------===//
//
// Sigma is sqrt((1 - a) / a) for the product a of a train step. A step follows the derivative of the sample by sigma,
// (sample - what the model takes for the noiseless sample) / sigma, to the next sigma.
//
//===----------------------------------------------------------------------===//

#include "Betas.h"
#include "Elements.h"
#include "Scheduler.h"

#include <algorithm>
#include <cmath>

namespace flame::diffusion {

namespace {

class Euler final : public Scheduler {
public:
  explicit Euler(const Json &config) : noise(config) {
    noise.spacing = TrainedNoise::readSpacing(config, "linspace");
    spread = readSpread(config);
    logLinear = choice(config, "interpolation_type", "linear", "log_linear");
    sigmaMin = config.number("sigma_min", 0);
    sigmaMax = config.number("sigma_max", 0);
    finalIsLeast = choice(config, "final_sigmas_type", "zero", "sigma_min");
    continuous = choice(config, "timestep_type", "discrete", "continuous");
    if (sigmaMin < 0 || sigmaMax < 0)
      config.fail("sigma_min and sigma_max must not be negative");
    if (noise.zeroTerminal)
      noise.alphasCumprod.back() = 0x1p-24f; // so that the first sigma is finite
    for (const float a : noise.alphasCumprod) {
      if (!(a > 0))
        config.fail("reaches a train step without any signal; only rescale_betas_zero_snr may");
      trained.push_back(std::sqrt((1.0f - a) / a));
    }
    continuous &= noise.prediction == TrainedNoise::Prediction::Velocity;
  }

  void prepare(size_t count, size_t) override {
    const std::vector<double> spaced = noise.spaced(count, false);
    std::vector<double> levels;
    if (logLinear)
      levels = logSpaced(count + 1);
    else
      for (const double t : spaced)
        levels.push_back(interpolate(t));
    timesteps.clear();
    if (spread != Spread::AsIs) {
      const double first = sigmaMax > 0 ? sigmaMax : levels.front(), last = sigmaMin > 0 ? sigmaMin : levels.back();
      levels = spreadSigmas(spread, first, last, count);
      for (const double sigma : levels)
        timesteps.push_back(static_cast<float>(timestepOf(sigma)));
    } else {
      timesteps.assign(spaced.begin(), spaced.end());
    }
    levels.push_back(finalIsLeast ? trained.front() : 0);
    sigmas.assign(levels.begin(), levels.end());
    if (continuous) {
      timesteps.clear();
      for (size_t i = 0; i + 1 < sigmas.size(); ++i)
        timesteps.push_back(0.25f * std::log(sigmas[i]));
    }
  }

  float initialScale() const override {
    const float most = sigmas.empty() ? trained.back() : *std::max_element(sigmas.begin(), sigmas.end());
    return noise.spacing == TrainedNoise::Spacing::Leading ? std::sqrt(most * most + 1.0f) : most;
  }

  void scaleInput(size_t i, flame_dtype type, void *sample, size_t count) const override {
    checkStep(i);
    const float by = std::sqrt(sigmas[i] * sigmas[i] + 1.0f);
    withFloatType(type, [&]<typename Type>(Type) {
      auto *s = static_cast<typename Type::Storage *>(sample);
      for (size_t k = 0; k < count; ++k)
        s[k] = Type::store(Type::load(s[k]) / by);
    });
  }

  void step(size_t i, flame_dtype type, const void *prediction, void *sample, size_t count) const override {
    checkStep(i);
    const float sigma = sigmas[i], dt = sigmas[i + 1] - sigma, square = sigma * sigma + 1.0f;
    const float out = -sigma / std::sqrt(square);
    withFloatType(type, [&]<typename Type>(Type) {
      const auto *p = static_cast<const typename Type::Storage *>(prediction);
      auto *s = static_cast<typename Type::Storage *>(sample);
      for (size_t k = 0; k < count; ++k) {
        const float x = Type::load(s[k]), m = Type::load(p[k]);
        // Products of a number and the model's output have its type.
        float original = m;
        if (noise.prediction == TrainedNoise::Prediction::Epsilon)
          original = x - rounded<Type>(sigma * m);
        else if (noise.prediction == TrainedNoise::Prediction::Velocity)
          original = rounded<Type>(m * out) + x / square;
        s[k] = Type::store(x + (x - original) / sigma * dt);
      }
    });
  }

private:
  static bool choice(const Json &config, const char *key, const std::string &no, const std::string &yes) {
    const std::string value = config.string(key, no);
    if (value != no && value != yes)
      config.fail(rt::cat(key, " must be '", no, "' or '", yes, "', not '", value, "'"));
    return value == yes;
  }

  double interpolate(double t) const {
    const auto low = static_cast<size_t>(t);
    if (low + 1 >= trained.size())
      return trained.back();
    const double a = trained[low], b = trained[low + 1];
    return (b - a) * (t - static_cast<double>(low)) + a;
  }

  std::vector<double> logSpaced(size_t count) const {
    const float first = std::log(trained.back()), last = std::log(trained.front());
    const float step = (last - first) / static_cast<float>(count - 1);
    std::vector<double> levels;
    for (size_t i = 0; i < count; ++i)
      levels.push_back(std::exp(i < count / 2 ? first + step * static_cast<float>(i)
                                              : last - step * static_cast<float>(count - i - 1)));
    levels.pop_back(); // the last one is the end of the schedule
    return levels;
  }

  /// Where between the train steps a sigma lies, by its logarithm.
  double timestepOf(double sigma) const {
    const double value = std::log(std::max(sigma, 1e-10));
    size_t low = 0;
    while (low + 2 < trained.size() && value >= std::log(static_cast<double>(trained[low + 1])))
      ++low;
    const double a = std::log(trained[low]), b = std::log(trained[low + 1]);
    const double w = std::clamp((a - value) / (a - b), 0.0, 1.0);
    return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
  }

  TrainedNoise noise;
  std::vector<float> trained; // sigma of each train step, rising
  Spread spread;
  double sigmaMin, sigmaMax;
  bool logLinear, finalIsLeast, continuous;
};

} // namespace

std::unique_ptr<Scheduler> makeEuler(const Json &config) { return std::make_unique<Euler>(config); }

} // namespace flame::diffusion
