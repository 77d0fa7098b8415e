//===- ContractionTest.cpp - the device templates of products, emulated -------------------------------------------===//
//
// The templates of runtime/kernels compiled for the host: tiles that overhang, orders of the operands, alignments, each
// schedule. Operands end where their page does, so that a read beyond them ends the test.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "impl/Conv.h"
#include "impl/Gemm.h"
#include "impl/Simt.h"
#include "impl/Thin.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace flame;

namespace {

template <Arithmetic type> typename TypeOf<type>::Storage store(int number) {
  if constexpr (type == Arithmetic::F16) {
    _Float16 value = number;
    unsigned short bits;
    std::memcpy(&bits, &value, 2);
    return bits;
  } else if constexpr (type == Arithmetic::BF16) {
    float value = number;
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits >> 16;
  } else {
    return typename TypeOf<type>::Storage(number);
  }
}

/// Small whole numbers, so that every sum is exact.
template <Arithmetic type> std::vector<int> numbers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> values(count);
  for (int &value : values)
    value = type == Arithmetic::U8 ? int(random() % 9) : int(random() % 9) - 4;
  return values;
}

enum class Kind { Plain, Computed };

/// A matrix of lines in memory, its element i of line l being number (l, i).
template <Arithmetic type, Major major, int copy, Kind kind> struct Matrix {
  using T = typename TypeOf<type>::Storage;
  Guarded<T> memory;
  std::vector<int> values;
  int side, depth;

  Matrix(int side, int depth, unsigned seed)
      : memory(size_t(side) * depth), values(numbers<type>(size_t(side) * depth, seed)), side(side), depth(depth) {
    for (size_t i = 0; i < values.size(); ++i)
      memory[i] = ::store<type>(values[i]);
  }
  long long number(int s, int d) const {
    return values[major == Major::Depth ? s * size_t(depth) + d : d * size_t(side) + s];
  }
  auto operand() {
    const int pitch = major == Major::Depth ? depth : side;
    if constexpr (kind == Kind::Plain) {
      return Plain<T, major, copy, int>{memory.data, pitch};
    } else {
      auto element = [this, pitch](int s, int d) {
        return memory[major == Major::Depth ? s * pitch + d : d * pitch + s];
      };
      return computed<T, major>(element);
    }
  }
};

template <typename T, typename X, typename Y, typename Run> void check(int m, int n, int k, X &x, Y &y, Run run) {
  Guarded<T> result(size_t(m) * n);
  for (int i = 0; i < m * n; ++i)
    result[i] = T(77);
  auto body = [](int row, int column, auto sum) { return T(sum + T(row + 3 * column)); };
  auto place = [=](int row, int column) { return row * n + column; };
  run(Problem<int>{m, n, k}, flame::store<true>(result.data, body, place));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      long long sum = i + 3 * j;
      for (int d = 0; d < k; ++d)
        sum += x.number(i, d) * y.number(j, d);
      ASSERT_EQ(result[size_t(i) * n + j], T(sum)) << m << "x" << n << "x" << k << " at " << i << ", " << j;
    }
}

int tiles(int size, int tile) { return (size + tile - 1) / tile; }

template <MmaSchedule s, Arithmetic type, Major xMajor, Major yMajor, int copy, Kind kind = Kind::Plain>
void mma(int m, int n, int k) {
  Matrix<type, xMajor, copy, kind> x(m, k, 1);
  Matrix<type, yMajor, copy, kind> y(n, k, 2);
  using T = std::conditional_t<std::is_same_v<typename TypeOf<type>::Sum, int>, unsigned, float>;
  check<T>(m, n, k, x, y, [&](Problem<int> p, auto epilogue) {
    emulator::launch(tiles(m, s.rows) * tiles(n, s.columns), s.threads(), s.sharedBytes(type),
                     [&] { gemm<s, type>(p, x.operand(), y.operand(), epilogue); });
  });
}

template <SimtSchedule s, Arithmetic type, Major xMajor, Major yMajor, int copy, Kind kind = Kind::Plain>
void simt(int m, int n, int k) {
  Matrix<type, xMajor, copy, kind> x(m, k, 1);
  Matrix<type, yMajor, copy, kind> y(n, k, 2);
  check<typename TypeOf<type>::Storage>(m, n, k, x, y, [&](Problem<int> p, auto epilogue) {
    emulator::launch(tiles(m, s.tile()) * tiles(n, s.tile()), s.threads(), s.sharedBytes(type),
                     [&] { simtGemm<s, type>(p, x.operand(), y.operand(), epilogue); });
  });
}

