//===- StreamKTest.cpp - tiles that blocks share by steps of the inner dim, emulated ------------------------------===//
//
// Who has which steps, for many numbers of tiles, blocks and steps; then products against sums in float64, several runs in a row, with and
// without clusters, with blocks that come late. Before a run what blocks leave to each other is poison, behind it all flags are
// down. Everything here has clusters, which the other tests of kernels do without.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "impl/WgmmaGemm.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr Major D = Major::Depth, S = Major::Side;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;

/// Every step of every tile is one block's; who has a tile's last steps finds all that have the others.
void checkShares(unsigned tiles, unsigned blocks, int turns) {
  SCOPED_TRACE(testing::Message() << tiles << " tiles of " << turns << " steps, " << blocks << " blocks");
  std::vector<std::vector<int>> owner(tiles, std::vector<int>(turns, -1));
  std::vector<int> left(blocks, -1), steps(blocks, 0), stored(tiles, 0);
  std::vector<std::vector<unsigned>> taken(tiles);
  for (unsigned block = 0; block < blocks; ++block) {
    bool mayLeave = true; // only what comes first is left to others, so that nobody waits before
    for (SharedTiles course(tiles, block, blocks, turns); course.any(); course.next()) {
      const Piece piece = course.piece();
      ASSERT_LT(piece.tile, tiles);
      ASSERT_TRUE(0 <= piece.from && piece.from < piece.to && piece.to <= turns) << piece.from << " to " << piece.to;
      ASSERT_EQ(course.steps(), piece.steps());
      for (int step = piece.from; step < piece.to; ++step) {
        ASSERT_EQ(owner[piece.tile][step], -1);
        owner[piece.tile][step] = int(block);
      }
      steps[block] += piece.steps();
      SharedTiles behind = course;
      behind.next();
      ASSERT_EQ(course.more(), behind.any());
      if (course.leaves()) {
        ASSERT_TRUE(mayLeave && left[block] == -1);
        left[block] = int(piece.tile);
      } else {
        ++stored[piece.tile];
        if (course.joins())
          course.others([&](unsigned other) { taken[piece.tile].push_back(other); });
      }
      mayLeave = false;
    }
  }
  for (unsigned tile = 0; tile < tiles; ++tile) {
    ASSERT_EQ(stored[tile], 1);
    // From the tile's last block down, each once.
    std::vector<unsigned> others;
    for (int step = turns - 1; step >= 0; --step) {
      ASSERT_GE(owner[tile][step], 0);
      if (step + 1 < turns && owner[tile][step] != owner[tile][step + 1]) {
        ASSERT_LT(owner[tile][step], owner[tile][step + 1]) << "blocks wait for those of smaller numbers alone";
        ASSERT_EQ(left[owner[tile][step]], int(tile));
        others.push_back(unsigned(owner[tile][step]));
      }
    }
    ASSERT_EQ(taken[tile], others);
  }
  // All have as many, but for what both borders move by.
  const double even = double(tiles) * turns / blocks, slack = tiles % blocks == 0 ? 0 : 2 * WgmmaSchedule::leastShare - 1;
  for (unsigned block = 0; block < blocks && tiles >= blocks; ++block)
    ASSERT_NEAR(steps[block], even, slack) << "block " << block;
}

TEST(StreamK, SharesAreWholeAndEven) {
  for (unsigned tiles : {0u, 1u, 2u, 3u, 5u, 7u, 8u, 13u, 16u, 23u, 24u, 25u, 40u})
    for (unsigned blocks : {1u, 2u, 3u, 5u, 8u, 12u, 24u})
      for (int turns : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 48, 100})
        checkShares(tiles, blocks, turns);
  // Those of real products on a GPU of 132 multiprocessors, and of half as many clusters.
  for (unsigned tiles : {1u, 16u, 128u, 131u, 133u, 144u, 263u, 432u, 1296u})
    for (unsigned blocks : {132u, 66u, 144u})
      for (int turns : {12, 48, 240})
        checkShares(tiles, blocks, turns);
}

TEST(StreamK, LongInnerDimsDontOverflow) {
  const int turns = (1 << 25) - 1;
  for (unsigned blocks : {131u, 132u, 144u}) {
    const SharedTiles course(2 * blocks - 1, 0, blocks, turns);
    SharedTiles::Place before = {0, 0};
    for (unsigned block = 1; block <= blocks; ++block) {
      const auto at = course.border(block);
      const long long steps = (long long)(at.tile - before.tile) * turns + at.step - before.step,
                      share = (long long)(2 * blocks - 1) * turns / blocks;
      ASSERT_NEAR(double(steps), double(share), 2 * WgmmaSchedule::leastShare) << block;
      before = at;
    }
  }
}

