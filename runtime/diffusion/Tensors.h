//===- Tensors.h - tensors of the CPU on their way between models ----------===//
#ifndef FLAME_DIFFUSION_TENSORS_H
#define FLAME_DIFFUSION_TENSORS_H

#include "flame_rt.hpp"

namespace flame::diffusion {

/// A shape of sizes.
std::vector<int64_t> shapeOf(std::initializer_list<size_t> dims);
/// A tensor of another float type, rounded; the tensor itself where it has the type.
Value converted(const Value &value, flame_dtype type);
/// A tensor of one float type whose elements are all x.
Value filled(flame_dtype type, const std::vector<int64_t> &dims, float x);
/// `x` as a tensor of the type would keep it.
float roundedTo(flame_dtype type, float x);
/// One tensor [n, …] of n tensors [1, …] of the same shape.
Value stacked(const std::vector<Value> &values);
/// Elements of a tensor, from element `first` on, as a tensor of another shape, wherever it is; nothing is copied.
Value viewOf(const Value &value, size_t first, const std::vector<int64_t> &dims);

} // namespace flame::diffusion

#endif
