//===- MemoryPlan.cpp - see MemoryPlan.h -----------------------------------===//

#include "MemoryPlan.h"

#include <algorithm>
#include <cstdio>

namespace flame::diffusion {

std::vector<Eviction> evictionsFor(size_t next, const PartBytes &needed, std::vector<PartBytes> held, uint64_t limit) {
  std::vector<Eviction> evictions;
  if (!limit)
    return evictions;
  held[next] = needed;
  uint64_t sum = 0;
  for (const PartBytes &part : held)
    sum += part.all();
  for (const bool weightsToo : {false, true})
    for (size_t back = 1; back < held.size() && sum > limit; ++back) {
      const size_t part = (next + held.size() - back) % held.size();
      const uint64_t freed = weightsToo ? held[part].all() : held[part].runs;
      if (freed == 0)
        continue;
      sum -= freed;
      held[part] = {weightsToo ? 0 : held[part].weights};
      evictions.push_back({part, weightsToo});
    }
  return evictions;
}

uint64_t peakOf(const std::vector<PartBytes> &needed, uint64_t limit) {
  std::vector<PartBytes> held(needed.size());
  uint64_t peak = 0;
  for (size_t turn = 0; turn < 2 * needed.size(); ++turn) {
    const size_t next = turn % needed.size();
    PartBytes now = needed[next];
    if (held[next].weights)
      now.loading = 0;
    for (const Eviction &eviction : evictionsFor(next, now, held, limit))
      held[eviction.part] = {eviction.weightsToo ? 0 : held[eviction.part].weights};
    held[next] = now;
    uint64_t sum = 0;
    for (const PartBytes &part : held)
      sum += part.all();
    peak = std::max(peak, sum);
    held[next].loading = 0;
  }
  return peak;
}

std::string bytesText(uint64_t bytes) {
  constexpr const char *kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1000 && unit + 1 < std::size(kUnits); ++unit)
    size /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", size, kUnits[unit]);
  return text;
}

} // namespace flame::diffusion
