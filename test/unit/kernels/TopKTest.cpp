//===- TopKTest.cpp - the device templates of TopK, emulated ------------------------------------------------------===//
//
// Against std::stable_sort by the definition: every form, odd sizes, ties, NaN and both zeros, rows along an inner dim,
// pieces and merged tiles. Rows end where their page does.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "impl/TopK.h"
#include "Guarded.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr KeyFormat F16{KeyKind::Float, 16, 0x7c00}, BF16{KeyKind::Float, 16, 0x7f80},
    F32{KeyKind::Float, 32, 0x7f800000}, F64{KeyKind::Float, 64, 0x7ff0000000000000}, F8E4M3{KeyKind::Float, 8, 0x7e},
    I8{KeyKind::Signed, 8}, U8{KeyKind::Unsigned, 8}, I16{KeyKind::Signed, 16}, I32{KeyKind::Signed, 32},
    U32{KeyKind::Unsigned, 32}, I64{KeyKind::Signed, 64}, U64{KeyKind::Unsigned, 64};

/// The number that the bits stand for, exactly. NaN counts as more than infinity.
template <KeyFormat format, typename T> long double number(T bits) {
  if constexpr (format.kind == KeyKind::Unsigned)
    return bits;
  else if constexpr (format.kind == KeyKind::Signed)
    return (std::make_signed_t<T>)bits;
  const T sign = T(1) << (format.bits - 1), magnitude = bits & (sign - 1);
  // Magnitudes of floats have the order of their bits.
  const long double number = magnitude > format.largest ? 2.0L * format.largest : magnitude;
  return bits & sign && magnitude <= format.largest ? -number : number;
}

enum class Form { Warps, Block, Select, Long };
enum class Data { Random, Few, Rising, Falling };

struct Sizes {
  int outer, length, inner, k;
  int pieces = 1, blocks = 4; // blocks: of Long
};

template <Form form, TopKSchedule s, KeyFormat format, bool largest, typename T>
void check(Sizes z, Data kind = Data::Random) {
  SCOPED_TRACE(testing::Message() << z.outer << "x" << z.length << "x" << z.inner << " k " << z.k << " data "
                                  << int(kind));
  const int rows = z.outer * z.inner;
  Guarded<T> x(size_t(rows) * z.length);
  std::mt19937_64 random(z.length * 31 + z.k);
  const T sign = T(1) << (format.bits - 1);
  for (size_t i = 0; i < x.count; ++i) {
    const size_t position = i / z.inner % z.length;
    switch (kind) {
    case Data::Random: // any bits: NaN of many kinds, infinities
      x[i] = T(random());
      break;
    case Data::Few: { // many ties, zeros of both signs
      const T few[] = {0, sign, 1, T(sign | 1), 2, T(~T(0)), T(sign - 1)};
      x[i] = few[random() % 7];
      break;
    }
    case Data::Rising:
      x[i] = T(position / 3);
      break;
    case Data::Falling:
      x[i] = T((z.length - position) / 3);
      break;
    }
  }
  const size_t results = size_t(rows) * z.k;
  Guarded<T> values(results);
  Guarded<unsigned long long> indices(results);
  const TopKRows<s, format, largest, T> rowsOf{{rows, z.length, z.k, z.inner}, x.data, values.data, indices.data};
  const size_t tiles = (z.length + s.tile - 1) / s.tile;
  std::vector<typename PairOf<s.pairBytes>::Type> scratch(
      std::max(rows * tiles * s.tile * 2, size_t(rows) * z.pieces * z.k));
  std::vector<unsigned> state(TicketState::bytes / 4);
  constexpr int lanes = s.tile < 32 ? s.tile : 32;
  // A second time with what the first has left in the state, and nothing of it elsewhere.
  for (int run = 0; run < (form == Form::Select || form == Form::Long ? 2 : 1); ++run) {
    std::fill_n(indices.data, results, ~0ull);
    std::memset(static_cast<void *>(scratch.data()), 0xff, scratch.size() * sizeof(scratch[0]));
    if constexpr (form == Form::Warps)
      emulator::launch((rows + s.threads / lanes - 1) / (s.threads / lanes), s.threads, 0, [&] { topkWarps(rowsOf); });
    else if constexpr (form == Form::Block)
      emulator::launch(rows, s.threads, s.sharedBytes(), [&] { topkBlock(rowsOf); });
    else if constexpr (form == Form::Select)
      emulator::launch(rows * z.pieces, s.threads, s.sharedBytes(),
                       [&] { topkSelect(rowsOf, z.pieces, scratch.data(), state.data()); });
    else
      emulator::launch(
          z.blocks, s.threads, s.sharedBytes(), [&] { topkLong(rowsOf, z.pieces, scratch.data(), state.data()); },
          true);
  }
  std::vector<int> order(z.length);
  for (int row = 0; row < rows; ++row) {
    auto at = [&](size_t j, size_t length) { return (row / z.inner * length + j) * z.inner + row % z.inner; };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) {
      const auto left = number<format>(x[at(i, z.length)]), right = number<format>(x[at(j, z.length)]);
      return largest ? left > right : left < right;
    });
    for (int j = 0; j < z.k; ++j) {
      ASSERT_EQ(indices[at(j, z.k)], (unsigned long long)order[j]) << "row " << row << ", " << j;
      ASSERT_EQ(values[at(j, z.k)], x[at(order[j], z.length)]) << "row " << row << ", " << j;
    }
  }
}

