//===- Betas.cpp - the variances that a model was trained with -------------===//

#include "Betas.h"

#include "Error.h"
#include "Scheduler.h"

#include <cmath>
#include <numbers>

namespace flame::diffusion {

namespace {

/// torch.linspace in f32: from both ends to the middle.
std::vector<float> linspace(double first, double last, size_t count) {
  const float start = static_cast<float>(first), end = static_cast<float>(last);
  const float step = count > 1 ? (end - start) / static_cast<float>(count - 1) : 0;
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = i < count / 2 ? std::fma(step, static_cast<float>(i), start)
                              : std::fma(-step, static_cast<float>(count - i - 1), end);
  return values;
}

/// torch.cumprod in f32, which multiplies in f64.
std::vector<float> cumulativeProduct(const std::vector<float> &values) {
  std::vector<float> products;
  double product = 1;
  for (const float value : values)
    products.push_back(static_cast<float>(product *= value));
  return products;
}

/// Algorithm 1 of Lin et al., "Common diffusion noise schedules and sample steps are flawed".
void rescaleToZero(std::vector<float> &betas) {
  std::vector<float> alphas;
  for (const float b : betas)
    alphas.push_back(1.0f - b);
  std::vector<float> roots = cumulativeProduct(alphas);
  for (float &r : roots)
    r = std::sqrt(r);
  const float first = roots.front(), last = roots.back(), scale = first / (first - last);
  for (float &r : roots)
    r = (r - last) * scale;
  float before = 1;
  for (size_t i = 0; i < betas.size(); ++i) {
    const float bar = roots[i] * roots[i];
    betas[i] = 1.0f - (i ? bar / before : bar);
    before = bar;
  }
}

} // namespace

TrainedNoise::Spacing TrainedNoise::readSpacing(const Json &config, const char *otherwise) {
  const std::string name = config.string("timestep_spacing", otherwise);
  if (name == "linspace")
    return Spacing::Linspace;
  if (name == "leading")
    return Spacing::Leading;
  if (name == "trailing")
    return Spacing::Trailing;
  config.fail("timestep_spacing must be 'linspace', 'leading' or 'trailing', not '" + name + "'");
}

TrainedNoise::TrainedNoise(const Json &config) {
  const auto count = static_cast<size_t>(config.integer("num_train_timesteps", 1000, 2, kMostTrainSteps));
  const double start = config.number("beta_start", 0.0001), end = config.number("beta_end", 0.02);
  if (!(start > 0) || !(end < 1) || end < start)
    config.fail("beta_start and beta_end must be rising and between 0 and 1");
  const std::string schedule = config.string("beta_schedule", "linear");
  std::vector<float> betas;
  if (const auto given = config.find("trained_betas")) {
    if (!given->isArray() || given->size() != count)
      given->fail(rt::cat("must have one number for each of the ", count, " train steps"));
    for (size_t i = 0; i < count; ++i)
      betas.push_back(static_cast<float>(given->at(i).number()));
  } else if (schedule == "linear") {
    betas = linspace(start, end, count);
  } else if (schedule == "scaled_linear") {
    betas = linspace(std::sqrt(start), std::sqrt(end), count);
    for (float &b : betas)
      b *= b;
  } else if (schedule == "squaredcos_cap_v2") {
    const auto bar = [&](size_t i) {
      const double t = static_cast<double>(i) / static_cast<double>(count);
      const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
      return c * c;
    };
    for (size_t i = 0; i < count; ++i)
      betas.push_back(static_cast<float>(std::min(1 - bar(i + 1) / bar(i), 0.999)));
  } else {
    config.fail("beta_schedule must be 'linear', 'scaled_linear' or 'squaredcos_cap_v2', not '" + schedule + "'");
  }
  zeroTerminal = config.boolean("rescale_betas_zero_snr", false);
  if (zeroTerminal)
    rescaleToZero(betas);
  std::vector<float> alphas;
  for (const float b : betas) {
    if (!(b >= 0) || !(b <= 1))
      config.fail("has a beta outside of [0, 1]");
    alphas.push_back(1.0f - b);
  }
  alphasCumprod = cumulativeProduct(alphas);

  const std::string kind = config.string("prediction_type", "epsilon");
  if (kind == "sample")
    prediction = Prediction::Sample;
  else if (kind == "v_prediction")
    prediction = Prediction::Velocity;
  else if (kind != "epsilon")
    config.fail("prediction_type must be 'epsilon', 'sample' or 'v_prediction', not '" + kind + "'");
  stepsOffset = config.integer("steps_offset", 0, 0, static_cast<int64_t>(count) - 1);
}

std::vector<double> TrainedNoise::spaced(size_t count, bool whole) const {
  const size_t all = alphasCumprod.size();
  if (count == 0 || count > all)
    rt::fail(FLAME_INVALID_ARGUMENT, count, " steps: this schedule has 1 to ", all);
  std::vector<double> steps;
  for (size_t i = 0; i < count; ++i) {
    double t = 0;
    switch (spacing) {
    case Spacing::Linspace: { // from the last one down to 0; NumPy sets the end itself
      const size_t up = count - 1 - i;
      const double step = count > 1 ? static_cast<double>(all - 1) / static_cast<double>(count - 1) : 0;
      t = up + 1 == count && count > 1 ? static_cast<double>(all - 1) : static_cast<double>(up) * step;
      t = whole ? std::nearbyint(t) : static_cast<double>(static_cast<float>(t));
      break;
    }
    case Spacing::Leading:
      t = static_cast<double>((count - 1 - i) * (all / count) + static_cast<size_t>(stepsOffset));
      break;
    case Spacing::Trailing:
      t = std::nearbyint(static_cast<double>(all) -
                         static_cast<double>(i) * (static_cast<double>(all) / static_cast<double>(count))) -
          1;
      break;
    }
    if (t > static_cast<double>(all - 1))
      rt::fail(FLAME_INVALID_ARGUMENT, count, " steps with steps_offset ", stepsOffset, " go beyond the last of the ",
               all, " train steps; take fewer steps");
    steps.push_back(t);
  }
  return steps;
}

} // namespace flame::diffusion
