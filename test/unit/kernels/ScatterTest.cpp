//===- ScatterTest.cpp - scattered rows, on the emulation ---------------------------------------------------------===//
#include "impl/Scatter.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr int threads = 64;

struct Problem {
  int rows, groups, updates, parts;
};

/// Groups of four numbers of 32 bits; some updates have no row.
template <int rowsOfBlock> void check(const Problem &p, bool sums, bool inPlace) {
  using Scatter = ScatterRows<threads, rowsOfBlock, 16>;
  std::mt19937 random(p.rows + p.updates);
  const int length = 4 * p.groups;
  std::vector<Vector> x(p.rows * p.groups), updates(p.updates * p.groups), out(x.size());
  std::vector<int> targets(p.updates);
  auto *xs = (unsigned *)x.data(), *us = (unsigned *)updates.data();
  for (int i = 0; i < p.rows * length; ++i)
    xs[i] = random();
  for (int i = 0; i < p.updates * length; ++i)
    us[i] = random();
  for (int &target : targets)
    target = int(random() % (p.rows + 1)) - 1;
  std::vector<unsigned> want(xs, xs + p.rows * length);
  for (int i = 0; i < p.updates; ++i)
    for (int j = 0; j < length && targets[i] >= 0; ++j) {
      unsigned &at = want[targets[i] * length + j];
      at = sums ? 3 * at + us[i * length + j] : us[i * length + j]; // not commutative, so that the order shows
    }
  Vector *result = inPlace ? x.data() : out.data();
  const int blocks = (p.rows + rowsOfBlock - 1) / rowsOfBlock * p.parts;
  emulator::launch(blocks, threads, 0, [&] {
    const Scatter scatter({p.rows, p.groups, p.updates, p.parts});
    auto target = [&](long long i) { return (long long)targets[i]; };
    auto update = [&](long long to, long long from) {
      for (int i = 0; i < 4; ++i)
        result[to].words[i] = 3 * result[to].words[i] + updates[from].words[i];
    };
    if (sums)
      scatter.combine(x.data(), result, (int *)emulator::staticShared(0, 4 * Scatter::combining), target, update);
    else
      scatter.replace(x.data(), updates.data(), result, (int *)emulator::staticShared(0, 4 * Scatter::replacing), target);
  });
  EXPECT_EQ(std::vector<unsigned>((unsigned *)result, (unsigned *)result + want.size()), want);
}

void checkAll(const Problem &p) {
  for (bool sums : {false, true})
    for (bool inPlace : {false, true}) {
      check<1>(p, sums, inPlace);
      check<7>(p, sums, inPlace);
    }
}

TEST(Scatter, ManyUpdatesOfFewRows) { checkAll({5, 3, 300, 1}); }
TEST(Scatter, FewUpdatesOfManyRows) { checkAll({50, 17, 9, 1}); }
TEST(Scatter, RowsInParts) { checkAll({3, 150, 20, 4}); }
TEST(Scatter, OneGroupARow) { checkAll({100, 1, 200, 1}); }
TEST(Scatter, NoUpdates) { checkAll({9, 5, 0, 1}); }

} // namespace
