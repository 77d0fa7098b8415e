//===- RowPipelineTest.cpp - rows in chunks, on the emulation -----------------------------------------------------===//
//
// A kernel written by hand subtracts from each row its mean, with all kinds of warps. The numbers are whole, so that sums are
// exact; blocks and steps are few, as the emulation takes turns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "tile/RowPipeline.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

using namespace flame;

namespace {

/// A block with few places for what it has counted.
struct Shape : RowPipelineShape {
  static constexpr int places = 64;
};

struct Problem {
  int blocks, rows, length, chunkLength;
};

template <typename T> void subtractMeans(const Problem &p, unsigned *state, const T *x, T *y, T *sums) {
  using Pipeline = RowPipeline<7, 3, Shape>;
  const int chunks = (p.length + p.chunkLength - 1) / p.chunkLength, items = p.rows * chunks;
  const int placeBytes = p.chunkLength * sizeof(T);
  auto *words = (unsigned long long *)emulator::staticShared(0, Shape::words * 8);
  T *all = (T *)emulator::staticShared(1, chunks * sizeof(T)), *others = (T *)emulator::staticShared(2, chunks * sizeof(T));
  T *partials = (T *)emulator::staticShared(3, Shape::joining * sizeof(T));
  const Pipeline pipeline(state, words, dynamicShared() + placeBytes * (Pipeline::stages - 1), chunks, items);
  const int warp = threadId() / 32;
  auto each = [&](auto body) {
    int step = 0;
    for (int item = pipeline.firstItem(); item < items; item += pipeline.blocks(), ++step) {
      const int row = item / chunks, begin = item % chunks * p.chunkLength;
      body(step, row, begin, std::min(p.chunkLength, p.length - begin));
    }
  };
  auto place = [&](int step) { return (T *)(dynamicShared() + placeBytes * pipeline.stageOf(step)); };
  if (warp < Shape::countingWarps) {
    each([&](int step, int, int, int count) {
      pipeline.awaitFetched(step);
      T sum = 0, most = place(step)[0];
      for (int i = 0; i < count; ++i)
        sum += place(step)[i], most = std::max(most, place(step)[i]);
      pipeline.endCounting(step);
      if (threadId() < 32)
        pipeline.publish(step, sum, most);
    });
  } else if (warp < Shape::countingWarps + Shape::joiningWarps) {
    const int self = threadId() - Shape::counting;
    each([&](int step, int row, int, int) {
      pipeline.collect(row, all, others);
      partials[self] = 0;
      for (int i = self; i < chunks; i += Shape::joining)
        partials[self] += all[i];
      pipeline.syncJoining();
      T sum = 0;
      for (int i = 0; i < Shape::joining; ++i)
        sum += partials[i];
      pipeline.handOver(step, sum, sum / p.length);
    });
  } else if (warp < Shape::countingWarps + Shape::joiningWarps + Shape::fetchingWarps) {
    each([&](int step, int row, int begin, int count) {
      pipeline.beginFetch(step, count * sizeof(T));
      pipeline.fetch(step, place(step), x + row * p.length + begin, count * sizeof(T));
      pipeline.endFetch(step);
    });
  } else {
    const int self = threadId() - (Shape::countingWarps + Shape::joiningWarps + Shape::fetchingWarps) * 32;
    each([&](int step, int row, int begin, int count) {
      pipeline.awaitJoined(step);
      const T mean = pipeline.template number<T>(step, 1);
      if (self == 0 && begin == 0)
        sums[row] = pipeline.template number<T>(step, 0);
      const T *from = pipeline.keeps() ? place(step) : x + row * p.length + begin;
      for (int i = self; i < count; i += Shape::storingWarps * 32)
        y[row * p.length + begin + i] = from[i] - mean;
      pipeline.endStoring(step);
    });
  }
  pipeline.leave();
}

template <typename T> void check(const Problem &p) {
  std::vector<unsigned> state(Shape::bytes / 4);
  for (int run = 0; run < 2; ++run) { // the second finds what the first has left
    std::mt19937 random(run + p.rows);
    std::vector<T> x(p.rows * p.length), y(x.size(), -1), sums(p.rows);
    for (T &value : x)
      value = int(random() % 17) - 8;
    // Means are whole, too.
    for (int row = 0; row < p.rows; ++row) {
      int sum = 0;
      for (int i = 0; i < p.length; ++i)
        sum += x[row * p.length + i];
      x[row * p.length] += p.length * (row + 1) - sum;
    }
    emulator::launch(p.blocks, Shape::threads, p.chunkLength * sizeof(T) * 3, [&] {
      subtractMeans(p, state.data(), x.data(), y.data(), sums.data());
    }, /*together=*/true);
    for (int row = 0; row < p.rows; ++row) {
      EXPECT_EQ(sums[row], T(p.length) * (row + 1));
      for (int i = 0; i < p.length; ++i)
        ASSERT_EQ(y[row * p.length + i], x[row * p.length + i] - (row + 1)) << "row " << row << " column " << i;
    }
    for (int word = 1; word < 4; ++word)
      EXPECT_EQ(state[word], 0u);
  }
}

TEST(RowPipeline, KeepsRowsThatFit) {
  check<float>({3, 7, 500, 256});   // two chunks, the last one shorter
  check<float>({2, 9, 128, 128});   // one
  check<double>({3, 4, 1204, 256}); // as many as fit, and numbers of two words
}

TEST(RowPipeline, ReadsLongRowsAgain) {
  check<float>({2, 3, 4000, 256});
  check<double>({1, 2, 1000, 128});
}

// Where a few blocks fewer make it so: 10 of 11 for two turns of 20 chunks, 7 of 8 for rows of 7.
TEST(RowPipeline, RowsAreWholeTurns) {
  check<float>({11, 6, 80, 4});
  check<float>({8, 11, 28, 4});
  check<float>({5, 6, 36, 4});
}

TEST(RowPipeline, BlocksWithoutChunks) { check<float>({4, 1, 300, 256}); }

// More steps than a block has places for what it has counted.
TEST(RowPipeline, UsesPlacesAgain) { check<float>({2, 90, 12, 4}); }

} // namespace
