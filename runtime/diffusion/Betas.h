//===- Betas.h - the variances that a model was trained with ---------------===//
#ifndef FLAME_DIFFUSION_BETAS_H
#define FLAME_DIFFUSION_BETAS_H

#include "Json.h"

#include <vector>

namespace flame::diffusion {

/// What EulerDiscreteScheduler and DDIMScheduler share.
struct TrainedNoise {
  explicit TrainedNoise(const Json &config);

  enum class Prediction { Epsilon, Sample, Velocity };
  enum class Spacing { Linspace, Leading, Trailing };

  /// Products of 1 - beta up to each train step.
  std::vector<float> alphasCumprod;
  Prediction prediction = Prediction::Epsilon;
  Spacing spacing = Spacing::Leading;
  int64_t stepsOffset = 0;
  bool zeroTerminal = false; // rescale_betas_zero_snr

  /// Train steps of a schedule of `count` steps, the noisiest first, as real numbers; whole ones where `whole` says so.
  /// Throws Error(FLAME_INVALID_ARGUMENT) where `count` is not in 1 … the number of train steps.
  std::vector<double> spaced(size_t count, bool whole) const;

  /// Where timestep_spacing is missing: the default of its class.
  static Spacing readSpacing(const Json &config, const char *otherwise);
};

} // namespace flame::diffusion

#endif
