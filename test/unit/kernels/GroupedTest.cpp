//===- GroupedTest.cpp - products of groups of rows, emulated -----------------------------------------------------===//
//
// The templates that multiply each group of rows by a matrix of its own, against the plain definition, of small whole numbers,
// so that sums are exact: groups without rows, of one row, of several tiles, rows behind the groups, ends that are wrong. What is
// nobody's is poisoned: x and y behind their ends can't be read, a row of x that no group has is infinite, and every
// element of the result is checked. Clusters are emulated for whole models alone (test/e2e/test_emulated.py).
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "impl/Gemm.h"
#include "impl/Simt.h"
#include "impl/WgmmaGemm.h"
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr Major D = Major::Depth, S = Major::Side;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;

int tiles(int size, int tile) { return (size + tile - 1) / tile; }

template <Arithmetic type> typename TypeOf<type>::Storage stored(float number) {
  if constexpr (sizeOf(type) == 2)
    return narrow<type>(number);
  else
    return typename TypeOf<type>::Storage(number);
}

/// x [rows, depth], `products` operands y [groups, columns, depth] or, along the side, [groups, depth, columns].
template <Arithmetic type, Major yMajor, int products = 1> struct Groups {
  using T = typename TypeOf<type>::Storage;
  std::vector<int> ends;
  int groups, rows, columns, depth;
  std::vector<int> xs, ys[2];
  Guarded<T> x, y[2];
  Guarded<float> result;

  Groups(std::vector<int> ends, int rows, int columns, int depth)
      : ends(ends), groups(int(ends.size())), rows(rows), columns(columns), depth(depth), x(size_t(rows) * depth),
        y{Guarded<T>(size_t(groups) * columns * depth), Guarded<T>(size_t(groups) * columns * depth)}, result(size_t(rows) * columns) {
    std::mt19937 random(rows + columns + depth + groups);
    auto fill = [&](std::vector<int> &numbers, size_t count) {
      numbers.resize(count);
      for (int &number : numbers)
        number = int(random() % 9) - 4;
    };
    fill(xs, x.count);
    for (int i = 0; i < rows; ++i)
      for (int k = 0; k < depth; ++k)
        x[size_t(i) * depth + k] = stored<type>(groupOf(i) < groups ? float(xs[size_t(i) * depth + k]) : std::numeric_limits<float>::infinity());
    for (int p = 0; p < products; ++p) {
      fill(ys[p], y[p].count);
      for (size_t i = 0; i < y[p].count; ++i)
        y[p][i] = stored<type>(float(ys[p][i]));
    }
    for (size_t i = 0; i < result.count; ++i)
      result[i] = -777;
  }
  Groups(const Groups &) = delete;

  int groupOf(int row) const {
    int group = 0;
    while (group < groups && ends[group] <= row)
      ++group;
    return group;
  }
  auto rowGroups() const { return flame::rowGroups(ends.data(), groups, rows); }
  Problem<int> problem() const { return {rows, columns, depth}; }
  int pitch() const { return yMajor == D ? depth : columns; }
  static float combine(int row, int column, float first, float second = 0) { return first + 3 * second + row % 5 - 2 * (column % 7); }
  auto body() const {
    if constexpr (products == 1)
      return [](int row, int column, float sum) { return combine(row, column, sum); };
    else
      return [](int row, int column, float first, float second) { return combine(row, column, first, second); };
  }
  auto store() {
    const int pitch = columns;
    return flame::store<true>(result.data, body(), [pitch](int row, int column) { return row * pitch + column; });
  }
  void check() {
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        float sums[2] = {};
        if (const int group = groupOf(i); group < groups)
          for (int p = 0; p < products; ++p)
            for (int k = 0; k < depth; ++k)
              sums[p] += xs[size_t(i) * depth + k] *
                         ys[p][size_t(group) * columns * depth + (yMajor == D ? size_t(j) * depth + k : size_t(k) * columns + j)];
        ASSERT_EQ(result[size_t(i) * columns + j], combine(i, j, sums[0], sums[1]))
            << rows << "x" << columns << "x" << depth << " in " << groups << " groups at " << i << ", " << j;
      }
  }
};

/// How results are stored: by the copy engine, with the body for every element or in loops, or by the kernel.
enum class By { Engine, Repeated, Kernel };

