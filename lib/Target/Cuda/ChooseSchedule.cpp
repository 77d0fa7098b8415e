//===- ChooseSchedule.cpp - see ChooseSchedule.h ------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "Schedules.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace flame;
using namespace flame::cuda;

namespace {
/// For elements of 16 bits. Large tiles read shared memory less often; slices of the inner dim keep a multiprocessor
/// busy that has one small tile.
constexpr MmaSchedule candidates[] = {
    {256, 160, 64, 4, 2, 4},   {192, 192, 64, 2, 4, 3},   {256, 128, 64, 4, 2, 3},    {128, 160, 64, 2, 2, 3},
    {128, 128, 64, 2, 2, 3},   {128, 96, 64, 2, 2, 3},    {128, 64, 64, 4, 2, 4},     {64, 128, 64, 2, 4, 4},
    {64, 64, 64, 2, 2, 5},     {64, 64, 128, 2, 2, 4, 2}, {32, 128, 128, 1, 4, 4, 2}, {32, 64, 128, 2, 2, 4, 2},
    {64, 32, 256, 2, 1, 3, 4}, {32, 64, 256, 2, 2, 3, 4}, {32, 32, 128, 2, 1, 5, 2},  {32, 32, 256, 1, 1, 4, 8},
    {16, 32, 256, 1, 1, 4, 4}, {16, 64, 256, 1, 2, 3, 4}, {16, 128, 128, 1, 4, 4, 2},
};
/// Blocks that may share a tile, beginning with one.
constexpr int splits[] = {1, 2, 4};

/// Multiprocessors of the GPU that the choice is made for, an H100; older ones have some fewer.
constexpr int64_t multiprocessors = 132;

int64_t ceilDivide(int64_t x, int64_t y) { return (x + y - 1) / y; }
} // namespace

double ContractSizes::matrices() const {
  return groups == 0 ? 1 : std::max(1.0, double(groups) * -std::expm1(-double(rows) / double(groups)));
}
double ContractSizes::rowsOfEach() const { return double(rows) / matrices(); }
int64_t ContractSizes::down(int64_t tileRows) const {
  if (groups == 0)
    return ceilDivide(std::max<int64_t>(rows, 1), tileRows);
  // Of a group's last tile half has rows, as groups are of all sizes.
  return int64_t(std::ceil(matrices() * std::max(1.0, rowsOfEach() / double(tileRows) + 0.5)));
}

