//===- Png.h - PNG files ---------------------------------------------------===//
#ifndef FLAME_DIFFUSION_PNG_H
#define FLAME_DIFFUSION_PNG_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flame::diffusion {

/// A text that a PNG file carries. Keywords have 1 to 79 printable ASCII characters, and no space at an end; values are
/// UTF-8 without zero bytes.
struct PngText {
  std::string keyword, value;
};

/// A PNG file of `height` rows of `width` pixels, three bytes each (red, green, blue), without gaps; non-interlaced, 8
/// bits. The bytes depend on the pixels and texts alone. Throws Error(FLAME_INVALID_ARGUMENT) for a size of zero or
/// beyond 2^31 (rows of 2^31 bytes), and for texts that PNG does not allow.
std::vector<uint8_t> encodePng(const uint8_t *pixels, size_t width, size_t height, const std::vector<PngText> &texts);

} // namespace flame::diffusion

#endif
