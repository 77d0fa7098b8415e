//===- Profile.cpp - times, work and the roofline of a session -------------===//
//
// What a command had to do, counted when it runs, and what the device can do, measured in the same session.
//
//===----------------------------------------------------------------------===//

#include "RunScope.h"
#include "Session.h"

#include <algorithm>

namespace flame::rt {

namespace {

/// The unit that does most of a kernel's arithmetic: products of narrow floats go to matrix instructions, everything else
/// of up to 32 bits is done in f32.
flame_math mathOf(const Plan &plan, const LaunchCommand &launch) {
  auto has = [&](DType dtype) {
    return std::any_of(launch.buffers.begin(), launch.buffers.end(),
                       [&](int32_t slot) { return plan.slots[slot].dtype == dtype; });
  };
  const std::string &text = plan.kernels[launch.kernel].description;
  auto isAnchor = [&](std::string_view anchor) { return text.starts_with(anchor) && text[anchor.size()] == ':'; };
  const bool product = isAnchor("contract") || isAnchor("conv") || isAnchor("attention");
  if (product && has(FLAME_F16))
    return FLAME_MATH_F16;
  if (product && has(FLAME_BF16))
    return FLAME_MATH_BF16;
  const bool tf32 = std::find(plan.properties.begin(), plan.properties.end(),
                              std::pair<std::string, std::string>("precision", "tf32")) != plan.properties.end();
  if (has(FLAME_F32) || (!product && (has(FLAME_F16) || has(FLAME_BF16))))
    return product && tf32 ? FLAME_MATH_TF32 : FLAME_MATH_F32;
  return FLAME_MATH_UNKNOWN;
}

} // namespace

/// What the kernel had to read and write, every tensor once, and to compute.
void Executor::countWork(const LaunchCommand &launch, ProfileCounter &counter) {
  for (size_t i = 0; i < launch.buffers.size(); ++i)
    if (const int32_t slot = launch.buffers[i];
        std::find(launch.buffers.begin(), launch.buffers.begin() + i, slot) == launch.buffers.begin() + i &&
        slots[slot].set)
      counter.bytes += slots[slot].tensor.bytes;
  if (launch.flops != -1)
    if (const auto flops = shapes.tryEval(launch.flops); flops && *flops > 0)
      counter.flops += *flops;
}

// ---- the roofline

double Executor::measureBandwidth() {
  RunScope scope(*queue, [] {});
  // Larger than any cache, as far as the memory goes.
  size_t bytes = queue->device() == kHost ? size_t(64) << 20 : size_t(256) << 20;
  Ref<Buffer> from, to;
  for (;; bytes /= 2) {
    try {
      from = allocateBuffer(queue->memory(), bytes);
      to = allocateBuffer(queue->memory(), bytes);
      break;
    } catch (const Error &error) {
      from.reset();
      if (error.code != FLAME_OUT_OF_MEMORY || bytes <= size_t(1) << 20)
        throw;
    }
  }
  queue->memory()->fill(from->data, 1, bytes);
  double best = 0;
  constexpr int kTimes = 5;
  for (int i = 0; i <= kTimes; ++i) {
    const uint64_t nanoseconds = timed([&] { queue->copyFast(to->data, from->data, bytes); });
    if (i > 0) // the first one warms up
      best = std::max(best, 2.0 * bytes / nanoseconds * 1e9);
  }
  return best;
}

double Executor::measureCompute(flame_math math) {
  RunScope scope(*queue, [] {});
  // Rounds enough to be in full swing; the ones before warm up.
  constexpr uint64_t kLong = 4'000'000;
  constexpr int64_t kMostRounds = 1 << 20;
  constexpr int kTimes = 5;
  double best = 0, operations = 0;
  int64_t rounds = 1 << 10;
  for (int i = 0; i < kTimes;) {
    const uint64_t nanoseconds = timed([&] { operations = queue->compute(math, rounds); });
    if (nanoseconds < kLong && rounds < kMostRounds) {
      rounds *= 2;
      continue;
    }
    best = std::max(best, operations / nanoseconds * 1e9);
    ++i;
  }
  return best;
}

template <typename Do> uint64_t Executor::timed(Do work) {
  ProfileCounter counter;
  const uint64_t started = queue->startTimer();
  work();
  queue->stopTimer(started, counter);
  queue->finish();
  queue->collectTimes();
  return std::max<uint64_t>(counter.nanoseconds, 1);
}

// ---- what has been gathered

template <typename Entry, typename Make> size_t Session::gather(Entry *entries, size_t capacity, Make make) const {
  const Plan &plan = module->plan();
  if (executor.profile.empty())
    return 0;
  size_t count = 0, number = 0;
  for (const BlockInfo &block : plan.blocks)
    for (const Command &command : block.commands) {
      const size_t i = number++;
      if (executor.profile[i].calls == 0)
        continue;
      if (entries && count < capacity)
        entries[count] = make(command, executor.profile[i], i);
      ++count;
    }
  return count;
}

size_t Session::profileEntries(flame_profile_entry *entries, size_t capacity) {
  const Plan &plan = module->plan();
  if (profileNames.empty())
    for (const BlockInfo &block : plan.blocks)
      for (const Command &command : block.commands)
        profileNames.push_back(plan.nodesOf(command));
  return gather(entries, capacity, [&](const Command &command, const ProfileCounter &counter, size_t i) {
    const char *name = "";
    if (auto *launch = std::get_if<LaunchCommand>(&command.body)) {
      const KernelInfo &kernel = plan.kernels[launch->kernel];
      name = kernel.description.empty() ? kernel.symbol.c_str() : kernel.description.c_str();
    } else if (auto *call = std::get_if<HostCallCommand>(&command.body)) {
      name = call->function.c_str();
    } else {
      static const char *const names[] = {"alloc", "free", "",   "",     "bind_dims", "read_element",
                                          "alias", "copy", "if", "loop", "check"};
      name = names[command.body.index()];
    }
    return flame_profile_entry{profileNames[i].c_str(), name, counter.calls, counter.nanoseconds};
  });
}

size_t Session::profileWork(flame_profile_work *work, size_t capacity) {
  return gather(work, capacity, [](const Command &, const ProfileCounter &counter, size_t) {
    return flame_profile_work{counter.bytes, counter.flops};
  });
}

size_t Session::profileMath(flame_math *math, size_t capacity) {
  return gather(math, capacity, [&](const Command &command, const ProfileCounter &, size_t) {
    auto *launch = std::get_if<LaunchCommand>(&command.body);
    return launch ? mathOf(module->plan(), *launch) : FLAME_MATH_UNKNOWN;
  });
}

} // namespace flame::rt
