//===- ChooseAttention.cpp - the schedule of attention by wgmma ---------------------------------------------------===//
#include "ChooseSchedule.h"
#include "schedule/Schedule.h"
#include <algorithm>
#include <limits>

using namespace flame;
using namespace flame::cuda;

namespace {
/// Tiles of queries × keys for heads of up to `head`. Three warpgroups have 160 registers each, two 240. The largest step of
/// keys is not always the best: what is left of the registers lets the compiler compute further ahead. Scores with a body
/// of their own need registers for it.
constexpr AttentionTile tiles[] = {
    {64, 192, 128, false}, {64, 128, 192, false}, {64, 128, 128, false}, {64, 64, 128, false},  {128, 128, 128, false},
    {128, 64, 128, false}, {192, 128, 96, false}, {192, 64, 96, false},  {256, 128, 80, false}, {256, 64, 80, false},
    {256, 128, 64, false}, {256, 64, 64, false},  {64, 128, 96, true},   {64, 64, 64, true},    {128, 128, 64, true},
    {128, 64, 64, true},   {256, 128, 64, true},  {256, 64, 64, true},   {512, 64, 32, false},  {512, 64, 32, true},
};
/// Of queries and keys of 8 bits. Scores take half the time, so that three warpgroups gain more than fewer, larger steps.
constexpr AttentionTile tilesOfBytes[] = {
    {64, 192, 128, false}, {64, 128, 192, false}, {64, 128, 128, false}, {64, 64, 128, false}, {128, 192, 80, false}, {128, 128, 128, false},
    {128, 64, 128, false}, {192, 128, 96, false}, {192, 64, 96, false},  {256, 128, 96, false}, {256, 64, 96, false}, {256, 128, 64, false},
    {256, 64, 64, false},  {64, 128, 96, true},   {64, 64, 64, true},    {128, 128, 64, true}, {128, 64, 64, true},   {256, 128, 64, true},
    {256, 64, 64, true},   {512, 64, 32, false},  {512, 64, 32, true},
};

/// Multiprocessors of the GPU that the choice is made for, an H100.
constexpr int64_t multiprocessors = 132;

/// What a multiprocessor of an H200 takes, in microseconds, fitted to measurements (docs/rationale/performance.md): for a query
/// and a key of each element of a head, for the rest of a score by one to three warpgroups, for a step, for a tile.
constexpr double productTime = 1.94e-7, scoreTime[] = {4e-5, 2.52e-5, 2.06e-5}, stepTime = 0.35, tileTime = 2;
/// Of blocks that share keys: until the last one has come, and a byte that they leave and read again.
constexpr double shareTime = 3, partByte = 5e-7;
/// Bytes that one multiprocessor gets from memory in a microsecond.
constexpr double bytesOfOne = 48000;

int64_t ceilDivide(int64_t x, int64_t y) { return (x + y - 1) / y; }
int roundUp(int size, int unit) { return (size + unit - 1) / unit * unit; }

/// Microseconds that the products of a query and a key take, and the rest of their score.
double productsOf(const WgmmaAttentionProblem &p, const WgmmaAttentionSchedule &s) {
  return productTime / 2 * (s.depth * p.keyBytes + s.width * 2);
}
double scoreOf(const WgmmaAttentionSchedule &s) { return scoreTime[s.consumers() - 1]; }

/// How many tiles have a block each, and how many blocks have one of the others: as EmitAttention.cpp computes it when the sizes are known.
struct Sharing {
  int64_t whole, rest, parts;
};
Sharing sharingOf(const WgmmaAttentionProblem &p, const WgmmaAttentionSchedule &s) {
  const int64_t tiles = p.sizes.batches * ceilDivide(std::max<int64_t>(p.sizes.queries, 1), s.rows);
  if (s.splits == 1)
    return {tiles, 0, 1};
  const int64_t rest = p.sharesLastTiles(s) ? tiles % KeySharing::blocks : tiles, some = std::max<int64_t>(rest, 1);
  int64_t parts = KeySharing::blocks / some;
  if (parts == 1 && p.sharesLastTiles(s))
    parts = KeySharing::blocks * 2 / some * 2 - 3;
  parts = std::min({parts, int64_t(s.splits), ceilDivide(std::max<int64_t>(p.sizes.keys, 1), int64_t(s.keys) * KeySharing::steps)});
  return {tiles - rest, rest, std::max<int64_t>(parts, 1)};
}

double price(const WgmmaAttentionProblem &p, const WgmmaAttentionSchedule &s) {
  const int64_t steps = ceilDivide(std::max<int64_t>(p.sizes.keys, 1), s.keys);
  const int bytes = s.depth * p.keyBytes + s.width * 2; // of a key and its value
  const double step = std::max(stepTime + double(s.rows) * s.keys * (productsOf(p, s) + scoreOf(s)),
                               double(s.keys) * bytes / bytesOfOne);
  // Tiles of different lengths fill the last round.
  auto timeOf = [&](int64_t tiles, int64_t each) {
    double rounds = p.limited && tiles > 0 ? std::max(1.0, double(tiles) / multiprocessors) : double(ceilDivide(tiles, multiprocessors));
    return rounds * (tileTime + step * double(each));
  };
  const Sharing sharing = sharingOf(p, s);
  if (sharing.parts == 1)
    return timeOf(sharing.whole + sharing.rest, steps);
  return timeOf(sharing.whole, steps) + timeOf(sharing.rest * sharing.parts, ceilDivide(steps, sharing.parts)) + shareTime +
         partByte * double(sharing.rest * s.rows * sharing.parts * KeySharing::elements(s.width) * 4);
}
} // namespace

