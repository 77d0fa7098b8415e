//===- Schedule.cpp - see Schedule.h ----------------------------------------------------------------------------------===//
#include "Schedule.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>

using namespace flame;
using namespace flame::cpu;

Schedule flame::cpu::microTile(const Target &target, unsigned bytes) {
  Schedule s{};
  s.lanes = std::max<int64_t>(1, target.vectorBytes / bytes);
  // mr × 2 accumulators, two vectors of a row of B, and one broadcast element of A: 15 of 16 registers, 27 of 32.
  s.mr = target.registers >= 32 ? 12 : 6;
  s.nr = 2 * s.lanes;
  s.kc = 1024 / bytes;
  return s;
}

static int64_t roundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

/// Rows of a tile: about `most`, evenly divided, so that the last tile isn't a sliver.
static int64_t evenRows(DimExpr m, int64_t mr, int64_t most) {
  int64_t mc = most / mr * mr;
  if (auto rows = m.constant(); rows && *rows > 0) {
    int64_t tiles = (*rows + mc - 1) / mc;
    mc = roundUp((*rows + tiles - 1) / tiles, mr);
  }
  return mc;
}

Schedule flame::cpu::matmulSchedule(const Target &target, unsigned bytes, DimExpr m, DimExpr n, bool packedColumns) {
  Schedule s = microTile(target, bytes);
  if (auto rows = m.constant(); rows && *rows > 0)
    s.mr = std::min(s.mr, *rows);
  // Columns packed beforehand cost nothing again, so few rows a tile make more tiles for the threads. Columns packed on
  // the way are worth more rows.
  s.mc = evenRows(m, s.mr, packedColumns ? 48 : 128);
  s.nc = 1024 / bytes;
  if (auto columns = n.constant(); columns && *columns > 0) {
    int64_t tiles = (*columns + s.nc - 1) / s.nc;
    s.nc = roundUp((*columns + tiles - 1) / tiles, s.nr);
  }
  return s;
}

Schedule flame::cpu::convMicroTile(const Target &target, unsigned bytes, int64_t m) {
  Schedule s = microTile(target, bytes);
  // Few channels a group (depthwise): fewer rows and more columns keep as many sums in work.
  if (m > 0 && m < s.mr) {
    int64_t vectors = std::clamp<int64_t>(2 * s.mr / m, 2, 8);
    s.mr = m;
    s.nr = vectors * s.lanes;
  }
  return s;
}

ConvSchedule flame::cpu::convSchedule(const Target &target, unsigned bytes, const ConvProblem &p) {
  // Of the L2 cache, for the strip of the image; and tiles enough to keep the threads even.
  constexpr int64_t stripBytes = 256 * 1024, tilesWanted = 16;
  ConvSchedule s;
  static_cast<Schedule &>(s) = convMicroTile(target, bytes, p.m);
  int64_t mc = 72;
  auto rowTiles = [&] { return (p.m + mc - 1) / mc; };
  int64_t images = p.images.constant().value_or(1);
  if (p.flat) {
    int64_t most = std::clamp<int64_t>(stripBytes / (bytes * p.c), 3 * s.nr, 240), pixels = 1 << 20;
    if (auto rows = p.rows.constant(), columns = p.columns.constant(); rows && columns)
      pixels = std::max<int64_t>(1, *rows * *columns);
    int64_t strips = (pixels + most - 1) / most;
    strips = std::max(strips, std::min(tilesWanted / std::max<int64_t>(1, images * rowTiles()),
                                       (pixels + 3 * s.nr - 1) / (3 * s.nr)));
    // An odd number of cache lines a row spreads the rows over all sets of the L1 cache.
    s.nc = roundUp((pixels + strips - 1) / strips, s.nr);
    if (s.nc / s.nr % 2 == 0 && s.nr * bytes == 64)
      s.nc += s.nr;
    s.stripRows = 0;
    if (images * strips * rowTiles() < tilesWanted / 2)
      mc = 24;
  } else {
    int64_t columns = p.columns.constant().value_or(128), pitch = p.pitch.constant().value_or(128);
    int64_t rows = std::max<int64_t>(1, p.rows.constant().value_or(64));
    int64_t most = p.shifted ? stripBytes / (bytes * p.c * pitch) - (p.tapRows - 1)
                             : stripBytes / (bytes * p.c * p.taps * columns);
    most = std::clamp<int64_t>(most, 1, std::max<int64_t>(1, 512 / pitch));
    int64_t strips = (rows + most - 1) / most;
    int64_t wanted = tilesWanted / std::max<int64_t>(1, images * rowTiles());
    strips = std::max(strips, std::min(wanted, std::max<int64_t>(1, rows / 4)));
    s.stripRows = (rows + strips - 1) / strips;
    // Of few columns a strip of few rows fills no panel: two rows of 7 are 14 of 32. Larger strips leave less of them empty, and come from
    // the second- or third-level cache as fast as they are needed.
    constexpr int64_t mostStripBytes = 1024 * 1024;
    if (!p.shifted && p.rows.constant() && p.columns.constant()) {
      auto computed = [&](int64_t strip) {
        return rows / strip * roundUp(strip * columns, s.nr) + roundUp(rows % strip * columns, s.nr);
      };
      for (int64_t strip = s.stripRows + 1; strip <= rows && strip * columns * bytes * p.c * p.taps <= mostStripBytes; ++strip)
        if (computed(strip) < computed(s.stripRows))
          s.stripRows = strip;
      strips = (rows + s.stripRows - 1) / s.stripRows;
    }
    s.nc = 0;
    if (images * strips * rowTiles() < tilesWanted / 2)
      mc = 24;
  }
  int64_t tiles = rowTiles();
  s.mc = roundUp((p.m + tiles - 1) / tiles, s.mr);
  return s;
}
