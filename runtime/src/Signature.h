//===- Signature.h - the caller's inputs against the model's --------------===//
#ifndef FLAME_RUNTIME_SIGNATURE_H
#define FLAME_RUNTIME_SIGNATURE_H

#include "Plan.h"

#include <span>

namespace flame::rt {

/// Checks number, kind, element type and shape of the inputs, and that dimensions of one name are equal. Throws
/// Error(FLAME_INVALID_ARGUMENT) such as "input 'x' has shape [2,3], the model wants [batch,4]".
void checkInputs(const Plan &plan, std::span<const Value *const> inputs);

/// The shapes alone, as for a memory estimate; entries of non-tensors are ignored.
void checkShapes(const Plan &plan, std::span<const Dims> shapes);

} // namespace flame::rt

#endif
