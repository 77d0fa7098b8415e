//===- Scheduler.h - noise schedules and the steps along them --------------===//
//
// The schedulers of diffusers that a folder's scheduler_config.json names: FlowMatchEulerDiscreteScheduler,
// EulerDiscreteScheduler, DDIMScheduler. Timesteps, sigmas and steps are rounded where diffusers (on NumPy and PyTorch)
// rounds them.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_SCHEDULER_H
#define FLAME_DIFFUSION_SCHEDULER_H

#include "Json.h"
#include "flame_rt.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

namespace flame::diffusion {

inline constexpr int64_t kMostTrainSteps = 1'000'000;

/// How the sigmas of a schedule are spread.
enum class Spread { AsIs, Karras, Exponential };
/// use_karras_sigmas and its like. Throws Error(FLAME_UNSUPPORTED) for use_beta_sigmas, FLAME_BAD_DATA for two of them.
Spread readSpread(const Json &config);
/// `count` sigmas from `first` down to `last`. Karras et al., 2022, with rho 7; or geometric.
std::vector<double> spreadSigmas(Spread spread, double first, double last, size_t count);

class Scheduler {
public:
  virtual ~Scheduler() = default;

  /// Prepares `steps` steps. `imageTokens` is the number of tokens an image has in the transformer: schedules with
  /// dynamic shifting depend on it. Throws Error(FLAME_INVALID_ARGUMENT) for no steps, or more than there are.
  virtual void prepare(size_t steps, size_t imageTokens) = 0;

  size_t steps() const { return timesteps.size(); }
  /// What the model is told of each step.
  std::vector<float> timesteps;
  /// Noise before each step and after the last one; empty where the schedule is not given by sigmas (DDIM).
  std::vector<float> sigmas;
  /// Deviation of the noise to begin with.
  virtual float initialScale() const { return 1; }

  /// What the model gets in place of the sample, in place; `sample` has `count` elements of `type` (f32, f16, bf16).
  virtual void scaleInput(size_t step, flame_dtype type, void *sample, size_t count) const;
  /// Goes from the noise of `step` to that of the next one: `sample` becomes the next sample, in place. Computes in
  /// f32, as diffusers does for model outputs of `type`.
  virtual void step(size_t step, flame_dtype type, const void *prediction, void *sample, size_t count) const = 0;

protected:
  void checkStep(size_t step) const;
};

/// Reads scheduler_config.json at `path`. Errors: FLAME_IO, FLAME_BAD_DATA, FLAME_UNSUPPORTED.
std::unique_ptr<Scheduler> loadScheduler(const std::string &path);

std::unique_ptr<Scheduler> makeFlowMatchEuler(const Json &config);
std::unique_ptr<Scheduler> makeEuler(const Json &config);
std::unique_ptr<Scheduler> makeDdim(const Json &config);

} // namespace flame::diffusion

#endif