namespace {

/// What a multiprocessor of an H200 does, in nanoseconds: fitted to measurements, see docs/rationale/performance.md.
/// Only their ratios matter. What all warps together can do:
constexpr double matrixTime = 0.427, loadTime = 1.45, // of a product of 16 × 8 × 32 bytes, of 512 bytes for one
    copiedByte = 0.00647, storeTime = 0.08;           // of a byte of an operand, of a number of the result
/// What one block or warp waits for: a block's launch and first copies, a stage, a step, and each product in it.
constexpr double startTime = 897, roundTime = 963, turnTime = 78.6, stepTime = 35.5, ownTime = 1.51;
/// A multiprocessor's only block waits for its slowest warp; beside another one, beginning and end cost less. Where a part of the
/// GPU has no work, the rest is faster.
constexpr double aloneLoss = 0.095, besideOther = 0.83, mmaBoost = 0.176;
constexpr double clusterTime = 9500; // of sums that several blocks add up
/// What a fold of the result takes, as a part of what storing it does: counted, not measured. A load of 16 bytes from shared memory for eight
/// elements, and four operations each, which eight warps issue every other clock.
constexpr double foldPart = 0.9;

/// The likely time of a product by such tiles, in nanoseconds. Two products at once are one of as many columns as both have, of which
/// half as many are stored.
double price(const ContractSizes &s, Arithmetic type, const MmaSchedule &c) {
  constexpr int64_t sharedMemory = 227 << 10, registers = 1 << 16, mostRegisters = 255, warpsAtOnce = 64;
  int64_t tiles = s.batches * s.down(c.rows) * ceilDivide(std::max<int64_t>(s.columns * s.products, 1), c.columns);
  int64_t blocks = tiles * c.splits, warps = c.warps() * c.slices;
  int64_t warpRows = c.rows / c.warpRows / 16, warpColumns = c.columns / c.warpColumns / 16;
  int64_t registersEach = std::min(64 + 8 * warpRows * warpColumns + 8 * warpRows + 4 * warpColumns, mostRegisters);
  int64_t atOnce = std::max<int64_t>(1, std::min({sharedMemory / (c.sharedBytes(type) + 1024), warpsAtOnce / warps,
                                                  registers / (32 * warps * registersEach)}));
  int64_t each = ceilDivide(blocks, multiprocessors);
  atOnce = std::min(each, atOnce);
  double rounds = double(ceilDivide(each, atOnce));
  int64_t turns = ceilDivide(ceilDivide(std::max<int64_t>(s.depth, 1), c.depth), c.splits);
  double depthBytes = double(turns * c.depth) * sizeOf(type), steps = depthBytes / 32 / c.slices, products = 2.0 * warpRows * warpColumns;
  double working = each * (warps * steps * (products * matrixTime + (warpRows + warpColumns) * loadTime) +
                           (c.rows + c.columns) * depthBytes * copiedByte) * (atOnce == 1 ? 1 + aloneLoss : 1),
         waiting = rounds * (turns * turnTime + steps * (stepTime + products * ownTime));
  // Whichever is longer hides most of the other.
  double multiplying = std::cbrt(working * working * working + waiting * waiting * waiting) *
                       (1 - mmaBoost * (1 - double(blocks) / double(each * multiprocessors)));
  double around = rounds * roundTime + storeTime * (1 + foldPart * s.folds) * double(each) * c.rows * c.columns / (s.products * c.splits);
  return startTime + multiplying + around * (atOnce == 1 ? 1 : besideOther) + (c.splits > 1 ? rounds * clusterTime : 0);
}

/// Large tiles read shared memory less often; of tiles of several shapes one fills the last round of blocks. With ping-pong one
/// tile is stored while the next is multiplied, which pays where the inner dim is short.
constexpr WgmmaSchedule wgmmaCandidates[] = {
    {128, 256, 64, 4, 2}, {256, 144, 64, 3, 2}, {256, 128, 64, 4, 2}, {256, 160, 64, 4, 2, false, 1, 1, 8, 1}, {192, 192, 64, 4, 3, false, 1, 1, 8, 1},
    {128, 224, 64, 4, 2}, {128, 192, 64, 4, 2}, {128, 176, 64, 5, 2}, {128, 160, 64, 5, 2},
    {128, 144, 64, 5, 2}, {128, 128, 64, 6, 2}, {128, 128, 64, 6, 2, true}, {64, 256, 64, 4, 2, true},
    {128, 192, 64, 4, 2, true, 1, 1, 8, 1}, {128, 160, 64, 5, 2, true}, {128, 64, 64, 8, 2, false, 1, 1, 8, 1},
    {128, 32, 128, 5, 2, false, 1, 1, 8, 1}, {64, 32, 128, 9, 1, false, 1, 1, 8, 1},
    {64, 224, 64, 5, 1}, {64, 176, 64, 6, 1}, {64, 128, 64, 8, 1}, {64, 112, 64, 8, 1},
    {64, 64, 64, 12, 1, false, 1, 1, 8, 1}, {64, 64, 128, 6, 1, false, 1, 1, 8, 1},
};

/// What a multiprocessor of an H200 does under load, in nanoseconds, fitted to measurements (docs/rationale/performance.md):
/// multiplying an element of a tile with 128 bytes of the inner dim, bringing a line of 128 bytes to shared memory, storing an
/// element, the rest of a tile. Where a part of the GPU has no work, the rest is faster by `boost`, for its clock is higher.
struct WgmmaPrices {
  double element, line, store, tile, boost;
};
constexpr WgmmaPrices wgmmaPrices = {0.0208, 0.177, 0.0473, 692, 0.25};
/// Of 8-bit floats, whose products take half as long by the byte while their lines do not.
constexpr WgmmaPrices promotedPrices = {0.0150, 0.91, 0.057, 30, 0.36};
/// A line takes so long at least; where few tiles leave no time to hide it, this decides. Then starting and draining count, and
/// blocks of a cluster that wait for each other.
constexpr double copiedLine = 1.2, wgmmaStart = 2500, wgmmaSplit = 3000;
/// A byte of sums that blocks leave to each other, on its way to the second-level cache or back. Nobody chooses by it: within a model such
/// products gain nothing, where power is the limit.
constexpr double sharedByte = 0.02;
/// The start where weights come while the kernels before this one end.
constexpr double earlyStart = 1000;
/// Bytes a nanosecond from the GPU's memory: of all multiprocessors, and of one.
constexpr double memoryBytes = 4000, memoryBytesOfOne = 48;
/// Kernels without the copy engine for so few rows: their start, and bytes a nanosecond of the one for up to four.
constexpr double besideStart = 2500, thinBytes = 3500;
/// Products of so many rows are bound by reading the columns whatever the tile.
constexpr int64_t mostStreamedRows = 32;
/// Multiprocessors of which clusters of more than two blocks find a place.
constexpr int64_t placesOfClusters = 112;

/// Bytes that a product reads and writes at least.
double leastBytes(const ContractSizes &s, const WgmmaProblem &p) {
  const int size = sizeOf(p.type);
  return p.windows ? p.windows->bytes
                   : double(s.batches) * ((double(s.rows) + s.matrices() * double(s.products * s.columns)) * s.depth * size +
                                          double(s.rows) * s.columns * 2);
}

/// The likely time of a product by such tiles.
double price(const ContractSizes &s, const WgmmaProblem &p, const WgmmaSchedule &c) {
  const int size = sizeOf(p.type);
  int64_t down = s.down(c.rows * c.clusterRows),
          across = ceilDivide(std::max<int64_t>(s.columns * s.products, 1), c.columns * c.clusterColumns);
  int64_t tiles = s.batches * down * across,
          places = (c.cluster() > 2 ? placesOfClusters : multiprocessors) / c.cluster();
  // Lines of 128 bytes of the inner dim, for each row and column.
  const int64_t depth = p.windows ? p.windows->depth : s.depth;
  double lines = double(ceilDivide(std::max<int64_t>(depth, 1), c.depth * c.splits)) * c.depth * size / 128;
  double elements = double(c.wholeRows()) * c.columns, rounds = double(ceilDivide(tiles, places)), stored = rounds, sharing = 0;
  const WgmmaPrices prices = c.promote ? promotedPrices : wgmmaPrices;
  if (c.streamK && tiles % places != 0) {
    const int64_t whole = std::max<int64_t>(tiles / places - 1, 0), shared = tiles - whole * places;
    rounds = double(tiles) / double(places), stored = double(whole + ceilDivide(shared, places));
    // A block leaves a tile's sums, and takes those of all others that have a part of one.
    sharing = prices.tile + (1 + std::max(1.0, double(places) / double(shared))) * c.shareBytes() * sharedByte;
  }
  // Rows of x and columns of y that a block of a cluster copies for itself.
  double copied = double(c.rows) / c.clusterColumns + double(c.columns) / c.clusterRows;
  // Three stages leave no time for a copy that comes late.
  constexpr double fewStages = 1.04;
  double multiplying = lines * (prices.element * elements + prices.line * (c.wholeRows() + c.columns)) * (c.stages < 4 ? fewStages : 1) + prices.tile,
         // Norms and rotations of segments take the time of several stores.
         storing = prices.store * elements / (c.splits * s.products) * (s.segment != 0 ? 4 : 1) * (1 + foldPart * s.folds);
  double working = rounds * multiplying + (c.pingPong ? storing : stored * storing);
  working *= 1 - prices.boost * (1 - double(tiles) / (rounds * places));
  working += sharing;
  const bool streams = s.rowsOfEach() <= mostStreamedRows && !p.windows;
  const double start = streams && p.isWeight ? earlyStart : wgmmaStart;
  double copying = start + rounds * lines * copiedLine * copied;
  double reading = start + leastBytes(s, p) / std::min(memoryBytes, memoryBytesOfOne * c.cluster() * std::min(tiles, places));
  // Where memory decides, less work is better still.
  return std::max({working, copying, reading}) + (c.splits > 1 ? wgmmaSplit : 0) + working / (streams ? 256 : 64);
}

/// The time of all tiles, in elements of the result at peak, if every multiprocessor works off its share.
double price(const ContractSizes &s, int64_t rows, int64_t columns, double efficiency) {
  double blocks = double(s.batches) * s.down(rows) * ceilDivide(std::max<int64_t>(s.columns, 1), columns);
  return std::ceil(blocks / multiprocessors) * rows * columns / efficiency;
}

struct LikelyValue : DimVisitor<int64_t> {
  const DimContext &context;
  explicit LikelyValue(const DimContext &context) : context(context) {}
  int64_t constant(int64_t value) override { return value; }
  int64_t symbol(unsigned symbol) override { return context.typical(symbol); }
  int64_t add(int64_t a, int64_t b) override { return a + b; }
  // Products of many unknown sizes stay far from overflow.
  int64_t mul(int64_t a, int64_t b) override {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX / 4
                                                  : std::clamp<int64_t>(product, -(1ll << 40), 1ll << 40);
  }
  int64_t floorDiv(int64_t a, int64_t b) override { return b > 0 ? a / b : a; }
  int64_t mod(int64_t a, int64_t b) override { return b > 0 ? a % b : a; }
  int64_t min(int64_t a, int64_t b) override { return std::min(a, b); }
  int64_t max(int64_t a, int64_t b) override { return std::max(a, b); }
};
} // namespace

