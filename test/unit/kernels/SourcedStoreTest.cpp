//===- SourcedStoreTest.cpp - products whose epilogue reads a whole matrix, emulated -------------------------------===//
//
// Operands are small whole numbers, so that all sums are exact. The body says which element of the source it was given, at which place, so
// that any other is seen. The source ends where its memory does. Tiles that overhang, ping-pong, few rows, several batches,
// two products, pieces that repeat columns, folds of the result.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "epilogue/Fold.h"
#include "impl/WgmmaGemm.h"
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr auto D = Major::Depth;

/// 16 bits: all of the sum's that matter, with the source's element and place.
template <typename T> T combine(int row, int column, float sum, float other, T element) {
  const unsigned bits = unsigned(int(sum) - 3 * int(other)) * 2654435761u + unsigned(element) * 40503u + row * 97u + column * 31u;
  return T(bits >> 8);
}

template <WgmmaSchedule s, typename T, int products = 1, bool folds = false> void wgmma(int rows, int columns, int depth, int batches = 1) {
  static_assert(s.isValid(Arithmetic::BF16, D, D, products));
  constexpr int bytes = sizeof(T), lines = s.columns / products;
  Guarded<unsigned short> x(size_t(batches) * rows * depth), y0(size_t(batches) * columns * depth), y1(y0.count);
  Guarded<T> source(size_t(batches) * rows * columns), result(source.count);
  Guarded<float> most(source.count / foldColumns + 1);
  std::mt19937 random(rows + 3 * columns + 5 * depth);
  auto fill = [&](auto &memory) {
    std::vector<int> numbers(memory.count);
    for (size_t i = 0; i < memory.count; ++i)
      memory[i] = narrow<Arithmetic::BF16>(float(numbers[i] = int(random() % 9) - 4));
    return numbers;
  };
  const std::vector<int> xs = fill(x), ys[2] = {fill(y0), fill(y1)};
  for (size_t i = 0; i < source.count; ++i)
    source[i] = T(random());
  auto mapOf = [&](void *data, int size, long long across, long long down, int boxLines) {
    return TensorMap{(unsigned char *)data, size, 3, {across, down, batches}, {size, size * across, size * across * down}, {128 / size, boxLines, 1}};
  };
  const TensorMap xMap = mapOf(x.data, 2, depth, rows, s.rows / s.clusterColumns), first = mapOf(y0.data, 2, depth, columns, lines / s.clusterRows),
                  second = mapOf(y1.data, 2, depth, columns, lines / s.clusterRows), to = mapOf(result.data, bytes, columns, rows, 16);
  emulator::launch(2 * s.cluster(), s.threads(), s.sharedBytes(Arithmetic::BF16, D, D), [&] {
    auto make = [&](int batch) {
      auto body = [](int row, int column, float sum, auto... rest) {
        if constexpr (products == 2)
          return combine<T>(row, column, sum, rest...);
        else
          return combine<T>(row, column, sum, 0, rest...);
      };
      auto epilogue = sourced(tensorStore<T>(to, fromRow(batch * rows, body)), source.data + (long long)batch * rows * columns, columns);
      if constexpr (folds)
        return folding(epilogue, flame::folds(rows, fold(most.data, [] { return 0.f; }, [](float carried, T stored) { return carried < float(stored) ? float(stored) : carried; },
                                                         [](float a, float b) { return a < b ? b : a; })));
      else
        return epilogue;
    };
    const Problem<int> problem{rows, columns, depth};
    if constexpr (products == 2)
      wgmmaGemm<s, Arithmetic::BF16, D, D>(problem, batches, TensorOperand{xMap, 1}, PairedTensors{first, second, 1}, make);
    else
      wgmmaGemm<s, Arithmetic::BF16, D, D>(problem, batches, TensorOperand{xMap, 1}, TensorOperand{first, 1}, make);
  });
  for (int b = 0; b < batches; ++b)
    for (int i = 0; i < rows; ++i) {
      float largest = 0;
      for (int j = 0; j < columns; ++j) {
        int sums[2] = {};
        for (int p = 0; p < products; ++p)
          for (int k = 0; k < depth; ++k)
            sums[p] += xs[(size_t(b) * rows + i) * depth + k] * ys[p][(size_t(b) * columns + j) * depth + k];
        const size_t at = (size_t(b) * rows + i) * columns + j;
        const T expected = combine<T>(b * rows + i, j, float(sums[0]), float(sums[1]), source[at]);
        ASSERT_EQ(result[at], expected) << b << ": " << rows << "x" << columns << "x" << depth << " at " << i << ", " << j;
        largest = j % foldColumns == 0 ? float(expected) : std::max(largest, float(expected));
        if (folds && (j + 1) % foldColumns == 0)
          ASSERT_EQ(most[size_t(j / foldColumns) * rows + i], largest) << i << ", " << j;
      }
    }
}

TEST(SourcedStore, Tiles) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, unsigned short>(70, 200, 40); // a piece ends outside
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, unsigned>(65, 132, 72);
  wgmma<WgmmaSchedule{128, 256, 64, 3, 2}, unsigned short>(131, 568, 136);
  wgmma<WgmmaSchedule{192, 192, 64, 3, 3, false, 1, 1, 8, 1}, unsigned short>(200, 8, 64);
  wgmma<WgmmaSchedule{256, 128, 64, 3, 2}, unsigned short>(257, 64, 24);                           // two slices of rows a warp
  wgmma<WgmmaSchedule{128, 160, 64, 3, 2, false, 1, 1, 8, 1}, unsigned short>(130, 352, 40);       // a piece repeats columns
  wgmma<WgmmaSchedule{64, 48, 64, 3, 1, false, 1, 1, 8, 1}, unsigned>(17, 84, 8);                  // of 32 columns
  wgmma<WgmmaSchedule{64, 64, 64, 3, 1, false, 1, 1, 8, 1}, unsigned short>(1, 64, 0);
}
TEST(SourcedStore, PingPong) {
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, unsigned short>(390, 200, 72);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, unsigned>(260, 100, 40);
}
TEST(SourcedStore, FewRows) {
  wgmma<WgmmaSchedule{16, 64, 64, 4, 1}, unsigned short>(13, 200, 72);
  wgmma<WgmmaSchedule{16, 128, 64, 4, 1}, unsigned short>(33, 136, 72); // tiles one below the other
}
TEST(SourcedStore, Batches) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, unsigned short>(70, 136, 40, 3);
  wgmma<WgmmaSchedule{128, 128, 64, 3, 2, true}, unsigned>(130, 68, 72, 2);
}
TEST(SourcedStore, TwoProducts) {
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, unsigned short, 2>(70, 200, 40);
  wgmma<WgmmaSchedule{128, 256, 64, 3, 2}, unsigned, 2>(131, 132, 72);
}
TEST(SourcedStore, Folds) {
  wgmma<WgmmaSchedule{128, 256, 64, 3, 2}, unsigned short, 1, true>(131, 320, 72);
  wgmma<WgmmaSchedule{64, 128, 64, 3, 1}, unsigned short, 2, true>(70, 192, 40);
}

} // namespace