bool WgmmaAttentionProblem::sharesLastTiles(const WgmmaAttentionSchedule &s) const {
  constexpr double mostProducts = 0.57;
  const double products = productsOf(*this, s);
  return !limited && !sizes.masked && products <= mostProducts * (products + scoreOf(s));
}

llvm::ArrayRef<AttentionTile> flame::cuda::attentionTiles(int keyBytes) {
  return keyBytes == 1 ? llvm::ArrayRef(tilesOfBytes) : llvm::ArrayRef(tiles);
}

std::optional<WgmmaAttentionSchedule> flame::cuda::chooseWgmmaAttention(const WgmmaAttentionProblem &p) {
  const int depth = roundUp(p.sizes.depth, WgmmaAttentionSchedule::stepBytes / p.keyBytes), width = roundUp(p.sizes.columns, 16),
            head = std::max(depth, width);
  std::optional<WgmmaAttentionSchedule> best;
  double least = std::numeric_limits<double>::infinity();
  int smallest = 0; // the tiles made for the smallest heads that are large enough
  for (const AttentionTile &c : attentionTiles(p.keyBytes)) {
    if (c.masked != p.sizes.masked || c.head < head || (smallest && c.head != smallest))
      continue;
    WgmmaAttentionSchedule s{c.rows, c.keys, depth, width, 2, 2};
    while (s.slabs > 0 && !s.isValid(p.k, p.v, p.keyBytes))
      --s.slabs;
    if (!s.isValid(p.k, p.v, p.keyBytes))
      continue;
    smallest = c.head;
    for (int splits : {1, KeySharing::blocks}) {
      s.splits = splits;
      const Sharing sharing = sharingOf(p, s);
      if (splits > 1 && (!s.isValid(p.k, p.v, p.keyBytes) || p.sizes.keys < KeySharing::manyKeys || sharing.parts == 1))
        continue;
      // What isn't clearly faster stays in one kernel's registers. Where most tiles do anyway, their parts stay in the second-level cache.
      const double clearly = sharing.parts > 1 && sharing.whole == 0 ? 1.25 : 1;
      if (double time = price(p, s) * clearly; time < least)
        best = s, least = time;
    }
  }
  return best;
}
