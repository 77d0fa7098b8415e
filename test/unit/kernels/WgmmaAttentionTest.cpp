//===- WgmmaAttentionTest.cpp - the device template of attention by wgmma, emulated -------------------------------===//
//
// Against softmax(q k^T) v in double: sizes of heads, rows and keys that overhang, several heads a block, orders of keys and
// values in memory, heads that share keys, limits and biases, rows that see nothing, queries and keys of 8 bits. Blocks and warpgroups meet at their
// barriers as on a GPU; copies land late, and products happen when they are waited for.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "impl/WgmmaAttention.h"
#include "AttentionReference.h"
#include "Guarded.h"
#include <random>
#include <type_traits>

using namespace flame;

namespace {

constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16, E4M3 = Arithmetic::E4M3, E5M2 = Arithmetic::E5M2;
constexpr Major D = Major::Depth, S = Major::Side;

/// [outer, line, inner, head size]: heads inside of lines, as projections give them. `lineMajor`: lines are contiguous
/// instead of the head.
template <Arithmetic type> struct Heads4 {
  static constexpr int bytes = sizeOf(type);
  Guarded<std::conditional_t<bytes == 1, unsigned char, unsigned short>> memory;
  int outer, lines, inner, size;
  bool lineMajor;

  Heads4(int outer, int lines, int inner, int size, bool lineMajor, unsigned seed)
      : memory(size_t(outer) * lines * inner * size), outer(outer), lines(lines), inner(inner), size(size),
        lineMajor(lineMajor) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < outer * lines * inner * size; ++i)
      if constexpr (bytes == 1)
        memory[i] = narrowByte<type>(normal(random));
      else
        memory[i] = narrow<type>(normal(random));
  }
  long long lineStride() const { return lineMajor ? 1 : inner * size; }
  long long innerStride() const { return lineMajor ? size * lines : size; }
  long long sizeStride() const { return lineMajor ? lines : 1; }
  double number(int o, int line, int i, int d) {
    return widen<type>(memory[o * lines * inner * size + line * lineStride() + i * innerStride() + d * sizeStride()]);
  }
  TensorMap map(int boxLines) {
    const long long outerStride = (long long)bytes * lines * inner * size;
    TensorMap map{(unsigned char *)memory.data, bytes, 5, {size, lines, inner, 1, outer},
                  {bytes, bytes * lineStride(), bytes * innerStride(), outerStride, outerStride}, {128 / bytes, boxLines, 1, 1, 1}};
    if (lineMajor) {
      std::swap(map.dims[0], map.dims[1]);
      map.strides[0] = bytes, map.strides[1] = bytes * sizeStride();
    }
    return map;
  }
};

struct Options {
  float scale = 0.25f;
  bool causal = false, bias = false, shared = false, store = false;
  int spoiled = -1; // a row all of whose scores are -inf by the bias
  int blocks = 3, outer = 1, inner = 1;
  int parts = 3; // blocks that share a tile's keys, where the schedule has them
  int whole = 0; // tiles that have a block each all the same
};

