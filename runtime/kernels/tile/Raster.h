//===- Raster.h - the order of the tiles of a product ------------------------------------------------------------===//
//
// Clusters take tiles in turn, as many at a time as there are clusters. They go down a band of tiles before they go on to
// the next columns, so that those under way at one time share operands in the second-level cache.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "tile/Types.h"

namespace flame {

/// Tiles of a grid of `down` × `across` tiles in each of some batches.
struct Raster {
  unsigned down, across, band;

  struct Place {
    int row, column, batch; // in tiles
  };
  FLAME_DEVICE Place operator()(unsigned tile) const {
    const unsigned each = down * across, batch = tile / each, inBatch = tile - batch * each;
    const unsigned strip = inBatch / (band * across), inStrip = inBatch - strip * (band * across);
    const unsigned height = least(down - strip * band, band);
    return {(int)(strip * band + inStrip % height), (int)(inStrip / height), (int)batch};
  }
};

} // namespace flame