template <Arithmetic type> typename TypeOf<type>::Storage stored(float number) {
  if constexpr (sizeOf(type) == 2)
    return narrow<type>(number);
  else if constexpr (type == Arithmetic::E4M3 || type == Arithmetic::E5M2)
    return narrowByte<type>(number);
  else
    return typename TypeOf<type>::Storage(number);
}

/// As TensorOperand, for blocks of which some come late, the first ones most of all.
struct LateOperand {
  static constexpr bool early = false;
  const TensorMap &map;
  int batchStep;
  template <typename Tile> struct Steps : TensorOperand<>::Steps<Tile> {
    void load(SharedAddress to, SharedAddress barrier) {
      for (int i = 0; i < 60 - 20 * least(blockId(), 2); ++i)
        emulator::yield();
      TensorOperand<>::Steps<Tile>::load(to, barrier);
    }
  };
  template <typename Tile> Steps<Tile> steps(int line, int inner, int batch, int rank) const {
    return {TensorOperand<>{map, batchStep}.template steps<Tile>(line, inner, batch, rank)};
  }
};

enum class By { Engine, Repeated, Kernel };
struct Sizes {
  int batches, rows, columns, depth;
};

/// x [batches, rows, depth], `products` operands y [columns, depth] or, along the side, [depth, columns], one for each batch or, of `ends`,
/// for each group of rows; with `scaled`, a scale for each 128 of the inner dim in a row of x and in a column of y.
template <WgmmaSchedule s, Arithmetic type = BF16, Major yMajor = D, By by = By::Engine, int products = 1, bool isEarly = false,
          bool isLate = false, bool scaled = false>
