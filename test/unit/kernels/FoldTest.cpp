//===- FoldTest.cpp - partial reductions of what a product stores, emulated ----------------------------------------===//
//
// Products by both kinds of matrix instructions that fold their results: the largest magnitude, the sum, the sum of squares of each run
// of columns of a row, against those of what was stored. Operands are small whole numbers, so that all sums are exact and must agree to
// the last bit; results of 16 bits are rounded, which folds must see. Tiles that overhang, ping-pong, clusters' halves, few rows, two products.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "epilogue/Fold.h"
#include "impl/Gemm.h"
#include "impl/WgmmaGemm.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr auto D = Major::Depth, S = Major::Side;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;

template <Arithmetic type, typename T> T bits(float value) {
  if constexpr (sizeof(T) == 2)
    return narrow<type>(value);
  else
    return value;
}
template <Arithmetic type, typename T> float number(T stored) {
  if constexpr (sizeof(T) == 2)
    return widen<type>(stored);
  else
    return stored;
}

/// Operands, a result of elements T (of 16 bits: those of `type`), partial reductions, and what they must be.
template <Arithmetic type, typename T, int products = 1> struct Product {
  static constexpr float poison = -12345;
  int rows, columns, depth;
  Guarded<unsigned short> x, y[2];
  Guarded<T> result;
  Guarded<float> most, sums, squares;
  std::vector<int> xs, ys[2];

  Product(int rows, int columns, int depth)
      : rows(rows), columns(columns), depth(depth), x(size_t(rows) * depth), y{Guarded<unsigned short>(size_t(columns) * depth), Guarded<unsigned short>(size_t(columns) * depth)},
        result(size_t(rows) * columns), most(size_t(rows) * columns / foldColumns), sums(most.count), squares(most.count) {
    std::mt19937 random(rows + 3 * columns + 5 * depth);
    auto fill = [&](auto &numbers, auto &memory) {
      numbers.resize(memory.count);
      for (size_t i = 0; i < numbers.size(); ++i) {
        numbers[i] = int(random() % 9) - 4;
        memory[i] = narrow<type>(float(numbers[i]));
      }
    };
    fill(xs, x);
    for (int p = 0; p < products; ++p)
      fill(ys[p], y[p]);
    for (Guarded<float> *partials : {&most, &sums, &squares})
      for (size_t i = 0; i < partials->count; ++i)
        (*partials)[i] = poison;
  }

  static float combine(int row, int column, float sum, float other = 0) { return sum - 2 * other + row % 5 - column % 7; }
  /// The epilogue `store(body)` with the folds.
  template <typename Store> auto folded(Store store) {
    auto magnitude = [](float carried, T stored) { return std::max(carried, std::fabs(number<type>(stored))); };
    auto larger = [](float a, float b) { return std::max(a, b); };
    auto none = [] { return 0.f; };
    auto add = [](float a, float b) { return a + b; };
    auto plus = [](float carried, T stored) { return carried + number<type>(stored); };
    auto square = [](float carried, T stored) { return carried + number<type>(stored) * number<type>(stored); };
    auto body = [](int row, int column, auto... all) { return bits<type, T>(combine(row, column, all...)); };
    return folding(store(body), folds(rows, fold(most.data, none, magnitude, larger), fold(sums.data, none, plus, add),
                                      fold(squares.data, none, square, add)));
  }

  void check() {
    for (int i = 0; i < rows; ++i)
      for (int run = 0; run < columns / foldColumns; ++run) {
        double largest = 0, sum = 0, squared = 0;
        for (int j = run * foldColumns; j < (run + 1) * foldColumns; ++j) {
          long long all[2] = {};
          for (int p = 0; p < products; ++p)
            for (int k = 0; k < depth; ++k)
              all[p] += xs[size_t(i) * depth + k] * ys[p][size_t(j) * depth + k];
          const T stored = bits<type, T>(combine(i, j, float(all[0]), float(all[1])));
          ASSERT_EQ(result[size_t(i) * columns + j], stored) << rows << "x" << columns << "x" << depth << " at " << i << ", " << j;
          const double value = number<type>(stored);
          largest = std::max(largest, std::fabs(value));
          sum += value;
          squared += value * value;
        }
        const size_t at = size_t(run) * rows + i;
        ASSERT_EQ(most[at], largest) << rows << "x" << columns << "x" << depth << " at " << i << ", run " << run;
        ASSERT_EQ(sums[at], sum) << rows << "x" << columns << "x" << depth << " at " << i << ", run " << run;
        ASSERT_EQ(squares[at], squared) << rows << "x" << columns << "x" << depth << " at " << i << ", run " << run;
      }
  }
};

