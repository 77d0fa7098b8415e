//===- MemoryPlan.h - which parts of a pipeline stay in memory -------------===//
//
// The parts of a pipeline run one after the other, request by request. Where not all of them fit under a limit, those
// that are needed last go first: of a cycle of uses, the one that has just been used.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_MEMORYPLAN_H
#define FLAME_DIFFUSION_MEMORYPLAN_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flame::diffusion {

/// What a part holds: weights as long as it is loaded, what its runs need beside them, which it keeps, too, and what
/// loading needs beside them for as long as that takes.
struct PartBytes {
  uint64_t weights = 0, runs = 0, loading = 0;
  uint64_t all() const { return weights + (runs > loading ? runs : loading); }
};

/// What is to be given back before part `next` runs, in this order: first what idle parts keep for their runs, then
/// whole parts, as long as the sum is above `limit` (0: none). `held` is what each part holds now, `needed` what `next`
/// will hold.
struct Eviction {
  size_t part;
  bool weightsToo;
};
std::vector<Eviction> evictionsFor(size_t next, const PartBytes &needed, std::vector<PartBytes> held, uint64_t limit);

/// The most that is held at any time while all parts, of which none is loaded, run in turn, twice.
uint64_t peakOf(const std::vector<PartBytes> &needed, uint64_t limit);

/// "24.2 GB"
std::string bytesText(uint64_t bytes);

} // namespace flame::diffusion

#endif