template <WgmmaAttentionSchedule s, Arithmetic type, Major keyMajor = D, Major valueMajor = S, Arithmetic keyType = type>
void check(int rows, int keys, int depth, int columns, Options o = {}) {
  const int keyHeads = o.shared ? 1 : o.inner;
  Heads4<keyType> q(o.outer, rows, o.inner, depth, false, 1), k(o.outer, keys, keyHeads, depth, keyMajor == S, 2);
  Heads4<type> v(o.outer, keys, keyHeads, columns, valueMajor == D, 3), out(o.outer, rows, o.inner, columns, false, 4);
  for (int i = 0; i < o.outer * rows * o.inner * columns; ++i)
    out.memory[i] = narrow<type>(77);
  std::vector<float> bias(size_t(rows) * keys, 0);
  std::mt19937 random(4);
  for (int i = 0; o.bias && i < rows * keys; ++i)
    bias[i] = i / keys == o.spoiled || random() % 3 == 0 ? -INFINITY : float(random() % 9) - 4;
  const int past = keys - rows; // row i sees the keys up to past + i
  const TensorMap qMap = q.map(s.rows), kMap = k.map(keyMajor == D ? s.keys : s.depth),
                  vMap = v.map(valueMajor == S ? s.keys : s.width), outMap = out.map(16);
  auto body = [&](int row, int column, float score) {
    EXPECT_TRUE(row < rows && column < keys);
    return o.bias ? score * o.scale + bias[row * keys + column] : score;
  };
  const float scale = (o.bias ? 1 : o.scale) * 1.44269504f;
  const Heads heads{o.inner, 1, o.outer}, keySteps{o.shared ? 0 : 1, 1, 1};
  unsigned state[TicketState::bytes / 4] = {};
  const int shared = o.outer * o.inner * ((rows + s.rows - 1) / s.rows) - o.whole;
  Guarded<float> partial(size_t(shared) * s.rows * o.parts * KeySharing::elements(s.width));
  const int allRows = o.outer * o.inner * rows;
  std::vector<int> stored(allRows);
  Guarded<float> logSums(allRows);
  auto run = [&](auto scoringOf) {
    emulator::launch(o.blocks, s.threads(), s.sharedBytes(keyMajor, valueMajor, sizeOf(keyType)), [&] {
      auto rounded = [](int, int, float sum) { return narrow<type>(sum); };
      int at = 0; // the head that this thread is at
      auto makeScoring = [&](int head) {
        at = head;
        return scoringOf(head);
      };
      auto total = totals([&](int row, float number) { ++stored[at * rows + row], logSums[at * rows + row] = number; });
      auto byItself = [&](int head) {
        return store<true>(out.memory.data, rounded, [&, head](int row, int column) {
          return ((head / o.inner * rows + row) * o.inner + head % o.inner) * columns + column;
        });
      };
      auto call = [&](auto makeEpilogue) {
        const AttentionProblem p{rows, keys, depth, columns};
        const HeadOperand x{qMap, {1, 1, 1}}, y{kMap, keySteps}, z{vMap, keySteps};
        if constexpr (s.splits > 1)
          wgmmaAttention<s, type, keyMajor, valueMajor, keyType>(p, heads, x, y, z, state, makeScoring, makeEpilogue,
                                                        SharedKeys{o.parts, partial.data, state, o.whole}, byItself, total);
        else
          wgmmaAttention<s, type, keyMajor, valueMajor, keyType>(p, heads, x, y, z, state, makeScoring, makeEpilogue, SharedKeys{1}, nullptr, total);
      };
      if constexpr (s.width >= 64) {
        if (!o.store)
          return call([&](int) { return tensorStore<unsigned short>(outMap, rounded); });
      }
      call(byItself);
    });
  };
  if (o.causal)
    run([&](int) { return scores(scale, body, [=](int row) { return past + row + 1; }); });
  else
    run([&](int) { return scores(scale, body); });
  for (unsigned word : state)
    EXPECT_EQ(word, 0u);
  EXPECT_EQ(stored, std::vector<int>(allRows, 1)) << "each row once";
  for (int a = 0; a < o.outer; ++a)
    for (int h = 0; h < o.inner; ++h)
      expectAttention(
          rows, keys, columns, type == F16 ? 0x1p-9 : 0x1p-6,
          [&](int i, int j) -> double {
            double sum = 0;
            for (int d = 0; d < depth; ++d)
              sum += q.number(a, i, h, d) * k.number(a, j, h % keyHeads, d);
            return o.causal && j > past + i ? -INFINITY : sum * o.scale + bias[size_t(i) * keys + j];
          },
          [&](int j, int c) { return v.number(a, j, h % keyHeads, c); },
          [&](int i, int c) { return out.number(a, i, h, c); }, [&](int i) { return logSums[(a * o.inner + h) * rows + i]; });
}

TEST(WgmmaAttention, QueriesAndKeysOf8Bits) {
  constexpr WgmmaAttentionSchedule s{128, 64, 64, 64, 2, 1}, narrow{64, 32, 96, 64, 2, 1, 132};
  check<s, BF16, D, S, E4M3>(130, 200, 64, 64, {.outer = 2, .inner = 3});
  check<s, F16, D, D, E5M2>(70, 136, 64, 64, {.causal = true, .inner = 2});
  check<s, F16, D, S, E4M3>(100, 150, 64, 64, {.bias = true, .shared = true, .spoiled = 70, .inner = 2});
  check<s, F16, D, S, E4M3>(70, 200, 64, 64, {.scale = 30, .store = true});
  check<WgmmaAttentionSchedule{192, 80, 128, 128, 3, 1}, BF16, D, S, E4M3>(200, 170, 128, 128);
  check<WgmmaAttentionSchedule{128, 96, 256, 256, 2}, F16, D, S, E4M3>(100, 200, 256, 256);
  check<WgmmaAttentionSchedule{64, 32, 512, 512, 2, 1}, BF16, D, S, E4M3>(70, 90, 512, 512);
  // A part of a line, and of a product's depth; blocks that share keys.
  check<narrow, F16, D, S, E5M2>(5, 333, 80, 64, {.causal = true, .blocks = 4, .inner = 2, .parts = 3});
}