template <ThinSchedule s, Arithmetic type, int copy> void thin(int m, int n, int k) {
  using T = typename TypeOf<type>::Storage;
  Matrix<type, Major::Depth, copy, Kind::Plain> x(m, k, 1);
  Matrix<type, s.along ? Major::Depth : Major::Side, copy, Kind::Plain> y(n, k, 2);
  check<float>(m, n, k, x, y, [&](Problem<int> p, auto epilogue) {
    const int blocks = tiles(n, s.columns(sizeOf(type)));
    emulator::launch(blocks, s.threads(), s.sharedBytes(sizeOf(type)), [&] {
      const ThinRows<T, int> rows{x.memory.data, k, 1};
      if constexpr (s.along)
        thinAlong<s, type, false>(p, rows, y.operand(), epilogue, blocks);
      else
        thinAcross<s, type, false>(p, rows, y.operand(), epilogue, blocks);
    });
  });
}

constexpr Major D = Major::Depth, S = Major::Side;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16, F32 = Arithmetic::F32;

TEST(Contraction, EverySchedule) {
  mma<MmaSchedule{128, 256, 32, 2, 4, 4}, F16, D, S, 16>(136, 264, 72);
  mma<MmaSchedule{128, 128, 32, 2, 2, 4}, F16, D, S, 16>(136, 136, 200);
  mma<MmaSchedule{128, 64, 32, 2, 2, 4}, BF16, D, S, 16>(130, 72, 72);
  mma<MmaSchedule{64, 128, 32, 2, 2, 4}, BF16, D, S, 16>(70, 136, 72);
  mma<MmaSchedule{64, 64, 64, 2, 2, 3}, F16, D, S, 16>(65, 72, 136);
  mma<MmaSchedule{32, 64, 64, 2, 2, 4}, F16, D, S, 16>(33, 72, 136);
  mma<MmaSchedule{16, 64, 64, 1, 4, 5}, F16, D, S, 16>(16, 136, 520);
  mma<MmaSchedule{16, 32, 128, 1, 2, 4}, F16, D, S, 16>(7, 40, 648);
  mma<MmaSchedule{256, 160, 64, 4, 2, 4}, BF16, D, D, 16>(300, 168, 328);
  mma<MmaSchedule{192, 192, 64, 2, 4, 3}, BF16, D, D, 16>(200, 200, 136);
  mma<MmaSchedule{128, 160, 64, 2, 2, 3}, Arithmetic::TF32, D, D, 16>(130, 162, 132);
  mma<MmaSchedule{128, 96, 64, 2, 2, 3}, F16, D, D, 16>(130, 100, 128);
}

TEST(Contraction, FitsOlderGpus) {
  mma<MmaSchedule{256, 160, 64, 4, 2, 4}.older(F16), F16, D, D, 16>(260, 161, 104);
  mma<MmaSchedule{192, 192, 64, 2, 4, 3}.older(F16), F16, D, D, 16>(193, 193, 64);
}

TEST(Contraction, SlicesOfTheInnerDim) {
  mma<MmaSchedule{16, 64, 128, 1, 2, 4, 4}, F16, D, S, 16>(17, 136, 520);
  mma<MmaSchedule{32, 32, 256, 1, 1, 3, 8}, F16, D, S, 16>(40, 40, 1032);
  mma<MmaSchedule{32, 64, 128, 2, 2, 3, 2}, BF16, D, D, 16>(33, 72, 264);
  mma<MmaSchedule{64, 64, 128, 2, 2, 3, 4}, F16, S, D, 16>(72, 72, 200);
  mma<MmaSchedule{32, 32, 256, 2, 1, 3, 4}, Arithmetic::I8, D, D, 16>(40, 41, 272);
  mma<MmaSchedule{32, 32, 128, 1, 1, 3, 4}, F16, D, S, 16, Kind::Computed>(33, 41, 300);
}

TEST(Contraction, OrdersOfOperands) {
  constexpr MmaSchedule s{64, 64, 64, 2, 2, 3};
  mma<s, F16, D, D, 16>(72, 72, 72);
  mma<s, F16, S, D, 16>(72, 72, 72);
  mma<s, F16, S, S, 16>(72, 72, 72);
  mma<MmaSchedule{16, 32, 128, 1, 2, 4}, F16, S, D, 16>(8, 40, 136);
  mma<MmaSchedule{32, 64, 64, 2, 2, 4}, F16, S, D, 16>(40, 72, 136);
  mma<MmaSchedule{128, 256, 32, 2, 4, 4}, F16, S, D, 16>(136, 264, 40);
}