llvm::ArrayRef<MmaSchedule> flame::cuda::mmaSchedules() { return candidates; }

MmaSchedule flame::cuda::chooseMma(Arithmetic type, const ContractSizes &sizes) {
  MmaSchedule best;
  double least = std::numeric_limits<double>::infinity();
  auto consider = [&](const MmaSchedule &base) {
    for (int blocks : splits) {
      MmaSchedule candidate = base;
      candidate.depth = base.depth * 2 / sizeOf(type);
      candidate.splits = blocks;
      // The tile of a group takes registers that the sums of the largest tiles need.
      if (!candidate.isValid(type, sizes.x, sizes.y, sizes.products) || (sizes.groups > 0 && !candidate.isEven()) ||
          (sizes.folds > 0 && !candidate.takesFolds(sizes.products)))
        continue;
      if (double time = price(sizes, type, candidate); time < least)
        best = candidate, least = time;
    }
  };
  llvm::for_each(candidates, consider);
  return best;
}

llvm::ArrayRef<WgmmaSchedule> flame::cuda::wgmmaSchedules() { return wgmmaCandidates; }

double flame::cuda::likelyTime(const WgmmaProblem &problem, const ContractSizes &sizes, const WgmmaSchedule &schedule) {
  return price(sizes, problem, schedule);
}