template <WgmmaSchedule s, Arithmetic type, Major yMajor, By by, int products = 1>
void wgmma(std::vector<int> ends, int rows, int columns, int depth, bool isRight = true, int blocks = 3) {
  static_assert(s.cluster() == 1);
  Groups<type, yMajor, products> g(ends, rows, columns, depth);
  constexpr int bytes = sizeOf(type), perLine = 128 / bytes, part = s.columns / products;
  const TensorMap xMap{(unsigned char *)g.x.data, bytes, 3, {depth, rows, 1}, {bytes, 1ll * bytes * depth, 1ll * bytes * depth},
                       {perLine, s.rows, 1}};
  auto mapOf = [&](int p) {
    return TensorMap{(unsigned char *)g.y[p].data, bytes, 3, {yMajor == D ? depth : columns, yMajor == D ? columns : depth, g.groups},
                     {bytes, 1ll * bytes * g.pitch(), 1ll * bytes * columns * depth}, {perLine, yMajor == D ? part : s.depth, 1}};
  };
  const TensorMap first = mapOf(0), second = mapOf(products - 1),
                  to{(unsigned char *)g.result.data, 4, 3, {columns, rows, 1}, {4, 4ll * columns, 4ll * columns}, {32, 16, 1}};
  emulator::launch(blocks, s.threads(), s.sharedBytes(type, D, yMajor) + s.tableBytes(g.groups), [&] {
    auto make = [&](int) {
      if constexpr (by != By::Kernel)
        return clippedStore<float, by == By::Repeated>(to, g.body(), g.result.data, columns);
      else
        return g.store();
    };
    if constexpr (products == 1)
      wgmmaGemm<s, type, D, yMajor>(g.problem(), g.rowGroups(), TensorOperand{xMap, 0}, TensorOperand{first, 1}, make);
    else
      wgmmaGemm<s, type, D, yMajor>(g.problem(), g.rowGroups(), TensorOperand{xMap, 0}, PairedTensors{first, second, 1}, make);
  });
  if (isRight)
    g.check();
}

TEST(Grouped, Wgmma) {
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel>({10, 80, 80, 130}, 130, 72, 136);
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, D, By::Engine>({0, 70, 133, 140}, 140, 72, 136);      // the first is empty
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Engine>({1, 65, 129, 129}, 200, 136, 72);       // so is the last, and rows are left
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel>({0, 0, 0}, 70, 40, 64);                 // all are
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Engine>({200}, 200, 72, 64);                    // a single one
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Engine>({33, 70}, 70, 40, 0);                   // sums of nothing
  wgmma<WgmmaSchedule{128, 192, 64, 3, 2}, BF16, D, By::Engine>({100, 101, 300}, 310, 264, 72);
  wgmma<WgmmaSchedule{128, 192, 64, 2, 2}, F16, D, By::Repeated>({100, 101, 300}, 310, 264, 72);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, BF16, D, By::Engine>({5, 140, 141, 260, 262}, 262, 136, 200); // ping-pong
  wgmma<WgmmaSchedule{16, 64, 128, 3, 1}, BF16, D, By::Engine>({1, 3, 3, 20, 21, 60}, 60, 136, 264); // few rows each
  wgmma<WgmmaSchedule{8, 64, 128, 3, 1}, F16, D, By::Engine>({1, 3, 3, 20, 21, 60}, 64, 136, 264);
  wgmma<WgmmaSchedule{8, 64, 128, 3, 1}, F16, D, By::Kernel>({1, 3, 3, 20, 21, 60}, 64, 70, 264);
}

TEST(Grouped, WgmmaOfManyGroups) {
  std::vector<int> ends;
  for (int g = 0; g < 300; ++g)
    ends.push_back(g * g % 7 == 1 ? g / 3 + 1 : ends.empty() ? 0 : ends.back());
  wgmma<WgmmaSchedule{16, 64, 64, 3, 1}, BF16, D, By::Engine>(ends, 100, 72, 72, true, 5);
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, D, By::Kernel>(ends, 105, 72, 72, true, 5);
}

TEST(Grouped, WgmmaAlongTheSide) {
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, S, By::Engine>({10, 80, 80, 130}, 130, 72, 100);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2}, BF16, S, By::Kernel>({10, 10, 200}, 230, 72, 70);
}

TEST(Grouped, WgmmaOfPairs) {
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel, 2>({10, 80, 80, 130}, 135, 72, 136);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, BF16, D, By::Engine, 2>({10, 80, 80, 130}, 130, 72, 136);
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, BF16, S, By::Engine, 2>({10, 80, 80, 130}, 130, 136, 72);
}

TEST(Grouped, WgmmaOfOtherTypes) {
  wgmma<WgmmaSchedule{64, 64, 32, 3, 1}, Arithmetic::TF32, D, By::Engine>({10, 80, 80, 130}, 133, 72, 136);
}

