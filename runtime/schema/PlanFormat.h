//===- PlanFormat.h - what plan.fbs cannot say about an artifact ----------===//
//
// The version of the plan format, the checksum, and the seal that ends a `.flame` file. Shared by the writer
// (lib/Conversion/ToPlan) and the reader (runtime/src); header-only, needs xxhash.h and nothing else.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_SCHEMA_PLANFORMAT_H
#define FLAME_SCHEMA_PLANFORMAT_H

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <xxhash.h>

namespace flame::plan {

/// Raised by every change of plan.fbs, of the kernel ABI, or of a host function's meaning that an older reader would
/// misunderstand.
inline constexpr uint32_t kPlanVersion = 8;

inline constexpr char kSealMagic[8] = {'F', 'L', 'M', 'E', 'S', 'E', 'A', 'L'};
inline constexpr size_t kSealBytes = 16;

/// The checksum of `Code.data` (as stored) and of the artifact's body: XXH64 with seed 0.
inline uint64_t checksum(const void *data, size_t bytes) { return XXH64(data, bytes, 0); }

/// Writes the seal of the `bytes` bytes at `body` to `seal` (kSealBytes bytes, to be stored right behind the body).
inline void makeSeal(const void *body, size_t bytes, unsigned char *seal) {
  const uint64_t sum = checksum(body, bytes);
  for (int i = 0; i < 8; ++i)
    seal[i] = static_cast<unsigned char>(sum >> (8 * i));
  std::memcpy(seal + 8, kSealMagic, sizeof(kSealMagic));
}

enum class SealState { Valid, Missing, Broken };

/// Examines the last kSealBytes of a file of `bytes` bytes.
inline SealState checkSeal(const void *file, size_t bytes) {
  if (bytes < kSealBytes)
    return SealState::Missing;
  const auto *seal = static_cast<const unsigned char *>(file) + (bytes - kSealBytes);
  if (std::memcmp(seal + 8, kSealMagic, sizeof(kSealMagic)) != 0)
    return SealState::Missing;
  unsigned char expected[kSealBytes];
  makeSeal(file, bytes - kSealBytes, expected);
  return std::memcmp(seal, expected, kSealBytes) == 0 ? SealState::Valid : SealState::Broken;
}

} // namespace flame::plan

#endif