void check(Sizes z, int blocks, std::vector<int> ends = {}) {
  static_assert(s.streamK);
  SCOPED_TRACE(testing::Message() << z.batches << " of " << z.rows << "x" << z.columns << "x" << z.depth << " by " << blocks << " blocks");
  using T = typename TypeOf<type>::Storage;
  using Sum = typename TypeOf<type>::Sum;
  constexpr bool isWhole = type == Arithmetic::I8;
  constexpr int bytes = sizeOf(type), perLine = 128 / bytes, part = s.columns / products;
  const int groups = int(ends.size()), matrices = groups ? groups : z.batches, scales = (z.depth + 127) / 128;
  std::mt19937 random(z.rows + z.columns + z.depth + z.batches);
  auto number = [&] { return isWhole ? float(int(random() % 9) - 4) : float(int(random() % 513) - 256) / 128; };
  auto fill = [&](auto &memory, std::vector<double> &values) {
    values.resize(memory.count);
    for (size_t i = 0; i < memory.count; ++i) {
      memory[i] = stored<type>(number());
      if constexpr (isWhole)
        values[i] = (signed char)memory[i];
      else
        values[i] = widen<type>(memory[i]);
    }
  };
  Guarded<T> x(size_t(z.batches) * z.rows * z.depth), y[2] = {Guarded<T>(size_t(matrices) * z.columns * z.depth),
                                                             Guarded<T>(size_t(matrices) * z.columns * z.depth)};
  Guarded<float> xScale(size_t(z.rows) * scales), yScale(size_t(z.columns) * scales);
  Guarded<Sum> result(size_t(z.batches) * z.rows * z.columns);
  std::vector<double> xs, ys[2];
  fill(x, xs), fill(y[0], ys[0]), fill(y[1], ys[1]);
  for (auto *scale : {&xScale, &yScale})
    for (size_t i = 0; i < scale->count; ++i)
      (*scale)[i] = float(random() % 8 + 1) / 4;

  auto map = [&](T *memory, int lines, int count, Major order, int linesOfBox) {
    const long long pitch = 1ll * bytes * (order == D ? z.depth : lines), matrix = 1ll * bytes * lines * z.depth;
    return TensorMap{(unsigned char *)memory, bytes, 3, {order == D ? z.depth : lines, order == D ? lines : z.depth, count},
                     {bytes, pitch, matrix}, {perLine, order == D ? linesOfBox : s.depth, 1}};
  };
  const TensorMap xMap = map(x.data, z.rows, z.batches, D, s.rows / s.clusterColumns),
                  first = map(y[0].data, z.columns, matrices, yMajor, part / s.clusterRows),
                  second = map(y[1].data, z.columns, matrices, yMajor, part / s.clusterRows),
                  to{(unsigned char *)result.data, 4, 3, {z.columns, z.rows, z.batches},
                     {4, 4ll * z.columns, 4ll * z.columns * z.rows}, {32, 16, 1}};
  auto body = [&](int row, int column, Sum sum) { return Sum(sum + Sum(row % 5 - 2 * (column % 7))); };
  auto both = [&](int row, int column, Sum sum, Sum other) { return body(row, column, Sum(sum + 3 * other)); };

  std::vector<unsigned char> memory(size_t(blocks) * s.shareBytes() + 16);
  std::vector<unsigned> state(ShareState::bytes / 4 + 1);
  unsigned char *aligned = memory.data() + (16 - size_t(memory.data()) % 16) % 16;
  auto run = [&] {
    std::memset(memory.data(), 0xff, memory.size()); // NaN
    for (size_t i = 0; i < result.count; ++i)
      result[i] = Sum(-777);
    emulator::launch(
        blocks, s.threads(), s.sharedBytes(type, D, yMajor) + s.tableBytes(groups),
        [&] {
          auto make = [&](int batch) {
            auto store = [&](auto of) {
              const int firstRow = batch * z.rows, pitch = z.columns;
              if constexpr (by == By::Kernel)
                return flame::store<true>(result.data, of, [=](int row, int column) { return (firstRow + row) * pitch + column; });
              else if (!groups)
                return tensorStore<Sum, by == By::Repeated>(to, of);
            };
            if constexpr (products == 2)
              return store(both);
            else
              return store(body);
          };
          const Problem<int> p{z.rows, z.columns, z.depth};
          const TileShares shares{aligned, state.data()};
          auto left = [&] {
            if constexpr (isLate)
              return LateOperand{xMap, groups ? 0 : 1};
            else
              return TensorOperand{xMap, groups ? 0 : 1};
          }();
          auto right = [&] {
            if constexpr (products == 2)
              return PairedTensors<isEarly>{first, second, 1};
            else
              return TensorOperand<isEarly>{first, 1};
          }();
          if constexpr (by == By::Kernel && !isEarly && !scaled)
            if (groups)
              return wgmmaGemm<s, type, D, yMajor>(p, rowGroups(ends.data(), groups, z.rows), left, right, make, NoScales(), shares);
          if constexpr (scaled)
            wgmmaGemm<s, type, D, yMajor>(p, 1, left, right, make, BlockScales<1, int>{xScale.data, scales, 1, yScale.data, scales, 1}, shares);
          else
            wgmmaGemm<s, type, D, yMajor>(p, z.batches, left, right, make, NoScales(), shares);
        },
        /*together=*/true, s.cluster());
    for (size_t i = 0; i < state.size(); ++i)
      ASSERT_EQ(state[i], 0u) << "flag " << i;
  };
  run();
  if (testing::Test::HasFatalFailure())
    return;
  for (int b = 0, group = 0; b < z.batches; ++b)
    for (int i = 0; i < z.rows; ++i) {
      while (group < groups && ends[group] <= i)
        ++group;
      const int matrix = groups ? group : b;
      for (int j = 0; j < z.columns; ++j) {
        double sum[2] = {}, size = 1;
        for (int p = 0; p < products && matrix < matrices; ++p)
          for (int k = 0; k < z.depth; ++k) {
            const double term = xs[(size_t(b) * z.rows + i) * z.depth + k] *
                                ys[p][size_t(matrix) * z.columns * z.depth + (yMajor == D ? size_t(j) * z.depth + k : size_t(k) * z.columns + j)] *
                                (scaled ? xScale[size_t(i) * scales + k / 128] * yScale[size_t(j) * scales + k / 128] : 1.0);
            sum[p] += term, size += std::abs(term) * (p ? 3 : 1);
          }
        const double want = sum[0] + 3 * sum[1] + i % 5 - 2 * (j % 7), got = double(result[(size_t(b) * z.rows + i) * z.columns + j]);
        ASSERT_NEAR(got, want, isWhole ? 0 : size * 1e-6) << "batch " << b << ", row " << i << ", column " << j;
      }
    }
  // Again and again, the same bits.
  const std::vector<Sum> before(result.data, result.data + result.count);
  for (int again = 0; again < 1; ++again) {
    run();
    ASSERT_EQ(std::memcmp(before.data(), result.data, before.size() * sizeof(Sum)), 0);
  }
}

constexpr WgmmaSchedule streamK(WgmmaSchedule s) {
  s.streamK = true;
  return s;
}
constexpr WgmmaSchedule small = streamK({64, 32, 64, 3, 1});

TEST(StreamK, FewTilesOfManySteps) {
  check<small>({1, 64, 32, 768}, 2);       // one tile of 12 steps
  check<small>({1, 50, 30, 1272}, 5);      // of 20: blocks with the middle of it
  check<small>({1, 64, 64, 1280}, 7);      // two tiles
  check<small>({1, 100, 72, 776}, 4);      // six, of which all are shared
}