template <MmaSchedule s, Arithmetic type, Major yMajor, int copy, int products = 1>
void mma(std::vector<int> ends, int rows, int columns, int depth, bool isRight = true) {
  Groups<type, yMajor, products> g(ends, rows, columns, depth);
  using T = typename TypeOf<type>::Storage;
  const int places = rows / s.rows + g.groups + 1;
  emulator::launch(places * tiles(columns, s.columns / products), s.threads(), s.sharedBytes(type), [&] {
    const Plain<T, D, copy, int> x{g.x.data, depth};
    auto make = [&](int group) {
      auto of = [&](int p) { return Plain<T, yMajor, copy, int>{g.y[p].data + group * columns * depth, g.pitch()}; };
      if constexpr (products == 1)
        return of(0);
      else
        return paired<s.columns / s.warpColumns / 2>(of(0), of(1));
    };
    groupedGemm<s, type>(g.problem(), g.rowGroups(), x, make, g.store());
  });
  if (isRight)
    g.check();
}

TEST(Grouped, Mma) {
  const std::vector<int> ends = {0, 10, 80, 80, 130, 131};
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>(ends, 131, 72, 136);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, BF16, S, 16>(ends, 140, 72, 136);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 0>(ends, 131, 33, 45);
  mma<MmaSchedule{16, 32, 128, 1, 1, 4, 4}, BF16, D, 16>(ends, 131, 40, 264); // slices
  mma<MmaSchedule{64, 64, 32, 2, 2, 3}, Arithmetic::TF32, D, 16>(ends, 131, 36, 68);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16, 2>(ends, 133, 72, 136);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>({128, 128, 192, 320}, 320, 40, 64); // whole tiles
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>({0, 0, 0}, 70, 40, 64);
}

TEST(Grouped, MmaOfManyGroups) {
  std::vector<int> ends;
  for (int g = 0; g < 1500; ++g)
    ends.push_back(g * g % 11 == 1 ? g / 12 + 1 : ends.empty() ? 0 : ends.back());
  mma<MmaSchedule{16, 64, 128, 1, 2, 4, 2}, BF16, D, 16>(ends, 130, 24, 72);
}

/// Right operands that are computed, as 8-bit floats are for this generation.
TEST(Grouped, MmaOfFunctions) {
  constexpr MmaSchedule s{64, 64, 64, 2, 2, 3};
  Groups<F16, D> g({0, 10, 80, 80, 100}, 110, 41, 70);
  emulator::launch((110 / 64 + 6) * tiles(41, 64), s.threads(), s.sharedBytes(F16), [&] {
    const Plain<unsigned short, D, 4, int> x{g.x.data, g.depth};
    auto y = [&](int column, int k, int group) { return g.y[0].data[(group * g.columns + column) * g.depth + k]; };
    groupedGemm<s, F16>(g.problem(), g.rowGroups(), x, [&](int group) { return computed<unsigned short, D>(ofGroup(group, y)); }, g.store());
  });
  g.check();
}

TEST(Grouped, MultiplyAdds) {
  constexpr SimtSchedule s{4, 16, 3};
  Groups<Arithmetic::F32, S> g({0, 10, 80, 80, 130}, 140, 41, 70);
  emulator::launch((140 / s.tile() + 6) * tiles(41, s.tile()), s.threads(), s.sharedBytes(Arithmetic::F32), [&] {
    const Plain<float, D, 4, int> x{g.x.data, g.depth};
    auto make = [&](int group) { return Plain<float, S, 4, int>{g.y[0].data + group * 41 * 70, 41}; };
    groupedSimtGemm<s, Arithmetic::F32>(g.problem(), g.rowGroups(), x, make, g.store());
  });
  g.check();
}

/// Ends that fall or lie outside give some result, and no access to what is nobody's.
TEST(Grouped, WrongEndsStayInside) {
  for (const std::vector<int> &ends : {std::vector<int>{100, 20, 60, 70}, {-5, 60, 1000, 30}, {70, 60, 50, 40}, {2147483647, -2147483647 - 1, 0, 70}}) {
    wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, D, By::Engine>(ends, 70, 72, 136, false);
    wgmma<WgmmaSchedule{16, 64, 64, 3, 1}, BF16, D, By::Kernel>(ends, 70, 72, 136, false);
    mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>(ends, 70, 72, 136, false);
    mma<MmaSchedule{16, 32, 128, 1, 1, 4, 4}, F16, D, 0>(ends, 70, 37, 41, false);
  }
}

} // namespace