WgmmaSchedule flame::cuda::fitted(WgmmaSchedule s, Arithmetic type, Major x, Major y, std::optional<int64_t> rows, int besides) {
  constexpr int mostStages = 16;
  const int sharedMemory = WgmmaSchedule::mostSharedBytes - besides;
  s.depth = s.depth * 2 / sizeOf(type);
  s.promote = type == Arithmetic::E4M3 || type == Arithmetic::E5M2;
  if (rows && *rows < s.rows && !s.pingPong) {
    s.rows = int((std::max<int64_t>(*rows, 1) + 7) / 8 * 8);
    // More copies under way; consumers without rows would only wait.
    s.stages = mostStages;
    if (s.wholeRows() % (64 * s.consumers) != 0)
      s.consumers = 1;
  }
  while (s.stages > 2 && s.sharedBytes(type, x, y) > sharedMemory)
    --s.stages;
  return s;
}

namespace {
/// Tiles for products of so few rows that reading the columns decides, for elements of 16 bits. As many columns as give every
/// multiprocessor a tile, or two, …; a step is some 16 KB.
llvm::SmallVector<WgmmaSchedule> streamingCandidates(const WgmmaProblem &p, const ContractSizes &s, int64_t fewRows) {
  constexpr int64_t mostColumns = 128, mostRounds = 10;
  constexpr int stepBytes = 16 << 10, mostStages = 16, lineElements = 64;
  // An operand whose lines run along the side has one for each element of the inner dim.
  const int mostLines = p.x == Major::Depth && p.y == Major::Depth ? 8 : WgmmaSchedule::mostBoxLines / lineElements;
  llvm::SmallVector<WgmmaSchedule> candidates;
  // Rows of an unknown number are as many tiles as they need, of whole pieces of 16; ends of groups are within pieces anyway.
  const int64_t piece = p.rows || p.groups > 0 ? 8 : 16;
  const int rows = int(ceilDivide(std::max<int64_t>(fewRows, 1), piece) * piece);
  // Lines along the side are whole ones.
  const int64_t together = s.products * (p.y == Major::Depth ? 8 : lineElements);
  auto add = [&](int64_t columns) {
    WgmmaSchedule c{rows, int(columns), lineElements, mostStages, 1, false, 1, 1, 8, 1};
    const int lineBytes = (rows + int(columns)) * WgmmaSchedule::lineBytes;
    // Behind few rows the product reads on into the columns of the step.
    auto fills = [&] { return (c.wholeRows() - rows) * WgmmaSchedule::lineBytes <= c.operandBytes(Arithmetic::BF16, p.y, c.columns); };
    while (2 * c.depth <= mostLines * lineElements && (!fills() || 2 * c.depth / lineElements * lineBytes <= stepBytes))
      c.depth *= 2;
    candidates.push_back(c);
  };
  // Of many matrices there are tiles enough, whatever their widths.
  if (p.groups > 0)
    for (int64_t columns = mostColumns; columns >= together; columns /= 2)
      if (columns % together == 0)
        add(columns);
  for (int64_t rounds = 1, last = 0; rounds <= mostRounds; ++rounds) {
    const int64_t all = std::max<int64_t>(s.batches * s.down(rows) * s.columns * s.products, 1),
                  columns = ceilDivide(ceilDivide(all, multiprocessors * rounds), together) * together;
    if (columns > mostColumns || columns == last)
      continue;
    last = columns;
    add(columns);
  }
  return candidates;
}
} // namespace