template <WgmmaSchedule s, Arithmetic type, typename T, Major yMajor = D, bool isLong = false, int products = 1> void wgmma(int rows, int columns, int depth) {
  static_assert(s.takesFolds(products));
  Product<type, T, products> p(rows, columns, depth);
  constexpr int bytes = sizeof(T), lines = s.columns / products;
  Guarded<unsigned short> turned(yMajor == S ? p.y[0].count : 0);
  for (int j = 0; yMajor == S && j < columns; ++j)
    for (int k = 0; k < depth; ++k)
      turned[size_t(k) * columns + j] = p.y[0][size_t(j) * depth + k];
  const TensorMap xMap{(unsigned char *)p.x.data, 2, 3, {depth, rows, 1}, {2, 2ll * depth, 2ll * depth}, {64, s.rows / s.clusterColumns, 1}},
      to{(unsigned char *)p.result.data, bytes, 3, {columns, rows, 1}, {bytes, 1ll * bytes * columns, 1ll * bytes * columns}, {128 / bytes, 16, 1}};
  auto mapOf = [&](int product) {
    return yMajor == D ? TensorMap{(unsigned char *)p.y[product].data, 2, 3, {depth, columns, 1}, {2, 2ll * depth, 2ll * depth}, {64, lines / s.clusterRows, 1}}
                       : TensorMap{(unsigned char *)turned.data, 2, 3, {columns, depth, 1}, {2, 2ll * columns, 2ll * columns}, {64, s.depth / s.clusterRows, 1}};
  };
  const TensorMap first = mapOf(0), second = mapOf(products - 1);
  emulator::launch(2 * s.cluster(), s.threads(), s.sharedBytes(type, D, yMajor), [&] {
    auto make = [&](int) { return p.folded([&](auto body) { return tensorStore<T, isLong>(to, body); }); };
    const Problem<int> problem{rows, columns, depth};
    if constexpr (products == 2)
      wgmmaGemm<s, type, D, yMajor>(problem, 1, TensorOperand{xMap, 0}, PairedTensors{first, second, 0}, make);
    else
      wgmmaGemm<s, type, D, yMajor>(problem, 1, TensorOperand{xMap, 0}, TensorOperand{first, 0}, make);
  });
  p.check();
}

TEST(Folds, Wgmma) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, BF16, unsigned short>(70, 192, 40); // the last tile's last run lies outside
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, F16, float>(65, 192, 72);           // two lanes a run
  wgmma<WgmmaSchedule{128, 256, 64, 3, 2}, BF16, unsigned short>(131, 576, 136);
  wgmma<WgmmaSchedule{192, 192, 64, 3, 3, false, 1, 1, 8, 1}, F16, unsigned short>(200, 256, 64);
  wgmma<WgmmaSchedule{256, 128, 64, 3, 2}, BF16, unsigned short>(257, 64, 24); // two slices of rows a warp
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, F16, unsigned short>(390, 192, 72);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, BF16, unsigned short, D, true>(260, 192, 72); // bodies repeated
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1, false, 1, 1, 8, 1}, F16, float, D, true>(3, 128, 16);
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, F16, unsigned short, S>(70, 192, 40);
  wgmma<WgmmaSchedule{128, 160, 64, 3, 2, false, 1, 1, 8, 1}, BF16, unsigned short>(130, 352, 40); // a piece repeats a run
  wgmma<WgmmaSchedule{64, 96, 64, 3, 1}, F16, unsigned short>(70, 224, 40);                       // a piece ends outside
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, unsigned short>(64, 64, 0);                         // sums of nothing
}
TEST(Folds, WgmmaOfFewRows) {
  wgmma<WgmmaSchedule{16, 64, 64, 4, 1}, BF16, unsigned short>(13, 192, 72);
  wgmma<WgmmaSchedule{16, 128, 64, 4, 1}, F16, unsigned short>(33, 192, 72); // tiles one below the other
}
TEST(Folds, WgmmaOfTwoProducts) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, BF16, unsigned short, D, false, 2>(70, 192, 40);
  wgmma<WgmmaSchedule{128, 256, 64, 3, 2}, F16, float, D, false, 2>(131, 192, 72);
  wgmma<WgmmaSchedule{128, 192, 64, 3, 2, false, 1, 1, 8, 1}, BF16, unsigned short, D, false, 2>(131, 224, 72); // 96 columns of each
  static_assert(!WgmmaSchedule{128, 192, 64, 3, 2, true, 1, 1, 8, 1}.takesFolds(2));
}

template <MmaSchedule s, Arithmetic type, typename T, int products = 1> void mma(int rows, int columns, int depth) {
  static_assert(s.takesFolds(products));
  Product<type, T, products> p(rows, columns, depth);
  using Line = Plain<unsigned short, D, 16, int>;
  auto place = [columns](int row, int column) { return row * columns + column; };
  const Line x{p.x.data, depth}, first{p.y[0].data, depth}, second{p.y[products - 1].data, depth};
  const int across = (columns + s.columns / products - 1) / (s.columns / products);
  emulator::launch((rows + s.rows - 1) / s.rows * across * s.splits, s.threads(), s.sharedBytes(type), [&] {
    auto epilogue = p.folded([&](auto body) { return store<true>(p.result.data, body, place); });
    const Problem<int> problem{rows, columns, depth};
    if constexpr (products == 2)
      gemm<s, type>(problem, x, paired<s.columns / s.warpColumns / 2>(first, second), epilogue);
    else
      gemm<s, type>(problem, x, first, epilogue);
  });
  p.check();
}

TEST(Folds, Mma) {
  mma<MmaSchedule{128, 128, 32, 2, 2, 4}, F16, unsigned short>(136, 192, 200);
  mma<MmaSchedule{128, 128, 32, 2, 2, 3}, BF16, float>(70, 64, 72);
  mma<MmaSchedule{256, 128, 64, 4, 2, 3}, BF16, unsigned short>(259, 320, 40);
  mma<MmaSchedule{64, 64, 64, 2, 2, 5}, BF16, unsigned short>(70, 96, 72);
  mma<MmaSchedule{32, 64, 128, 2, 1, 3, 2}, F16, unsigned short>(45, 192, 136); // slices
  mma<MmaSchedule{64, 64, 64, 2, 1, 3}, F16, unsigned short>(1, 64, 0);
}
TEST(Folds, MmaOfTwoProducts) {
  mma<MmaSchedule{128, 128, 64, 2, 2, 3}, BF16, unsigned short, 2>(131, 224, 72);
  mma<MmaSchedule{64, 64, 64, 2, 1, 4}, F16, float, 2>(70, 64, 136);
}

} // namespace
