//===- AttentionTest.cpp - the device template of attention, emulated ---------------------------------------------===//
//
// Against softmax(q k^T) v in double, of the same rounded operands: schedules, sizes of heads, rows and keys that
// overhang, orders of operands in memory, masks, rows that see nothing. Operands end where their page does.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "impl/Attention.h"
#include "AttentionReference.h"
#include "Guarded.h"
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;
constexpr Major D = Major::Depth, S = Major::Side;
constexpr float infinity = INFINITY;

/// A matrix of lines × width, rounded, element (i, j) at i · width + j or, transposed, at j · lines + i.
template <Arithmetic type> struct Matrix {
  Guarded<unsigned short> memory;
  int lines, width;
  bool transposed;

  Matrix(int lines, int width, bool transposed, unsigned seed)
      : memory(size_t(lines) * width), lines(lines), width(width), transposed(transposed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < lines * width; ++i)
      memory[i] = narrow<type>(normal(random));
  }
  unsigned short &at(int i, int j) { return memory[transposed ? j * lines + i : i * width + j]; }
  double number(int i, int j) { return widen<type>(at(i, j)); }
};

/// What a test asks for beside sizes.
struct Options {
  float scale = 0.25f;
  bool causal = false, bias = false;
  int spoiled = -1; // a row all of whose scores are -inf by the bias
  int parts = 3;    // blocks that share the keys of some queries, where the schedule has them
};

template <AttentionSchedule s, Arithmetic type, int copy, Major keyMajor = D, Major valueMajor = S>
void check(int rows, int keys, int depth, int columns, Options options = {}) {
  Matrix<type> q(rows, depth, false, 1), k(keys, depth, keyMajor == S, 2), v(keys, columns, valueMajor == D, 3);
  std::vector<float> bias(size_t(rows) * keys, 0);
  std::mt19937 random(4);
  if (options.bias)
    for (int i = 0; i < rows * keys; ++i)
      bias[i] = i / keys == options.spoiled || random() % 3 == 0 ? -infinity : float(random() % 9) - 4;
  const int past = keys - rows; // row i sees the keys up to past + i
  Guarded<float> out(size_t(rows) * columns);
  for (int i = 0; i < rows * columns; ++i)
    out[i] = 77;
  using T = unsigned short;
  const Plain<T, D, copy, int> x{q.memory.data, depth};
  const Plain<T, keyMajor, copy, int> y{k.memory.data, keyMajor == D ? depth : keys};
  const Plain<T, valueMajor, copy, int> z{v.memory.data, valueMajor == S ? columns : keys};
  const AttentionProblem p{rows, keys, depth, columns};
  auto epilogue = flame::store<true>(
      out.data, [](int, int, float sum) { return sum; }, [=](int row, int column) { return row * columns + column; });
  auto body = [&](int row, int column, float score) {
    EXPECT_TRUE(row < rows && column < keys);
    return options.bias ? score * options.scale + bias[row * keys + column] : score;
  };
  const float scale = (options.bias ? 1 : options.scale) * 1.44269504f;
  const int parts = s.splits > 1 ? options.parts : 1;
  Guarded<float> partial(size_t(rows) * parts * KeySharing::elements(s.width));
  unsigned state[TicketState::bytes / 4] = {};
  const SharedKeys shared{parts, partial.data, state};
  std::vector<int> stored(rows);
  Guarded<float> logSums(rows);
  auto total = totals([&](int row, float number) { ++stored[row], logSums[row] = number; });
  emulator::launch((rows + s.rows - 1) / s.rows * parts, s.threads(), s.sharedBytes(), [&] {
    if (options.causal)
      attention<s, type>(p, x, y, z, scores(scale, body, [=](int row) { return past + row + 1; }), epilogue, shared, 0, total);
    else
      attention<s, type>(p, x, y, z, scores(scale, body), epilogue, shared, 0, total);
  });
  EXPECT_EQ(stored, std::vector<int>(rows, 1)) << "each row once";
  for (unsigned word : state)
    EXPECT_EQ(word, 0u);
  const double step = type == F16 ? 0x1p-10 : 0x1p-7;
  auto score = [&](int i, int j) -> double {
    double sum = 0;
    for (int d = 0; d < depth; ++d)
      sum += q.number(i, d) * k.number(j, d);
    return options.causal && j > past + i ? -infinity : sum * options.scale + bias[size_t(i) * keys + j];
  };
  expectAttention(
      rows, keys, columns, step, score, [&](int j, int c) { return v.number(j, c); },
      [&](int i, int c) { return out[size_t(i) * columns + c]; }, [&](int i) { return logSums[i]; });
}