/// See chooseWgmma; with the time, which is that of mma.sync where there is no schedule.
static std::pair<std::optional<WgmmaSchedule>, double> cheapest(const WgmmaProblem &problem, const ContractSizes &sizes) {
  std::optional<WgmmaSchedule> best;
  // The model of mma.sync knows nothing of the GPU's memory: small products that it was fitted to had their operands in the second-level
  // cache. The copy engine comes nearest to what memory gives.
  constexpr double besideCopyEngine = 1.07, coldOperands = 1900;
  // Other matrix instructions multiply 8-bit floats as f16.
  const bool isFloat8 = problem.type == Arithmetic::E4M3 || problem.type == Arithmetic::E5M2;
  const Arithmetic beside = isFloat8 ? Arithmetic::F16 : problem.type;
  const double bytes = leastBytes(sizes, problem);
  const int64_t fewRows = problem.rows.value_or(int64_t(std::ceil(sizes.rowsOfEach())));
  const bool streams = fewRows <= mostStreamedRows && !problem.windows;
  // Of many matrices, blocks that take tile after tile go on reading between them; mma.sync's do not.
  double least = problem.isThin ? besideStart + bytes / thinBytes
                                : std::max(coldOperands + price(sizes, beside, chooseMma(beside, sizes)),
                                           streams && sizes.groups == 0 ? besideStart + bytes / memoryBytes : besideCopyEngine * bytes / memoryBytes);
  // Others scale every element that they multiply, for each tile that reads it.
  // Nor is there another way to have whole segments at hand.
  if (sizes.scaleColumns != 0 || sizes.segment != 0)
    least = std::numeric_limits<double>::infinity();
  auto consider = [&](WgmmaSchedule candidate) {
    if (!candidate.isValid(problem.type, problem.x, problem.y, sizes.products, problem.tableBytes()) ||
        !problem.hasRegisters(candidate, sizes.products) ||
        (sizes.scaleColumns != 0 && !candidate.takesScales(problem.type)) ||
        (sizes.segment != 0 && !candidate.takesSegments(int(sizes.segment))) || (sizes.folds > 0 && !candidate.takesFolds(sizes.products)))
      return;
    // Splitting is for products with fewer tiles than multiprocessors.
    if (candidate.splits > 1 && sizes.batches * sizes.down(candidate.rows) *
                                        ceilDivide(sizes.columns * sizes.products, candidate.columns) * candidate.splits > multiprocessors)
      return;
    if (double time = price(sizes, problem, candidate); time < least)
      best = candidate, least = time;
  };
  if (streams)
    // Groups that have more rows than most have tiles enough for them, too, or tiles one below the other.
    for (int64_t rows = fewRows; rows <= (problem.groups > 0 ? std::min<int64_t>(4 * fewRows, 64) : fewRows); rows *= 2)
      for (const WgmmaSchedule &base : streamingCandidates(problem, sizes, rows))
        consider(fitted(base, problem.type, problem.x, problem.y, {}, problem.tableBytes()));
  for (const WgmmaSchedule &base : wgmmaCandidates)
    for (int blocks : splits) {
      // Large tiles are for products of many.
      if (blocks > 1 && base.columns > 128)
        continue;
      // Consumers that take turns have whole tiles, as have all where the number of rows is not known.
      if (streams && (base.pingPong || !problem.rows))
        continue;
      WgmmaSchedule candidate = base;
      candidate.splits = blocks;
      candidate.slabs = std::max<int>(candidate.slabs, int(2 * sizes.segment / WgmmaSchedule::lineBytes));
      consider(fitted(candidate, problem.type, problem.x, problem.y, problem.rows, problem.tableBytes()));
    }
  return {best, least};
}

