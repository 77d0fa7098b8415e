//===- PairTest.cpp - two products of one operand at once, emulated -----------------------------------------------===//
//
// The templates that multiply x by two matrices side by side, against the plain definition, of small whole numbers, so that sums are
// exact: tiles that overhang, both orders of the right operands, parts of one matrix, each way to store. Clusters
// are emulated for whole models alone (test/e2e/test_emulated.py).
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "impl/Gemm.h"
#include "impl/Thin.h"
#include "impl/WgmmaGemm.h"
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr Major D = Major::Depth, S = Major::Side;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;

int tiles(int size, int tile) { return (size + tile - 1) / tile; }

/// Numbers that are exact in every type here.
template <Arithmetic type> typename TypeOf<type>::Storage stored(int number) {
  if constexpr (sizeOf(type) == 2)
    return narrow<type>(float(number));
  else
    return typename TypeOf<type>::Storage(number);
}

/// x [rows, depth], two right operands, which with `apart` are of their own, otherwise parts of one matrix with 8 columns between
/// them, and a result of which every element is checked.
template <Arithmetic type, Major yMajor> struct Pair {
  using T = typename TypeOf<type>::Storage;
  static constexpr int between = 8;
  int rows, columns, depth;
  bool apart;
  std::vector<int> xs, ys[2];
  Guarded<T> x, memory[2];
  Guarded<float> result;

  Pair(int rows, int columns, int depth, bool apart = true)
      : rows(rows), columns(columns), depth(depth), apart(apart), x(size_t(rows) * depth),
        memory{Guarded<T>(size_t(pitchOf()) * lines()), Guarded<T>(size_t(pitchOf()) * lines())}, result(size_t(rows) * columns) {
    std::mt19937 random(rows + columns + depth);
    auto fill = [&](std::vector<int> &numbers, size_t count) {
      numbers.resize(count);
      for (int &number : numbers)
        number = int(random() % 9) - 4;
    };
    fill(xs, x.count);
    for (size_t i = 0; i < x.count; ++i)
      x[i] = stored<type>(xs[i]);
    for (int p = 0; p < 2; ++p) {
      fill(ys[p], size_t(columns) * depth);
      for (int c = 0; c < columns; ++c)
        for (int k = 0; k < depth; ++k)
          data(p)[yMajor == D ? c * depth + k : k * pitchOf() + c] = stored<type>(ys[p][size_t(c) * depth + k]);
    }
    for (size_t i = 0; i < result.count; ++i)
      result[i] = -777;
  }
  Pair(const Pair &) = delete;

  int pitchOf() const { return yMajor == D ? depth : apart ? columns : 2 * columns + between; }
  int lines() const { return yMajor == S ? depth : apart ? columns : 2 * columns + between; }
  T *data(int product) {
    return apart ? memory[product].data : memory[0].data + product * (columns + between) * (yMajor == D ? depth : 1);
  }
  static float combine(int row, int column, float first, float second) { return first + 3 * second + row % 5 - 2 * (column % 7); }
  auto store() {
    const int pitch = columns;
    return flame::store<true>(result.data, combine, [pitch](int row, int column) { return row * pitch + column; });
  }
  Problem<int> problem() const { return {rows, columns, depth}; }
  template <int copy> Plain<T, yMajor, copy, int> operand(int product) { return {data(product), pitchOf()}; }

  void check() {
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        int sums[2] = {};
        for (int p = 0; p < 2; ++p)
          for (int k = 0; k < depth; ++k)
            sums[p] += xs[size_t(i) * depth + k] * ys[p][size_t(j) * depth + k];
        ASSERT_EQ(result[size_t(i) * columns + j], combine(i, j, float(sums[0]), float(sums[1])))
            << rows << "x" << columns << "x" << depth << " at " << i << ", " << j;
      }
  }
};

/// How results are stored: by the copy engine, with the body for every element or in loops, or by the kernel.
enum class By { Engine, Repeated, Kernel };