TEST(Contraction, OddSizesAndAlignments) {
  constexpr MmaSchedule s{64, 64, 64, 2, 2, 3};
  for (int size : {1, 2, 7, 16, 63, 64, 65, 127}) {
    mma<s, F16, D, S, 16>(size, 65, 33);
    mma<s, F16, D, S, 16>(65, size, 64);
    mma<s, F16, D, S, 16>(33, 40, size);
    mma<s, BF16, S, D, 0>(size, size, size);
    mma<s, BF16, D, D, 4>(9, 9, 2 * size);
    mma<s, BF16, D, D, 8>(9, 9, 4 * size);
  }
  mma<s, F16, D, S, 16>(33, 40, 0);
  mma<s, F16, D, S, 16, Kind::Computed>(33, 41, 70);
  mma<s, F16, S, D, 16, Kind::Computed>(33, 41, 70);
}

TEST(Contraction, OtherTypes) {
  mma<MmaSchedule{64, 64, 128, 2, 2, 3}, Arithmetic::I8, D, D, 16>(65, 70, 144);
  mma<MmaSchedule{64, 64, 128, 2, 2, 3}, Arithmetic::U8, D, D, 0>(65, 70, 131);
  mma<MmaSchedule{128, 128, 64, 2, 2, 4}, Arithmetic::I8, D, D, 16, Kind::Computed>(10, 130, 70);
  mma<MmaSchedule{64, 64, 32, 2, 2, 3}, Arithmetic::TF32, D, D, 16>(65, 70, 68);
}

TEST(Contraction, MultiplyAdds) {
  simt<SimtSchedule{8, 16, 3}, F32, D, S, 16>(136, 140, 70);
  simt<SimtSchedule{8, 16, 3}, F32, S, D, 16>(129, 127, 35);
  simt<SimtSchedule{4, 16, 3}, F32, D, D, 16>(65, 33, 17);
  simt<SimtSchedule{4, 16, 3}, F32, S, S, 16>(68, 72, 20);
  simt<SimtSchedule{2, 16, 3}, F32, S, S, 0>(33, 7, 1);
  simt<SimtSchedule{2, 16, 3}, F32, D, S, 16>(1, 1, 0);
  simt<SimtSchedule{2, 16, 3}, F32, S, S, 16>(36, 40, 20);
  simt<SimtSchedule{2, 16, 3}, Arithmetic::I32, D, S, 16>(36, 40, 20);
  simt<SimtSchedule{8, 16, 3}, F32, S, S, 16>(132, 136, 20);
  simt<SimtSchedule{4, 16, 3}, F32, D, S, 16, Kind::Computed>(65, 70, 33);
  simt<SimtSchedule{4, 8, 3}, Arithmetic::F64, D, S, 16>(65, 70, 33);
  simt<SimtSchedule{2, 16, 3}, Arithmetic::F64, S, D, 16>(34, 36, 33);
  simt<SimtSchedule{8, 16, 3}, Arithmetic::I32, D, S, 16>(129, 70, 33);
  simt<SimtSchedule{4, 8, 3}, Arithmetic::I64, D, S, 16>(65, 70, 33);
}

TEST(Contraction, ThinProducts) {
  for (int k : {0, 1, 8, 100, 520, 1000}) {
    thin<ThinSchedule{1, 2, true}, F16, 16>(1, 33, k);
    thin<ThinSchedule{4, 1, true}, BF16, 16>(3, 33, k);
    thin<ThinSchedule{2, 1, true}, F32, 16>(2, 9, k);
    thin<ThinSchedule{1, 4, false}, F16, 16>(1, 104, k);
    thin<ThinSchedule{4, 4, false}, BF16, 16>(3, 31, k);
    thin<ThinSchedule{2, 4, false}, F32, 16>(2, 61, k);
    // Copies of four bytes are aligned, reads of sixteen are not.
    thin<ThinSchedule{2, 1, true}, F32, 4>(2, 9, k + 1);
    thin<ThinSchedule{2, 4, false}, F32, 4>(2, 61, k);
    thin<ThinSchedule{1, 4, false}, F16, 4>(1, 102, k);
  }
}

enum class Channels { First, Last };