TEST(Attention, SizesOfHeads) {
  check<AttentionSchedule{64, 32, 4, 1, 16, 16, 2}, F16, 16>(70, 45, 8, 16);
  check<AttentionSchedule{64, 32, 4, 1, 32, 48, 2}, BF16, 16>(64, 64, 32, 40);
  check<AttentionSchedule{64, 64, 4, 1, 80, 80, 2}, F16, 16>(65, 130, 80, 80);
  check<AttentionSchedule{128, 64, 4, 1, 128, 128, 2}, F16, 16>(130, 129, 128, 128);
  check<AttentionSchedule{128, 128, 4, 1, 64, 64, 2}, BF16, 16>(130, 257, 64, 64);
  check<AttentionSchedule{64, 32, 4, 1, 256, 256, 2}, F16, 16>(33, 65, 256, 256);
  check<AttentionSchedule{64, 32, 4, 1, 192, 128, 2}, F16, 16>(33, 65, 192, 128);
}

TEST(Attention, WarpsThatShareRows) {
  check<AttentionSchedule{16, 128, 1, 4, 64, 64, 1}, F16, 16>(33, 128, 64, 64);
  check<AttentionSchedule{16, 128, 1, 4, 64, 64, 1}, F16, 16>(17, 1, 64, 64);
  check<AttentionSchedule{16, 128, 1, 4, 64, 64, 1}, BF16, 16>(1, 300, 64, 64);
  check<AttentionSchedule{32, 64, 2, 2, 64, 64, 2}, F16, 16>(40, 300, 64, 72 - 8);
  check<AttentionSchedule{32, 64, 1, 2, 48, 32, 2}, F16, 16>(40, 100, 40, 32, {.causal = true});
  check<AttentionSchedule{16, 128, 1, 4, 64, 64, 1}, F16, 16>(33, 128, 64, 64, {.bias = true, .spoiled = 7});
}

TEST(Attention, BlocksThatShareKeys) {
  for (int parts : {1, 2, 5}) {
    check<AttentionSchedule{16, 64, 1, 4, 128, 128, 2, 132}, BF16, 16>(4, 500, 128, 128, {.parts = parts});
    check<AttentionSchedule{16, 128, 1, 4, 64, 64, 1, 132}, F16, 16>(33, 300, 64, 64, {.causal = true, .parts = parts});
    check<AttentionSchedule{32, 64, 2, 2, 48, 48, 2, 132}, F16, 0>(40, 333, 33, 35, {.bias = true, .spoiled = 7, .parts = parts});
    check<AttentionSchedule{64, 32, 4, 1, 64, 64, 2, 132}, F16, 16>(70, 130, 64, 64, {.scale = 30, .parts = parts});
    // Parts without keys, rows without any.
    check<AttentionSchedule{16, 64, 1, 4, 64, 64, 2, 132}, F16, 16>(3, 40, 64, 64, {.parts = parts});
    check<AttentionSchedule{16, 64, 1, 4, 64, 64, 2, 132}, F16, 16>(107, 100, 64, 64, {.causal = true, .parts = parts});
    check<AttentionSchedule{16, 64, 1, 4, 64, 64, 2, 132}, F16, 16>(3, 0, 64, 64, {.parts = parts});
  }
}

TEST(Attention, OrdersAndAlignments) {
  constexpr AttentionSchedule s{64, 32, 4, 1, 48, 48, 2};
  for (int n : {1, 2, 31, 64, 67}) {
    check<s, F16, 16, S, S>(n, 72, 40, 48);
    check<s, F16, 16, D, D>(n, 72, 40, 48);
    check<s, BF16, 16, S, D>(n, 40, 40, 40);
    check<s, F16, 0>(67, n, 33, 35);
    check<s, F16, 0, S, D>(n, 37, 33, 35);
    check<s, F16, 4>(n, 37, 34, 38);
    check<s, BF16, 8>(n, n, 36, 36);
  }
}

TEST(Attention, Masks) {
  constexpr AttentionSchedule s{64, 32, 4, 1, 64, 64, 2};
  check<s, F16, 16>(200, 200, 64, 64, {.causal = true});
  check<s, F16, 16>(100, 207, 64, 64, {.causal = true});
  check<s, BF16, 16>(5, 207, 64, 64, {.causal = true});
  // The first rows see nothing.
  check<s, F16, 16>(207, 100, 64, 64, {.causal = true});
  check<s, F16, 16>(100, 150, 64, 64, {.bias = true, .spoiled = 70});
  check<s, BF16, 16>(100, 150, 64, 64, {.causal = true, .bias = true});
  // Scores that grow far beyond the slack, and weights of one key.
  check<s, F16, 16>(70, 200, 64, 64, {.scale = 30});
  check<s, F16, 16>(70, 200, 64, 64, {.scale = 1e-3f});
  check<s, F16, 16>(3, 0, 64, 64);
}

} // namespace