TEST(StreamK, RoundsOfWholeTilesComeLast) {
  check<small>({1, 130, 72, 584}, 4);              // nine: two rounds and one more, one round of which stays
  check<small>({1, 130, 72, 584}, 2);
  check<small, F16, D, By::Kernel>({1, 130, 70, 584}, 4);
  check<small>({1, 128, 64, 520}, 4);              // as many as blocks: nothing is shared
  check<small>({3, 70, 40, 520}, 5);               // of batches
}

TEST(StreamK, FewStepsStayTogether) {
  check<small>({1, 130, 72, 0}, 4);
  check<small>({1, 130, 72, 72}, 4);
  check<small>({1, 130, 72, 264}, 7); // five steps: never less than four of them
}

TEST(StreamK, ConsumersShareATileOrTakeTurns) {
  check<streamK({128, 32, 64, 3, 2})>({1, 260, 40, 584}, 4);
  check<streamK({256, 16, 64, 3, 2}), F16, D, By::Kernel>({1, 260, 20, 584}, 3); // two slices each
  check<streamK({192, 32, 64, 3, 3})>({1, 200, 72, 520}, 4);
  check<streamK({64, 32, 64, 3, 2, true})>({1, 130, 72, 584}, 4);
  check<streamK({64, 32, 64, 3, 2, true})>({1, 64, 64, 1280}, 5);
  check<streamK({128, 32, 64, 2, 2, true}), BF16, D, By::Kernel>({1, 300, 72, 584}, 4);
  check<streamK({16, 64, 64, 3, 1})>({1, 40, 72, 584}, 4); // few rows
}

TEST(StreamK, OrdersTypesAndBodies) {
  check<streamK({64, 64, 64, 3, 1}), F16, S>({1, 70, 136, 520}, 4);
  check<streamK({64, 32, 64, 3, 1}), BF16, D, By::Repeated>({1, 130, 72, 520}, 4);
  check<streamK({64, 32, 128, 3, 1}), Arithmetic::I8>({1, 130, 72, 1040}, 4);
  check<streamK({64, 32, 128, 3, 1, false, 1, 1, 8, 2, true}), Arithmetic::E4M3>({1, 130, 72, 1040}, 4);
  check<small, BF16, D, By::Engine, 1, /*isEarly=*/true>({1, 100, 72, 776}, 4);
  check<streamK({64, 32, 64, 3, 2, true}), BF16, D, By::Engine, 1, /*isEarly=*/true>({1, 130, 72, 584}, 4);
}

TEST(StreamK, TwoProductsAtOnce) {
  check<streamK({64, 64, 64, 3, 1}), BF16, D, By::Engine, 2>({1, 100, 72, 584}, 4);
  check<streamK({128, 64, 64, 3, 2, true}), F16, D, By::Kernel, 2>({1, 150, 70, 584}, 3);
}

TEST(StreamK, ScalesOfBlocks) {
  check<streamK({64, 32, 128, 3, 1, false, 1, 1, 8, 2, true}), Arithmetic::E4M3, D, By::Engine, 1, false, false, true>({1, 130, 72, 1152}, 4);
  check<streamK({64, 32, 128, 3, 2, true, 1, 1, 8, 2, true}), Arithmetic::E4M3, D, By::Kernel, 1, false, false, true>({1, 100, 72, 1040}, 4);
}

TEST(StreamK, GroupsOfRows) {
  check<small, BF16, D, By::Kernel>({1, 150, 40, 584}, 4, {70, 70, 71, 140});
  check<streamK({64, 32, 64, 3, 2, true}), F16, D, By::Kernel>({1, 150, 40, 584}, 5, {10, 150});
}

TEST(StreamK, BlocksThatComeLate) {
  check<small, BF16, D, By::Engine, 1, false, /*isLate=*/true>({1, 100, 72, 776}, 4);
  check<small, BF16, D, By::Engine, 1, false, true>({1, 50, 30, 1272}, 5);
  check<streamK({64, 32, 64, 3, 2, true}), BF16, D, By::Engine, 1, false, true>({1, 130, 72, 584}, 4);
}

TEST(StreamK, Clusters) {
  check<streamK({64, 32, 64, 3, 1, false, 2, 1})>({1, 250, 72, 584}, 8);
  check<streamK({64, 32, 64, 3, 1, false, 1, 2}), F16, D, By::Kernel>({1, 130, 100, 584}, 8);
  check<streamK({128, 32, 64, 3, 2, false, 2, 1})>({1, 200, 40, 1280}, 6);
  check<streamK({64, 32, 64, 3, 2, true, 2, 1})>({1, 250, 72, 584}, 6);
}

} // namespace
