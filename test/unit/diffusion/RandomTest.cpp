//===- RandomTest.cpp - random numbers by heart ----------------------------===//

#include "Random.h"

#include <cmath>
#include <gtest/gtest.h>
#include <vector>

using namespace flame::diffusion;

namespace {

/// The known answers that the authors of Philox published with it.
TEST(Random, PhiloxKnownAnswers) {
  const auto check = [](uint64_t key, uint64_t low, uint64_t high, std::vector<uint32_t> expected) {
    const PhiloxBlock b = philox(key, low, high);
    EXPECT_EQ((std::vector<uint32_t>{b.x, b.y, b.z, b.w}), expected);
  };
  check(0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

/// What torch.manual_seed(…); torch.randn(…) prints everywhere: four digits.
TEST(Random, TorchByHeart) {
  const auto check = [](uint64_t seed, size_t count, std::vector<double> expected) {
    std::vector<float> numbers(count);
    CpuGenerator(seed).normal(FLAME_F32, numbers.data(), count);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(numbers[i], expected[i], 5.1e-5) << seed << " " << i;
  };
  check(0, 5, {1.5410, -0.2934, -2.1788, 0.5684, -1.0845});
  check(0, 16, {-1.1258, -1.1524, -0.2506, -0.4339, 0.8487, 0.6920, -0.3160, -2.1152});
  check(42, 3, {0.3367, 0.1288, 0.2345});
  check(42, 64, {1.9269, 1.4873, 0.9007, -2.1055, 0.6784, -1.2345, -0.0431, -1.6047});
}

/// Seeds are 64 bits for Philox and 32 for mt19937, as in torch.
TEST(Random, Seeds) {
  const auto first = [](auto generator) {
    float x;
    generator.normal(FLAME_F32, &x, 1);
    return x;
  };
  EXPECT_EQ(first(CpuGenerator(1)), first(CpuGenerator((uint64_t{1} << 32) + 1)));
  EXPECT_NE(first(CudaGenerator(1, GpuGrid())), first(CudaGenerator((uint64_t{1} << 32) + 1, GpuGrid())));
}

/// Draws of a launch depend on the number of threads that a GPU holds, where there are more elements than threads.
TEST(Random, SmallerGpu) {
  std::vector<float> large(1000), small(1000);
  CudaGenerator(3, GpuGrid()).normal(FLAME_F32, large.data(), large.size());
  CudaGenerator(3, GpuGrid{1, 512}).normal(FLAME_F32, small.data(), small.size());
  EXPECT_TRUE(std::equal(large.begin(), large.begin() + 512, small.begin()));
  EXPECT_NE(large[512], small[512]);
}

} // namespace
