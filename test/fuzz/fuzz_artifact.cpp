//===- fuzz_artifact.cpp - the artifact loader and the executor -----------===//
//
// The bytes are the body of an artifact; the harness seals them, so that mutations get past the checksum. Artifacts
// without kernels are run as well, with random inputs and a limit of memory and time: native code is not ours to fuzz.
//
//===----------------------------------------------------------------------===//

#include "InputSpec.h"
#include "Plan.h"
#include "PlanFormat.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/time.h>

using namespace flame;

namespace {

flame_session *running = nullptr;

void run(const Module &module) {
  std::vector<flame_port> ports = module.inputs();
  for (const flame_port &port : ports) {
    uint64_t elements = 1;
    for (int32_t d = 0; d < port.rank; ++d)
      elements *= std::min<uint64_t>(std::strtoull(port.dims[d], nullptr, 10), 1 << 20);
    if (elements > 1 << 20)
      return;
  }
  io::InputOptions options;
  options.randomOthers = true;
  options.dims["n"] = 5;
  const auto inputs = io::resolveInputs(ports, options);
  const Session session(module);
  running = session.get();
  const itimerval limit{{0, 50'000}, {0, 50'000}}, off{};
  setitimer(ITIMER_REAL, &limit, nullptr);
  try {
    session.run(inputs, module.outputs().size());
  } catch (const RuntimeError &) {
  }
  setitimer(ITIMER_REAL, &off, nullptr);
  running = nullptr;
}

} // namespace

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
  std::signal(SIGALRM, [](int) {
    if (running)
      flame_session_cancel(running);
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t total = size + plan::kSealBytes;
  std::unique_ptr<uint8_t, void (*)(void *)> memory(
      static_cast<uint8_t *>(std::aligned_alloc(64, (total + 63) / 64 * 64)), std::free);
  if (size)
    std::memcpy(memory.get(), data, size);
  plan::makeSeal(memory.get(), size, memory.get() + size);
  bool pure = false;
  try {
    const rt::Plan decoded = rt::readPlan(memory.get(), total, "fuzz");
    pure = decoded.kernels.empty() && decoded.files.empty();
  } catch (const rt::Error &) {
  }
  if (!pure)
    return 0;
  Options options;
  options.flags = FLAME_BORROW;
  options.threads = 1;
  options.memory_limit = 64 << 20;
  try {
    run(Module::loadMemory({memory.get(), total}, options));
  } catch (const RuntimeError &) {
  } catch (const io::InputError &) {
  }
  return 0;
}