template <WgmmaSchedule s, Arithmetic type, Major yMajor, By by>
void wgmma(int rows, int columns, int depth, bool apart = true) {
  static_assert(s.cluster() == 1);
  Pair<type, yMajor> p(rows, columns, depth, apart);
  constexpr int bytes = sizeOf(type), perLine = 128 / bytes, half = s.columns / 2;
  const TensorMap xMap{(unsigned char *)p.x.data, bytes, 3, {depth, rows, 1}, {bytes, 1ll * bytes * depth, 1ll * bytes * depth},
                       {perLine, s.rows, 1}};
  auto mapOf = [&](int product) {
    const long long pitch = 1ll * bytes * p.pitchOf();
    return TensorMap{(unsigned char *)p.data(product), bytes, 3, {yMajor == D ? depth : columns, yMajor == D ? columns : depth, 1},
                     {bytes, pitch, pitch}, {perLine, yMajor == D ? half : s.depth, 1}};
  };
  const TensorMap first = mapOf(0), second = mapOf(1),
                  to{(unsigned char *)p.result.data, 4, 3, {columns, rows, 1}, {4, 4ll * columns, 4ll * columns}, {32, 16, 1}};
  emulator::launch(2, s.threads(), s.sharedBytes(type, D, yMajor), [&] {
    auto make = [&](int) {
      if constexpr (by != By::Kernel)
        return tensorStore<float, by == By::Repeated>(to, p.combine);
      else
        return p.store();
    };
    wgmmaGemm<s, type, D, yMajor>(p.problem(), 1, TensorOperand{xMap, 0}, PairedTensors{first, second, 0}, make);
  });
  p.check();
}

TEST(Pair, Wgmma) {
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel>(70, 72, 136);
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, D, By::Engine>(70, 72, 136);
  wgmma<WgmmaSchedule{128, 176, 64, 3, 2, false, 1, 1, 8, 1}, F16, D, By::Engine>(200, 264, 72); // 88 columns of each
  wgmma<WgmmaSchedule{128, 176, 64, 3, 2, false, 1, 1, 8, 1}, F16, D, By::Repeated>(200, 264, 72);
  wgmma<WgmmaSchedule{64, 112, 128, 2, 1}, F16, D, By::Kernel>(30, 60, 200);                     // 56: not a multiple of a piece
  wgmma<WgmmaSchedule{64, 16, 64, 3, 1}, F16, D, By::Kernel>(64, 20, 64);                        // the narrowest
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, BF16, D, By::Engine>(260, 136, 72);             // ping-pong
  wgmma<WgmmaSchedule{16, 96, 64, 4, 1}, BF16, D, By::Kernel>(13, 200, 328);                     // few rows
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel>(64, 40, 0);
}

TEST(Pair, WgmmaAlongTheSide) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, F16, S, By::Engine>(70, 136, 100);
  wgmma<WgmmaSchedule{128, 256, 64, 2, 2}, BF16, S, By::Kernel>(130, 264, 72);
  static_assert(!WgmmaSchedule{64, 96, 64, 3, 1}.isValid(F16, D, S, 2), "boxes are 64 columns");
  static_assert(WgmmaSchedule{64, 96, 64, 3, 1}.isValid(F16, D, S));
}

TEST(Pair, WgmmaOfPartsOfOneMatrix) {
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1}, F16, D, By::Kernel>(70, 36, 136, false);
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, BF16, S, By::Engine>(70, 104, 72, false);
}

TEST(Pair, WgmmaOfOtherTypes) {
  wgmma<WgmmaSchedule{64, 64, 32, 3, 1}, Arithmetic::TF32, D, By::Kernel>(70, 72, 136);
  wgmma<WgmmaSchedule{64, 64, 32, 3, 1}, Arithmetic::TF32, D, By::Engine>(70, 72, 36);
}

