//===- Arena.h - offsets for tensors with lifetimes -----------------------===//
//
// Greedy best fit, largest tensor first: each goes into the smallest gap between the tensors already placed that live
// at the same time. Offsets are multiples of `alignment`.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_ARENA_H
#define FLAME_RUNTIME_ARENA_H

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flame::rt {

struct ArenaRequest {
  int32_t first, last; // commands, inclusive
  uint64_t bytes;
};

struct ArenaLayout {
  std::vector<uint64_t> offsets;
  uint64_t bytes = 0;
};

/// nullopt where the total overflows.
std::optional<ArenaLayout> layoutArena(std::span<const ArenaRequest> requests, uint64_t alignment);

} // namespace flame::rt

#endif
