//===- SegmentTest.cpp - results that depend on whole segments of a product, emulated ------------------------------===//
//
// A product whose columns are segments, against the plain definition, of small whole numbers, so that sums are exact: parts with and
// without a sum of the segment, both pairings, tiles of one segment and of several, rows that overhang.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Guarded.h"
#include "epilogue/StoreSegments.h"
#include "impl/WgmmaGemm.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr auto D = Major::Depth;
constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;
constexpr auto N = Pairing::Neighbours, H = Pairing::Halves;

/// A product [rows, 10 * width] in parts: two segments and two more, which read something else, normed and turned, neighbours to halves; one as it
/// is; three with halves normed and turned; one with neighbours turned; one as it is. `size`: rows of a matrix.
template <WgmmaSchedule s, Arithmetic type, int width> void segments(int rows, int depth, int size) {
  constexpr int columns = 10 * width, ends[] = {0, 2, 4, 5, 8, 9, 10};
  Guarded<unsigned short> x(size_t(rows) * depth), y(size_t(columns) * depth), result(size_t(rows) * columns);
  std::vector<int> xs(x.count), ys(y.count);
  std::mt19937 random(rows + depth + width);
  auto fill = [&](auto &numbers, auto &memory) {
    for (size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = int(random() % 5) - 2;
      memory[i] = narrow<type>(float(numbers[i]));
    }
  };
  fill(xs, x);
  fill(ys, y);
  for (size_t i = 0; i < result.count; ++i)
    result[i] = 0x7fff;

  auto wide = [](unsigned short bits) { return widen<type>(bits); };
  auto bits = [](float value) { return (unsigned short)narrow<type>(value, 0.f); };
  auto body = [&](int row, int column, float sum) { return bits(sum + column % 3 - row % 2); };
  auto fold = [&](int outer, int inner, int part, int segment, int pair, unsigned short a, unsigned short b) {
    return wide(a) * wide(a) + 2 * wide(b) + inner % 3 + outer + (segment + 2 * part) * (pair % 2);
  };
  auto finish = [](float total) { return total + 3; };
  auto first = [&](int outer, int inner, int part, int segment, int pair, unsigned short a, unsigned short b, float total) {
    return bits(wide(a) - 2 * wide(b) + int(total) % 13 + inner % 5 - outer + segment + pair % 7 + 3 * part);
  };
  auto second = [&](int outer, int inner, int part, int segment, int pair, unsigned short a, unsigned short b, float total) {
    return bits(3 * wide(a) + wide(b) - int(total) % 11 + inner % 2 + outer - segment + pair % 5 - 2 * part);
  };
  const TensorMap xMap{(unsigned char *)x.data, 2, 3, {depth, rows, 1}, {2, 2ll * depth, 2ll * depth}, {64, s.rows, 1}},
      yMap{(unsigned char *)y.data, 2, 3, {depth, columns, 1}, {2, 2ll * depth, 2ll * depth}, {64, s.columns, 1}},
      to{(unsigned char *)result.data, 2, 3, {columns, rows, 1}, {2, 2ll * columns, 2ll * columns}, {64, 16, 1}};
  emulator::launch(2, s.threads(), s.sharedBytes(type, D, D), [&] {
    wgmmaGemm<s, type, D, D>(Problem<int>{rows, columns, depth}, 1, TensorOperand{xMap, 0}, TensorOperand{yMap, 0}, [&](int) {
      return segmentStore<width, unsigned short>(to, size, body, segmentPart<N, H, ends[1] * width, ends[2] * width>(fold, finish, first, second),
                                                 SamePart<ends[3] * width>(), segmentPart<H, H, ends[4] * width>(fold, finish, first, second),
                                                 segmentPart<N, N, ends[5] * width>(first, second), SamePart<ends[6] * width>());
    });
  });

  std::vector<unsigned short> product(columns);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      int sum = 0;
      for (int k = 0; k < depth; ++k)
        sum += xs[size_t(i) * depth + k] * ys[size_t(j) * depth + k];
      product[j] = body(i, j, float(sum));
    }
    for (int segment = 0; segment < 10; ++segment) {
      const unsigned short *own = &product[segment * width];
      std::vector<unsigned short> expected(own, own + width);
      const auto *end = std::upper_bound(std::begin(ends), std::end(ends), segment);
      const int part = int(end - std::begin(ends)) - 1, which = part == 1, inPart = segment - end[-1];
      const bool stays = part == 2 || part == 5, isNormed = part != 4;
      const Pairing in = part == 3 ? H : N, out = part == 4 ? N : H;
      auto place = [&](Pairing pairing, int pair, int second) { return pairing == N ? 2 * pair + second : pair + second * width / 2; };
      float total = 0;
      for (int pair = 0; isNormed && pair < width / 2; ++pair)
        total += fold(i / size, i % size, which, inPart, pair, own[place(in, pair, 0)], own[place(in, pair, 1)]);
      if (isNormed)
        total = finish(total);
      for (int pair = 0; !stays && pair < width / 2; ++pair) {
        const unsigned short a = own[place(in, pair, 0)], b = own[place(in, pair, 1)];
        expected[place(out, pair, 0)] = first(i / size, i % size, which, inPart, pair, a, b, total);
        expected[place(out, pair, 1)] = second(i / size, i % size, which, inPart, pair, a, b, total);
      }
      for (int j = 0; j < width; ++j)
        ASSERT_EQ(result[size_t(i) * columns + segment * width + j], expected[j])
            << rows << "x" << depth << ", segments of " << width << " at " << i << ", " << segment << ", " << j;
    }
  }
}

TEST(Segments, OfOneTile) {
  segments<WgmmaSchedule{64, 128, 64, 3, 1}, BF16, 128>(70, 40, 70);
  segments<WgmmaSchedule{128, 128, 64, 3, 2, true}, F16, 128>(260, 24, 100); // ping-pong
  segments<WgmmaSchedule{64, 64, 64, 3, 1, false, 1, 1, 8, 1}, F16, 64>(100, 16, 3);
  segments<WgmmaSchedule{64, 256, 64, 2, 1, false, 1, 1, 8, 4}, BF16, 256>(64, 8, 1);
}

TEST(Segments, SeveralOfATile) {
  segments<WgmmaSchedule{128, 256, 64, 3, 2}, BF16, 128>(131, 40, 64);
  segments<WgmmaSchedule{128, 192, 64, 3, 2, false, 1, 1, 8, 1}, F16, 64>(77, 48, 77); // the last tile overhangs
  segments<WgmmaSchedule{128, 192, 64, 3, 2, true, 1, 1, 8, 1}, BF16, 64>(300, 72, 7);
}

} // namespace
