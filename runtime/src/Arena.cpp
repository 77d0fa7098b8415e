//===- Arena.cpp - see Arena.h --------------------------------------------===//

#include "Arena.h"
#include "Memory.h"

#include <algorithm>
#include <numeric>

namespace flame::rt {

std::optional<ArenaLayout> layoutArena(std::span<const ArenaRequest> requests, uint64_t alignment) {
  constexpr uint64_t limit = UINT64_MAX / 8;
  std::vector<int32_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return requests[a].bytes > requests[b].bytes; });

  ArenaLayout layout;
  layout.offsets.resize(requests.size());
  std::vector<int32_t> placed; // by offset
  placed.reserve(requests.size());
  for (int32_t index : order) {
    const ArenaRequest &request = requests[index];
    const uint64_t bytes = alignUp(request.bytes, alignment);
    if (request.bytes > limit)
      return std::nullopt;
    uint64_t best = UINT64_MAX, bestGap = UINT64_MAX, end = 0;
    for (int32_t other : placed) {
      if (requests[other].last < request.first || requests[other].first > request.last)
        continue;
      const uint64_t start = layout.offsets[other];
      if (start > end && start - end >= bytes && start - end < bestGap) {
        best = end;
        bestGap = start - end;
      }
      end = std::max(end, start + alignUp(requests[other].bytes, alignment));
    }
    if (best == UINT64_MAX)
      best = end;
    layout.offsets[index] = best;
    layout.bytes = std::max(layout.bytes, best + bytes);
    if (layout.bytes > limit)
      return std::nullopt;
    placed.insert(std::upper_bound(placed.begin(), placed.end(), best,
                                   [&](uint64_t offset, int32_t i) { return offset < layout.offsets[i]; }),
                  index);
  }
  return layout;
}

} // namespace flame::rt