std::optional<WgmmaSchedule> flame::cuda::chooseWgmma(const WgmmaProblem &problem, const ContractSizes &sizes) {
  return cheapest(problem, sizes).first;
}

double flame::cuda::likelyTime(Arithmetic type, const std::optional<WgmmaProblem> &problem, const ContractSizes &sizes) {
  if (problem)
    return cheapest(*problem, sizes).second;
  // Others multiply 8-bit floats as f16.
  const Arithmetic multiplied = type == Arithmetic::E4M3 || type == Arithmetic::E5M2 ? Arithmetic::F16 : type;
  return price(sizes, multiplied, chooseMma(multiplied, sizes));
}

SimtSchedule flame::cuda::chooseSimt(Arithmetic type, const ContractSizes &sizes) {
  bool wide = sizeOf(type) == 8;
  SimtSchedule large{8, 16, 3}, medium{4, wide ? 8 : 16, 3}, small{2, 16, 3};
  double largeTime = price(sizes, 128, 128, 1.0), mediumTime = price(sizes, 64, 64, 0.6),
         smallTime = price(sizes, 32, 32, 0.25);
  // Eight-byte sums of 8 × 8 would take all registers.
  if (!wide && largeTime <= mediumTime && largeTime <= smallTime)
    return large;
  return mediumTime <= smallTime ? medium : small;
}

