//===- Scheduler.cpp - noise schedules, what they share --------------------===//

#include "Scheduler.h"

#include "Error.h"

#include <cmath>

namespace flame::diffusion {

void Scheduler::checkStep(size_t step) const {
  if (step >= steps())
    rt::fail(FLAME_INVALID_ARGUMENT, "step ", step, " of a schedule of ", steps(), " steps");
}

void Scheduler::scaleInput(size_t step, flame_dtype, void *, size_t) const { checkStep(step); }

Spread readSpread(const Json &config) {
  if (config.boolean("use_beta_sigmas", false))
    rt::fail(FLAME_UNSUPPORTED, config.file(),
             ": use_beta_sigmas is not supported; use_karras_sigmas and use_exponential_sigmas are");
  const bool karras = config.boolean("use_karras_sigmas", false);
  const bool exponential = config.boolean("use_exponential_sigmas", false);
  if (karras && exponential)
    config.fail("use_karras_sigmas and use_exponential_sigmas exclude each other");
  return karras ? Spread::Karras : exponential ? Spread::Exponential : Spread::AsIs;
}

std::vector<double> spreadSigmas(Spread spread, double first, double last, size_t count) {
  constexpr double rho = 7;
  std::vector<double> sigmas(count);
  for (size_t i = 0; i < count; ++i) {
    const double ramp = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0;
    if (spread == Spread::Karras) {
      const double a = std::pow(first, 1 / rho), b = std::pow(last, 1 / rho);
      sigmas[i] = std::pow(a + ramp * (b - a), rho);
    } else {
      const double a = std::log(first), b = std::log(last);
      sigmas[i] = std::exp(a + ramp * (b - a));
    }
  }
  return sigmas;
}

std::unique_ptr<Scheduler> loadScheduler(const std::string &path) {
  const Json config = Json::load(path);
  const std::string name = config.at("_class_name").string();
  if (name == "FlowMatchEulerDiscreteScheduler")
    return makeFlowMatchEuler(config);
  if (name == "EulerDiscreteScheduler")
    return makeEuler(config);
  if (name == "DDIMScheduler")
    return makeDdim(config);
  rt::fail(FLAME_UNSUPPORTED, path, ": the scheduler '", name,
           "' is not supported; FlowMatchEulerDiscreteScheduler, EulerDiscreteScheduler and DDIMScheduler are");
}

} // namespace flame::diffusion
