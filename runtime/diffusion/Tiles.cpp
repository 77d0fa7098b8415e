//===- Tiles.cpp - see Tiles.h ---------------------------------------------===//

#include "Tiles.h"

#include "Elements.h"
#include "Image.h"

#include <cstdio>
#include <cstring>

namespace flame::diffusion {

namespace {

constexpr size_t kColours = 3;

/// A tiling of these numbers, as diffusers rounds them; false where it does not cover a picture.
bool tile(size_t side, double overlap, size_t scale, size_t unit, Tiling &tiling) {
  if (side == 0 || side % unit || !(overlap >= 0 && overlap < 1))
    return false;
  const auto step = static_cast<size_t>(static_cast<double>(side / scale) * (1 - overlap)) * scale;
  const auto blended = static_cast<size_t>(static_cast<double>(side) * overlap);
  tiling = {side, step};
  return step > 0 && step % unit == 0 && step + blended == side;
}

} // namespace

bool isTiling(size_t side, double overlap, size_t scale, size_t unit) {
  Tiling tiling;
  return tile(side, overlap, scale, unit, tiling);
}

Tiling makeTiling(size_t side, double overlap, size_t scale, size_t unit) {
  Tiling tiling;
  char part[32];
  std::snprintf(part, sizeof part, "%g", overlap);
  if (!tile(side, overlap, scale, unit, tiling))
    rt::fail(FLAME_INVALID_ARGUMENT, "tiles of ", side, " pixels that overlap by ", part,
             " of their side do not cover a picture: the side and what is left of it without the overlap must be "
             "multiples of ",
             unit, " pixels, the overlap from 0 to less than 1");
  return tiling;
}

TiledPicture::TiledPicture(size_t width, size_t height, Tiling tiling)
    : width(width), height(height), tiling(tiling), above((width + tiling.step - 1) / tiling.step),
      pixels(width * height * kColours) {}

void TiledPicture::add(size_t x, size_t y, flame_dtype type, const void *sample) {
  const size_t columns = tileWidth(x), rows = tileHeight(y), extent = tiling.side - tiling.step;
  const size_t shownColumns = std::min(tiling.step, columns), shownRows = std::min(tiling.step, rows);
  withFloatType(type, [&]<typename Type>(Type) {
    const auto *values = static_cast<const typename Type::Storage *>(sample);
    std::vector<float> own(kColours * rows * columns);
    for (size_t i = 0; i < own.size(); ++i)
      own[i] = Type::load(values[i]);
    // Products and sums are rounded to the type, as those of tensors are.
    const auto blend = [](float from, float &to, size_t place, size_t count) {
      const double weight = static_cast<double>(place) / static_cast<double>(count);
      to = rounded<Type>(rounded<Type>(from * static_cast<float>(1 - weight)) +
                         rounded<Type>(to * static_cast<float>(weight)));
    };
    if (const Edge &edge = above[x / tiling.step]; y) {
      const size_t count = std::min({edge.rows, rows, extent});
      for (size_t c = 0; c < kColours; ++c)
        for (size_t i = 0; i < count; ++i)
          for (size_t k = 0; k < columns; ++k)
            blend(edge.values[(c * edge.rows + edge.rows - count + i) * columns + k], own[(c * rows + i) * columns + k],
                  i, count);
    }
    if (x) {
      const size_t count = std::min({left.columns, columns, extent});
      for (size_t c = 0; c < kColours; ++c)
        for (size_t i = 0; i < rows; ++i)
          for (size_t k = 0; k < count; ++k)
            blend(left.values[(c * rows + i) * left.columns + left.columns - count + k],
                  own[(c * rows + i) * columns + k], k, count);
    }
    const auto edgeOf = [&](size_t edgeRows, size_t edgeColumns) {
      Edge edge{edgeRows, edgeColumns, std::vector<float>(kColours * edgeRows * edgeColumns)};
      for (size_t c = 0; c < kColours; ++c)
        for (size_t i = 0; i < edgeRows; ++i)
          std::copy_n(&own[(c * rows + rows - edgeRows + i) * columns + columns - edgeColumns], edgeColumns,
                      edge.values.begin() + static_cast<ptrdiff_t>((c * edgeRows + i) * edgeColumns));
      return edge;
    };
    if (extent) {
      above[x / tiling.step] = edgeOf(std::min(extent, rows), columns);
      left = edgeOf(rows, std::min(extent, columns));
    }
    std::vector<typename Type::Storage> shown(kColours * shownRows * shownColumns);
    for (size_t c = 0; c < kColours; ++c)
      for (size_t i = 0; i < shownRows; ++i)
        for (size_t k = 0; k < shownColumns; ++k)
          shown[(c * shownRows + i) * shownColumns + k] = Type::store(own[(c * rows + i) * columns + k]);
    std::vector<uint8_t> bytes(shown.size());
    pixelsOf(type, shown.data(), shownColumns, shownRows, bytes.data());
    for (size_t i = 0; i < shownRows; ++i)
      std::memcpy(&pixels[((y + i) * width + x) * kColours], &bytes[i * shownColumns * kColours],
                  shownColumns * kColours);
  });
}

} // namespace flame::diffusion