/// A convolution by a gathered matrix, against the plain definition. With channels last the product is transposed.
template <Arithmetic type, bool matrix, Channels order = Channels::First>
void conv(ConvShape<2, int> c, int images, int outChannels) {
  using T = typename TypeOf<type>::Storage;
  constexpr bool last = order == Channels::Last;
  const int area = c.in[0] * c.in[1], positions = c.out[0] * c.out[1], taps = c.kernel[0] * c.kernel[1],
            depth = c.channels * taps;
  const auto xs = numbers<type>(size_t(images) * c.channels * area, 3),
             ws = numbers<type>(size_t(outChannels) * depth, 4);
  Guarded<T> x(xs.size()), w(ws.size());
  Guarded<float> result(size_t(images) * outChannels * positions);
  auto xAt = [&](int n, int channel, int at) {
    return last ? (n * area + at) * c.channels + channel : (n * c.channels + channel) * area + at;
  };
  auto wAt = [&](int m, int channel, int tap) {
    return m * depth + (last ? tap * c.channels + channel : channel * taps + tap);
  };
  for (size_t i = 0; i < xs.size(); ++i)
    x[i] = ::store<type>(xs[i]);
  for (size_t i = 0; i < ws.size(); ++i)
    w[i] = ::store<type>(ws[i]);
  auto body = [](int, int, auto sum) { return float(sum); };
  auto place = [=](int row, int column) {
    return last ? row * outChannels + column
                : (column / positions * outChannels + row) * positions + column % positions;
  };
  auto epilogue = flame::store<last>(result.data, body, place);
  const Problem<int> p = last ? Problem<int>{images * positions, outChannels, depth}
                              : Problem<int>{outChannels, images * positions, depth};
  const Plain<T, Major::Depth, 16, int> weight{w.data, depth};
  if constexpr (last) {
    const GatherLast<2, T, int> gather{x.data, c, c.channels};
    constexpr MmaSchedule s{32, 64, 128, 2, 1, 3, 4};
    emulator::launch(tiles(p.rows, 32) * tiles(p.columns, 64), s.threads(), s.sharedBytes(type),
                     [&] { gemm<s, type>(p, gather, weight, epilogue); });
  } else if constexpr (matrix) {
    const Gather<2, T, int> gather{x.data, c};
    constexpr MmaSchedule s{64, 64, 64, 2, 2, 3};
    emulator::launch(tiles(p.rows, 64) * tiles(p.columns, 64), s.threads(), s.sharedBytes(type),
                     [&] { gemm<s, type>(p, weight, gather, epilogue); });
  } else {
    const Gather<2, T, int> gather{x.data, c};
    constexpr SimtSchedule s{4, 16, 3};
    emulator::launch(tiles(p.rows, 64) * tiles(p.columns, 64), s.threads(), s.sharedBytes(type),
                     [&] { simtGemm<s, type>(p, weight, gather, epilogue); });
  }
  for (int n = 0; n < images; ++n)
    for (int m = 0; m < outChannels; ++m)
      for (int o = 0; o < positions; ++o) {
        long long sum = 0;
        for (int k = 0; k < depth; ++k) {
          const int channel = k / taps, tap = k % taps,
                    i = o / c.out[1] * c.stride[0] - c.pad[0] + tap / c.kernel[1] * c.dilation[0];
          const int j = o % c.out[1] * c.stride[1] - c.pad[1] + tap % c.kernel[1] * c.dilation[1];
          if (i >= 0 && i < c.in[0] && j >= 0 && j < c.in[1])
            sum += xs[xAt(n, channel, i * c.in[1] + j)] * ws[wAt(m, channel, tap)];
        }
        const int at = last ? (n * positions + o) * outChannels + m : (n * outChannels + m) * positions + o;
        ASSERT_EQ(result[at], float(sum)) << n << ", " << m << ", " << o;
      }
}

TEST(Contraction, Convolutions) {
  const ConvShape<2, int> same{5, {9, 11}, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const ConvShape<2, int> odd{8, {10, 12}, {5, 9}, {2, 3}, {2, 1}, {1, 2}, {1, 0}};
  conv<F16, true>(same, 2, 33);
  conv<BF16, true>(odd, 3, 65);
  conv<F32, false>(same, 2, 33);
  conv<F32, false>(odd, 3, 65);
  conv<Arithmetic::F64, false>(odd, 1, 7);
}

TEST(Contraction, ConvolutionsWithChannelsLast) {
  const ConvShape<2, int> same{8, {9, 11}, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const ConvShape<2, int> odd{24, {10, 12}, {5, 9}, {2, 3}, {2, 1}, {1, 2}, {1, 0}};
  const ConvShape<2, int> wide{200, {5, 5}, {3, 3}, {3, 3}, {2, 2}, {1, 1}, {1, 1}};
  conv<F16, true, Channels::Last>(same, 2, 33);
  conv<BF16, true, Channels::Last>(odd, 3, 65);
  conv<F16, true, Channels::Last>(wide, 1, 40);
}

} // namespace
