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

Schedule flame::cpu::convSchedule(const Target &target, unsigned bytes, DimExpr m, DimExpr k) {
  Schedule s = microTile(target, bytes);
  s.mc = evenRows(m, s.mr, 72);
  // The strip of columns, k × nc, stays in the L2 cache. An odd number of cache lines a row spreads rows over all sets.
  int64_t inner = k.constant().value_or(576);
  s.nc = std::clamp<int64_t>(256 * 1024 / (bytes * std::max<int64_t>(1, inner)), s.nr, 15 * s.nr) / s.nr * s.nr;
  if (s.nc / s.nr % 2 == 0)
    s.nc -= s.nr;
  return s;
}