TEST(WgmmaAttention, SizesOfHeads) {
  check<WgmmaAttentionSchedule{128, 64, 64, 64, 2, 2}, BF16>(130, 200, 64, 64);
  check<WgmmaAttentionSchedule{128, 32, 128, 128, 2}, F16>(128, 96, 128, 128);
  check<WgmmaAttentionSchedule{64, 16, 256, 256, 2}, F16>(30, 40, 256, 256);
  check<WgmmaAttentionSchedule{192, 32, 80, 80, 3, 1}, BF16>(200, 70, 72, 72);
  check<WgmmaAttentionSchedule{64, 48, 48, 48, 2, 1}, F16>(64, 100, 40, 40);
  check<WgmmaAttentionSchedule{64, 32, 128, 64, 2}, F16>(70, 90, 128, 64);
  check<WgmmaAttentionSchedule{64, 32, 64, 128, 2}, F16>(70, 90, 64, 128);
  // Two warpgroups with the same rows, each with half of the columns.
  check<WgmmaAttentionSchedule{64, 32, 512, 512, 2, 1}, BF16>(70, 90, 512, 512);
  check<WgmmaAttentionSchedule{64, 32, 384, 384, 2, 1}, F16>(30, 40, 384, 384);
}

TEST(WgmmaAttention, Heads) {
  constexpr WgmmaAttentionSchedule s{128, 32, 64, 64, 2};
  check<s, BF16>(150, 70, 64, 64, {.outer = 2, .inner = 3});
  check<s, BF16>(150, 70, 64, 64, {.causal = true, .blocks = 2, .outer = 2, .inner = 3});
  check<s, F16>(20, 33, 64, 64, {.shared = true, .blocks = 1, .outer = 2, .inner = 3});
  check<s, F16>(150, 70, 64, 64, {.store = true, .outer = 2, .inner = 3});
}

TEST(WgmmaAttention, Orders) {
  constexpr WgmmaAttentionSchedule s{64, 64, 64, 64, 2, 1};
  check<s, F16, S, S>(70, 136, 64, 64);
  check<s, BF16, D, D>(70, 136, 64, 64);
  check<s, F16, S, D>(70, 200, 56, 64, {.causal = true, .outer = 2, .inner = 2});
}

TEST(WgmmaAttention, BlocksThatShareKeys) {
  constexpr WgmmaAttentionSchedule s{64, 32, 64, 64, 2, 2, 132}, wide{128, 64, 128, 128, 2, 1, 132}, narrow{64, 48, 48, 48, 2, 1, 132};
  for (int parts : {1, 2, 7}) {
    check<s, F16>(4, 500, 64, 64, {.blocks = 5, .outer = 2, .inner = 2, .parts = parts});
    check<s, BF16>(70, 200, 64, 64, {.causal = true, .blocks = 2, .inner = 2, .parts = parts});
    check<narrow, F16>(3, 333, 40, 40, {.shared = true, .blocks = 4, .inner = 3, .parts = parts});
    check<wide, BF16>(130, 300, 128, 128, {.bias = true, .spoiled = 70, .parts = parts});
    // Parts without keys, rows without any.
    check<s, F16>(5, 40, 64, 64, {.parts = parts});
    check<s, F16>(107, 100, 64, 64, {.causal = true, .parts = parts});
    check<s, F16>(3, 0, 64, 64, {.parts = parts});
    check<s, F16>(7, 300, 64, 64, {.scale = 30, .store = true, .parts = parts});
  }
}

TEST(WgmmaAttention, BlocksThatShareTheLastTiles) {
  constexpr WgmmaAttentionSchedule s{64, 32, 64, 64, 2, 2, 132}, wide{128, 64, 128, 128, 2, 1, 132}, narrow{192, 48, 48, 48, 2, 1, 132};
  for (int parts : {2, 5}) {
    // Three heads of two tiles, by three blocks: a round of whole tiles; two; all of them.
    for (int whole : {3, 5, 6})
      check<s, F16>(70, 200, 64, 64, {.bias = true, .spoiled = 69, .inner = 3, .parts = parts, .whole = whole});
    check<wide, BF16>(300, 300, 128, 128, {.blocks = 4, .outer = 2, .parts = parts, .whole = 4});
    check<wide, BF16>(200, 200, 128, 128, {.store = true, .blocks = 2, .parts = parts, .whole = 1});
    check<narrow, F16>(200, 333, 40, 40, {.scale = 30, .shared = true, .blocks = 3, .inner = 3, .parts = parts, .whole = 3});
    // Parts without keys.
    check<s, F16>(70, 40, 64, 64, {.blocks = 2, .inner = 2, .parts = parts, .whole = 2});
  }
}

TEST(WgmmaAttention, Masks) {
  constexpr WgmmaAttentionSchedule s{128, 32, 64, 64, 2};
  check<s, F16>(200, 200, 64, 64, {.causal = true});
  check<s, BF16>(5, 107, 64, 64, {.causal = true});
  // The first rows see nothing.
  check<s, F16>(207, 100, 64, 64, {.causal = true});
  check<s, F16>(100, 150, 64, 64, {.bias = true, .spoiled = 70});
  check<s, BF16>(100, 150, 64, 64, {.causal = true, .bias = true});
  // Scores that grow far beyond the slack, and weights of one key.
  check<s, F16>(70, 200, 64, 64, {.scale = 30});
  check<s, F16>(70, 200, 64, 64, {.scale = 1e-3f});
  check<s, F16>(3, 0, 64, 64);
}

} // namespace
