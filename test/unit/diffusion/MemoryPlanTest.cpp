//===- MemoryPlanTest.cpp - which parts stay in memory ---------------------===//

#include "MemoryPlan.h"

#include <gtest/gtest.h>

using namespace flame::diffusion;

namespace {

const std::vector<PartBytes> kParts = {{10, 1, 0}, {100, 5, 0}, {240, 30, 0}, {2, 40, 0}};

/// Parts that are loaded, as digits; with what their runs need: as "2+".
std::string after(std::vector<PartBytes> held, const std::vector<Eviction> &evictions) {
  for (const Eviction &eviction : evictions)
    held[eviction.part] = {eviction.weightsToo ? 0 : held[eviction.part].weights, 0, 0};
  std::string out;
  for (size_t i = 0; i < held.size(); ++i)
    if (held[i].all())
      out += std::to_string(i) + (held[i].runs ? "+" : "");
  return out;
}

TEST(MemoryPlan, EverythingStaysWithoutALimit) {
  EXPECT_TRUE(evictionsFor(2, kParts[2], kParts, 0).empty());
  EXPECT_TRUE(evictionsFor(2, kParts[2], kParts, 428).empty());
  EXPECT_EQ(peakOf(kParts, 0), 428u);
  EXPECT_EQ(peakOf(kParts, 428), 428u);
}

TEST(MemoryPlan, WhatRunsNeedGoesFirst) {
  // The last one used goes first; the part that runs never goes.
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 427)), "0+12+3+");
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 423)), "0+12+3+");
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 422)), "012+3+");
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 421)), "012+3");
  EXPECT_EQ(after(kParts, evictionsFor(3, kParts[3], kParts, 400)), "0+1+23+");
}

TEST(MemoryPlan, ThenThePartsThatAreNeededLast) {
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 381)), "02+3");
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 281)), "2+3");
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 270)), "2+");
  EXPECT_EQ(after(kParts, evictionsFor(0, kParts[0], kParts, 120)), "0+1");
  // What is too large alone gets all the room there is; the caller has refused it before.
  EXPECT_EQ(after(kParts, evictionsFor(2, kParts[2], kParts, 1)), "2+");
}

TEST(MemoryPlan, APartThatIsNotLoadedCounts) {
  std::vector<PartBytes> held = kParts;
  held[2] = {};
  EXPECT_EQ(after(held, evictionsFor(2, kParts[2], held, 300)), "03");
}

TEST(MemoryPlan, ThePeakIsThatOfTheLargestMoment) {
  EXPECT_EQ(peakOf(kParts, 427), 423u);
  EXPECT_EQ(peakOf(kParts, 270), 270u);
  for (uint64_t limit = 270; limit < 430; ++limit)
    EXPECT_LE(peakOf(kParts, limit), limit);
}

TEST(MemoryPlan, LoadingTakesMemoryForATime) {
  std::vector<PartBytes> needed = kParts;
  needed[2].loading = 50; // 20 more than a run
  EXPECT_EQ(peakOf(needed, 0), 428u) << "with all loaded, beside the last one's runs";
  needed[2].loading = 80;
  EXPECT_EQ(peakOf(needed, 0), 116u + 320u);
  EXPECT_EQ(after(kParts, evictionsFor(2, needed[2], kParts, 440)), "012+3") << "478 with what loading takes";
}

TEST(MemoryPlan, TextsOfSizes) {
  EXPECT_EQ(bytesText(999), "999 bytes");
  EXPECT_EQ(bytesText(24'150'000'000), "24.1 GB");
  EXPECT_EQ(bytesText(1000), "1.0 kB");
}

} // namespace
