//===- Images.cpp - C interface: pictures ----------------------------------===//

#include "Files.h"
#include "Guard.h"
#include "Image.h"
#include "ImageHandle.h"
#include "flame_diffusion.h"

#include <cstring>

using namespace flame::diffusion;
using flame::rt::fail;

namespace {

std::unique_ptr<flame_image> makeImage(size_t width, size_t height) {
  constexpr size_t most = (size_t{1} << 31) - 1;
  if (width == 0 || height == 0 || width > most || height > most)
    fail(FLAME_INVALID_ARGUMENT, "a picture of ", width, " x ", height, " pixels; both must be from 1 to ", most);
  auto image = std::make_unique<flame_image>();
  image->width = width;
  image->height = height;
  image->pixels.resize(width * height * 3);
  return image;
}

std::vector<uint8_t> pngOf(const flame_image &image, const flame_image_text *texts, size_t count) {
  std::vector<PngText> all = image.texts;
  for (size_t i = 0; i < count; ++i) {
    const auto &text = given(texts + i, "texts");
    all.push_back({&given(text.keyword, "texts[].keyword"), &given(text.value, "texts[].value")});
  }
  return encodePng(image.pixels.data(), image.width, image.height, all);
}

} // namespace

flame_status *flame_image_create(size_t width, size_t height, const uint8_t *pixels, flame_image **image) {
  return guard([&] {
    auto &out = given(image, "image");
    given(pixels, "pixels");
    auto made = makeImage(width, height);
    std::memcpy(made->pixels.data(), pixels, made->pixels.size());
    out = made.release();
  });
}

flame_status *flame_image_from_tensor(flame_dtype dtype, const void *tensor, size_t width, size_t height,
                                      flame_image **image, size_t *bad) {
  return guard([&] {
    auto &out = given(image, "image");
    given(static_cast<const char *>(tensor), "tensor");
    auto made = makeImage(width, height);
    const size_t none = pixelsOf(dtype, tensor, width, height, made->pixels.data());
    if (bad)
      *bad = none;
    out = made.release();
  });
}

void flame_image_release(flame_image *image) { delete image; }
size_t flame_image_width(const flame_image *image) { return image ? image->width : 0; }
size_t flame_image_height(const flame_image *image) { return image ? image->height : 0; }
const uint8_t *flame_image_pixels(const flame_image *image) { return image ? image->pixels.data() : nullptr; }

flame_status *flame_image_png(flame_image *image, const flame_image_text *texts, size_t count, const uint8_t **data,
                              size_t *bytes) {
  return guard([&] {
    auto &from = given(image, "image");
    auto &to = given(data, "data");
    auto &size = given(bytes, "bytes");
    from.png = pngOf(from, texts, count);
    to = from.png.data();
    size = from.png.size();
  });
}

flame_status *flame_image_save(flame_image *image, const flame_image_text *texts, size_t count, const char *path) {
  return guard([&] {
    const std::vector<uint8_t> png = pngOf(given(image, "image"), texts, count);
    writeFile(&given(path, "path"), png.data(), png.size());
  });
}