template <MmaSchedule s, Arithmetic type, Major yMajor, int copy>
void mma(int rows, int columns, int depth, bool apart = true) {
  Pair<type, yMajor> p(rows, columns, depth, apart);
  using T = typename TypeOf<type>::Storage;
  constexpr int group = s.columns / s.warpColumns / 2;
  emulator::launch(tiles(rows, s.rows) * tiles(columns, s.columns / 2), s.threads(), s.sharedBytes(type), [&] {
    const Plain<T, D, copy, int> x{p.x.data, depth};
    gemm<s, type>(p.problem(), x, paired<group>(p.template operand<copy>(0), p.template operand<copy>(1)), p.store());
  });
  p.check();
}

TEST(Pair, Mma) {
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>(70, 72, 136);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, S, 16>(70, 72, 136);
  mma<MmaSchedule{16, 32, 128, 1, 1, 4, 4}, BF16, D, 16>(7, 40, 520); // slices
  mma<MmaSchedule{16, 64, 128, 1, 2, 4, 2}, BF16, S, 16>(17, 72, 264);
  mma<MmaSchedule{128, 128, 32, 2, 2, 4}, BF16, S, 16>(130, 136, 72, false);
  mma<MmaSchedule{32, 32, 128, 2, 2, 4}, F16, D, 16>(33, 36, 136, false); // groups of 8
  mma<MmaSchedule{64, 64, 32, 2, 2, 3}, Arithmetic::TF32, D, 16>(65, 36, 68);
  for (int size : {1, 7, 33, 65}) {
    mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 0>(size, size, size);
    mma<MmaSchedule{64, 64, 64, 2, 2, 3}, BF16, S, 0>(size, size, size);
    mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, 16>(size, 40, 8 * size);
  }
}

/// Right operands that are computed, as 8-bit floats are for this generation.
TEST(Pair, MmaOfFunctions) {
  constexpr MmaSchedule s{64, 64, 64, 2, 2, 3};
  Pair<F16, D> p(33, 41, 70);
  emulator::launch(tiles(33, 64) * tiles(41, 32), s.threads(), s.sharedBytes(F16), [&] {
    auto element = [&](int product) {
      return computed<unsigned short, D>([&p, product](int column, int k) { return p.data(product)[column * p.depth + k]; });
    };
    const Plain<unsigned short, D, 4, int> x{p.x.data, p.depth};
    gemm<s, F16>(p.problem(), x, paired<16>(element(0), element(1)), p.store());
  });
  p.check();
}

template <ThinSchedule s, Arithmetic type, int copy> void thin(int rows, int columns, int depth, bool apart = true) {
  constexpr Major yMajor = s.along ? D : S;
  Pair<type, yMajor> p(rows, columns, depth, apart);
  using T = typename TypeOf<type>::Storage;
  const int blocks = tiles(columns, s.columns(sizeOf(type)));
  emulator::launch(blocks, s.threads(), s.sharedBytes(sizeOf(type), 2), [&] {
    const ThinRows<T, int> x{p.x.data, depth, 1};
    const auto y = paired<8>(p.template operand<copy>(0), p.template operand<copy>(1));
    if constexpr (s.along)
      thinAlong<s, type, false>(p.problem(), x, y, p.store(), blocks);
    else
      thinAcross<s, type, false>(p.problem(), x, y, p.store(), blocks);
  });
  p.check();
}

TEST(Pair, Thin) {
  for (int depth : {0, 1, 8, 100, 520, 1000}) {
    thin<ThinSchedule{1, 1, true}, F16, 16>(1, 33, depth);
    thin<ThinSchedule{1, 2, true}, F16, 16>(1, 33, depth, false);
    thin<ThinSchedule{4, 1, true}, BF16, 16>(3, 33, depth);
    thin<ThinSchedule{1, 4, false}, F16, 16>(1, 104, depth);
    thin<ThinSchedule{4, 4, false}, BF16, 16>(3, 31, depth, false);
  }
}

} // namespace
