//===- Tiles.h - pictures that are decoded in tiles ------------------------===//
//
// AutoencoderKL.tiled_decode of diffusers: tiles of the latents overlap, each is decoded by itself, and where they
// overlap a tile fades into the next one. What a decoder needs is then bounded by the size of a tile.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_TILES_H
#define FLAME_DIFFUSION_TILES_H

#include "flame_rt.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace flame::diffusion {

/// In pixels. A side of 0: the picture is decoded as a whole.
struct Tiling {
  size_t side = 0; // of a tile
  size_t step = 0; // from one tile to the next

  bool divides(size_t width, size_t height) const { return side && (width > side || height > side); }
};

/// diffusers' tile_sample_min_size and tile_overlap_factor. Steps must be whole tokens of `unit` pixels, and tiles must
/// meet where the ones before are cut: Error(FLAME_INVALID_ARGUMENT) otherwise.
Tiling makeTiling(size_t sampleMinSize, double overlapFactor, size_t scale, size_t unit);
bool isTiling(size_t sampleMinSize, double overlapFactor, size_t scale, size_t unit);

/// A picture of three colours that comes in tiles, row by row, from left to right.
class TiledPicture {
public:
  TiledPicture(size_t width, size_t height, Tiling tiling);

  /// The tile whose first pixel is at (x, y): [3, height, width] of f32, f16 or bf16, as large as the tiling and the
  /// picture say. Blends in its type.
  void add(size_t x, size_t y, flame_dtype type, const void *sample);
  /// Rows of pixels of three bytes, when all tiles are there.
  std::vector<uint8_t> take() { return std::move(pixels); }
  size_t tileWidth(size_t x) const { return std::min(tiling.side, width - x); }
  size_t tileHeight(size_t y) const { return std::min(tiling.side, height - y); }

private:
  /// What the next tile blends with: the last rows of a tile, or its last columns; [3, rows, columns].
  struct Edge {
    size_t rows = 0, columns = 0;
    std::vector<float> values;
  };

  const size_t width, height;
  const Tiling tiling;
  std::vector<Edge> above; // of the row of tiles before, and, up to this tile, of this one
  Edge left;
  std::vector<uint8_t> pixels;
};

} // namespace flame::diffusion

#endif
