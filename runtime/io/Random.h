//===- Random.h - reproducible random tensors -----------------------------===//
#ifndef FLAME_IO_RANDOM_H
#define FLAME_IO_RANDOM_H

#include "Bytes.h"

#include <random>

namespace flame::io {

/// Floats and complex parts uniform in [-1, 1) (f8E8M0FNU, which has no sign: powers of two around 1), integers uniform
/// in [0, 8) or the type's range if that is narrower (signed ones: [-8, 8)), bools even, strings "a" to "z". The
/// numbers depend on the generator's state alone, not on the machine. Throws InputError on impossible dimensions.
Value randomTensor(flame_dtype dtype, std::span<const int64_t> dims, std::mt19937_64 &generator);

} // namespace flame::io

#endif
