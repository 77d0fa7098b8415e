//===- fuzz_scheduler.cpp - scheduler_config.json --------------------------===//
//
// Whatever the file says, there is a schedule or an error, in a time that does not depend on it.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Scheduler.h"

#include <cstdlib>
#include <string>

using namespace flame;
using namespace flame::diffusion;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    const Json config = Json::parse({reinterpret_cast<const char *>(data), size}, "scheduler_config.json");
    const std::string name = config.string("_class_name", "");
    const auto scheduler = name == "EulerDiscreteScheduler" ? makeEuler(config)
                           : name == "DDIMScheduler"        ? makeDdim(config)
                                                            : makeFlowMatchEuler(config);
    for (const size_t steps : {1, 4, 30}) {
      scheduler->prepare(steps, 1024);
      if (scheduler->steps() != steps || (!scheduler->sigmas.empty() && scheduler->sigmas.size() != steps + 1))
        std::abort();
      float sample[3] = {0.5f, -1, 2}, prediction[3] = {1, 0, -0.25f};
      for (size_t i = 0; i < steps; ++i) {
        scheduler->scaleInput(i, FLAME_F32, sample, 3);
        scheduler->step(i, FLAME_F32, prediction, sample, 3);
      }
    }
  } catch (const rt::Error &) {
  }
  return 0;
}
