//===- Image.h - what a VAE decodes, as pixels -----------------------------===//
#ifndef FLAME_DIFFUSION_IMAGE_H
#define FLAME_DIFFUSION_IMAGE_H

#include "flame_rt.h"

#include <cstddef>
#include <cstdint>

namespace flame::diffusion {

/// [3, height, width] of f32, f16 or bf16 in [-1, 1] to [height, width, 3] bytes: x / 2 + 1/2 in the tensor's type,
/// clamped to [0, 1], times 255, rounded to even, as diffusers' VaeImageProcessor does. What is no number becomes 0;
/// returns how many there were.
size_t pixelsOf(flame_dtype type, const void *tensor, size_t width, size_t height, uint8_t *pixels);

} // namespace flame::diffusion

#endif
