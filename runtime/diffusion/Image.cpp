//===- Image.cpp - what a VAE decodes, as pixels ---------------------------===//

#include "Image.h"

#include "Elements.h"

#include <algorithm>
#include <cmath>

namespace flame::diffusion {

size_t pixelsOf(flame_dtype type, const void *tensor, size_t width, size_t height, uint8_t *pixels) {
  constexpr float toInteger = 0x1.8p23f; // adding it rounds to even, and leaves the integer in the low bits
  const size_t plane = width * height;
  size_t bad = 0;
  withFloatType(type, [&]<typename Type>(Type) {
    const auto *values = static_cast<const typename Type::Storage *>(tensor);
    for (size_t c = 0; c < 3; ++c)
      for (size_t i = 0; i < plane; ++i) {
        const float x = Type::load(values[c * plane + i]);
        bad += x != x;
        const float y = rounded<Type>(rounded<Type>(x * 0.5f) + 0.5f);
        const float level = y > 0 ? (y < 1 ? y : 1.0f) : 0.0f; // 0 for what is no number
        pixels[i * 3 + c] = static_cast<uint8_t>(std::bit_cast<uint32_t>(level * 255.0f + toInteger));
      }
  });
  return bad;
}

} // namespace flame::diffusion
