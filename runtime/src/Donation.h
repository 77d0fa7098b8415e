//===- Donation.h - outputs in the memory of inputs ------------------------===//
//
// A caller that gives one tensor both as an input and as the memory of an output donates the input: the run may write
// the output there while it goes on. That is so where nothing reads the input afterwards; otherwise the output is computed
// elsewhere and copied at the end of the run, when nothing reads inputs any more.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_DONATION_H
#define FLAME_RUNTIME_DONATION_H

#include "Plan.h"

#include <span>

namespace flame::rt {

/// Whether output `output` may be computed in the memory of input `input`: every command that reads the input comes before
/// the first that writes the output, or is that one and reads each element before it writes it (Launch.in_place).
bool worksInPlace(const Plan &plan, size_t input, size_t output);

bool overlap(const Tensor &a, const Tensor &b);

/// Throws Error(FLAME_INVALID_ARGUMENT) where two outputs are to be written to the same memory.
void checkTargets(const Plan &plan, std::span<const Tensor *const> targets);

} // namespace flame::rt

#endif