template <int tile, int bytes, KeyFormat format, typename T> void checkWarps() {
  constexpr TopKSchedule s{64, tile, bytes};
  for (int length : {0, 1, tile - 1, tile / 2 + 1, tile})
    if (length <= tile) {
      check<Form::Warps, s, format, true, T>({7, length, 1, length});
      check<Form::Warps, s, format, false, T>({1, length, 5, length / 2}, Data::Few);
    }
}

TEST(TopK, Warps) {
  checkWarps<1, 4, BF16, unsigned short>();
  checkWarps<2, 4, F16, unsigned short>();
  checkWarps<8, 4, I8, unsigned char>();
  checkWarps<16, 8, F32, unsigned>();
  checkWarps<32, 8, I32, unsigned>();
  checkWarps<64, 16, F64, unsigned long long>();
  checkWarps<128, 4, I16, unsigned short>();
  checkWarps<256, 16, I64, unsigned long long>();
}

TEST(TopK, Block) {
  for (int length : {129, 256, 257, 509})
    for (int k : {0, 100, length}) {
      check<Form::Block, TopKSchedule{128, 512, 4}, BF16, true, unsigned short>({2, length, 1, k});
      check<Form::Block, TopKSchedule{128, 512, 8}, F32, false, unsigned>({1, length, 2, k}, Data::Few);
      check<Form::Block, TopKSchedule{64, 512, 16}, U64, true, unsigned long long>({1, length, 1, k});
      check<Form::Block, TopKSchedule{128, 512, 4}, F8E4M3, false, unsigned char>({1, length, 1, k});
    }
}

TEST(TopK, Select) {
  constexpr TopKSchedule narrow{128, 1024, 4}, s{128, 1024, 8}, wide{128, 512, 16};
  for (Data kind : {Data::Random, Data::Few, Data::Rising, Data::Falling})
    for (int pieces : {1, 3}) {
      check<Form::Select, narrow, BF16, true, unsigned short>({1, 2000, 1, 50, pieces}, kind);
      check<Form::Select, narrow, F16, false, unsigned short>({1, 2008, 1, 128, pieces}, kind);
      check<Form::Select, s, F32, true, unsigned>({2, 2003, 1, 7, pieces}, kind);
      check<Form::Select, s, I32, false, unsigned>({1, 1501, 3, 129, pieces}, kind);
      check<Form::Select, s, U32, true, unsigned>({1, 2000, 1, 256, pieces}, kind);
      check<Form::Select, narrow, U8, true, unsigned char>({1, 2048, 1, 64, pieces}, kind);
      check<Form::Select, wide, F64, true, unsigned long long>({1, 1000, 1, 100, pieces}, kind);
      check<Form::Select, wide, I64, false, unsigned long long>({2, 1009, 1, 1, pieces}, kind);
    }
  // Pieces without an element, and rows with fewer than a thread each.
  for (int length : {0, 1, 31, 127, 128, 129, 257})
    for (int k : {0, 2, length})
      if (k <= length)
        for (int pieces : {1, 3})
          check<Form::Select, s, F32, true, unsigned>({1, length, 1, k, pieces}, Data::Few);
}

TEST(TopK, Long) {
  constexpr TopKSchedule s{128, 512, 8}, wide{128, 256, 16};
  for (int length : {0, 1, 511, 512, 513, 1537, 2053})
    for (int k : {0, 128, 129, 700, length})
      if (k <= length) {
        check<Form::Long, s, F32, true, unsigned>({2, length, 1, k, 2});
        check<Form::Long, s, BF16, false, unsigned short>({1, length, 2, k}, Data::Few);
      }
  check<Form::Long, wide, F64, false, unsigned long long>({3, 2000, 1, 2000, 2, 7});
  check<Form::Long, wide, I64, true, unsigned long long>({1, 1009, 2, 300, 1, 1});
}

/// Results that nobody wants are not stored.
TEST(TopK, OneResult) {
  constexpr TopKSchedule s{64, 64, 8};
  unsigned x[] = {5, 9, 7}, values[2] = {};
  unsigned long long indices[2] = {};
  emulator::launch(1, 64, 0, [&] { topkWarps(TopKRows<s, U32, true, unsigned>{{1, 3, 2, 1}, x, values, nullptr}); });
  emulator::launch(1, 64, 0, [&] { topkWarps(TopKRows<s, U32, true, unsigned>{{1, 3, 2, 1}, x, nullptr, indices}); });
  EXPECT_EQ(values[0], 9u);
  EXPECT_EQ(values[1], 7u);
  EXPECT_EQ(indices[0], 1u);
  EXPECT_EQ(indices[1], 2u);
}

} // namespace