AttentionSchedule flame::cuda::chooseAttention(const AttentionSizes &s) {
  auto round = [](int size) { return (size + 15) / 16 * 16; };
  const int depth = round(s.depth), width = round(s.columns), head = std::max(depth, width);
  auto make = [&](int rows, int keys, int warpRows, int warpKeys, int stages) {
    // Few queries over many keys: several blocks have a part of them each.
    constexpr int64_t fewQueries = 64;
    const bool shares = s.queries <= fewQueries && s.keys >= KeySharing::manyKeys &&
                        2 * s.batches * ceilDivide(s.queries, rows) <= KeySharing::blocks;
    return AttentionSchedule{rows, keys, warpRows, warpKeys, depth, width, stages, shares ? KeySharing::blocks : 1};
  };
  auto blocks = [&](int rows) { return s.batches * ceilDivide(std::max<int64_t>(s.queries, 1), rows); };
  const int few = s.keys <= 128 ? 1 : 2; // stages
  // Sums of such heads don't fit in registers; only where all code is for sm_90a, which has another way, are they here.
  if (head > 256)
    return make(32, 16, 2, 1, 1);
  if (head > 128)
    return make(64, 64, 4, 1, 1);
  // Warps of 32 rows read keys and values half as often as those of 16, but leave few registers to a mask.
  if (blocks(128) >= multiprocessors && (head > 64 || !s.masked))
    return make(128, head > 64 ? 64 : 128, 4, 1, 2);
  // A third of the multiprocessors without work costs less than smaller tiles do.
  constexpr int64_t enough = multiprocessors * 2 / 3;
  if (blocks(64) >= enough)
    return head > 64 ? make(64, 64, 4, 1, 2) : make(64, 128, 4, 1, few);
  // Few rows: warps share them, each with a part of the keys.
  if (blocks(32) >= enough)
    return head > 64 ? make(32, 64, 2, 2, 2) : make(32, 128, 2, 2, few);
  return head > 64 ? make(16, 64, 1, 4, 2) : make(16, 128, 1, 4, few);
}

/// Rows of at most so many elements are sorted by a warp.
constexpr int64_t warpRow = 256;
/// Of shared memory for a tile.
constexpr int64_t tileBytes = 64 << 10, mostTile = 8192;

TopKChoice flame::cuda::chooseTopK(const KeyFormat &format, std::optional<int64_t> length,
                                   std::optional<int64_t> mostWanted) {
  constexpr int64_t shortLimit = 0xffff, longLimit = 0xffffffff; // of positions beside keys of 16 and 32 bits
  int pairBytes = format.bits > 32 || length.value_or(0) > longLimit              ? 16
                  : format.bits <= 16 && length.value_or(longLimit) <= shortLimit ? 4
                                                                                  : 8;
  if (length && *length <= warpRow)
    return {TopKForm::Warps, {256, int(llvm::PowerOf2Ceil(std::max<int64_t>(*length, 1))), pairBytes}};
  bool few = mostWanted && length && *length >= 1024 && *mostWanted * 8 <= *length;
  if (length && *length * pairBytes <= tileBytes && !few) {
    int tile = int(llvm::PowerOf2Ceil(*length));
    return {TopKForm::Block, {std::clamp(tile / 4, 128, 512), tile, pairBytes}};
  }
  // Small blocks share a multiprocessor, so that some read while others sort.
  TopKSchedule large{512, int(std::min(mostTile, tileBytes / pairBytes)), pairBytes};
  TopKSchedule small{256, large.tile / 2, pairBytes}, smallest{128, large.tile / 4, pairBytes};
  if (!mostWanted || *mostWanted > small.kept())
    return {mostWanted && *mostWanted <= large.kept() ? TopKForm::Select : TopKForm::Long, large};
  return {TopKForm::Select, few && *length <= small.chunk() ? smallest : small};
}

int64_t flame::cuda::likely(DimExpr expr) { return LikelyValue(*expr.node->context).visit(expr); }

std::string flame::cuda::text(const KeyFormat &format) {
  static const char *const kinds[] = {"Unsigned", "Signed", "Float"};
  return std::string("flame::KeyFormat{flame::KeyKind::") + kinds[int(format.kind)] + ", " +
         std::to_string(format.bits) + ", 0x" + llvm::utohexstr(format.largest, /*LowerCase=*/true) + "}";
}
llvm::StringRef flame::cuda::nameOf(Arithmetic type) {
  static const char *const names[] = {"F16", "BF16", "TF32", "F32",  "F64", "I32",
                                      "I64", "I8",   "U8",   "E4M3", "E5M2"};
  return names[int(type)];
}
std::string flame::cuda::text(Arithmetic type) { return ("flame::Arithmetic::" + nameOf(type)).str(); }
