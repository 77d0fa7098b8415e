//===- AttentionReference.h - softmax(scores) v in double ----------------------------------------------------------===//
#pragma once
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

namespace flame {

/// What may go into every weight: `relative` to it; and, where they have few exponents, `absolute`, of the row's largest. As they are
/// independent of each other, all results together differ by no more than `typical`, relative in the norm; 0: that is not looked at.
struct Rounding {
  double relative, absolute = 0, typical = 0;
};

/// Compares got(row, column) with Σ softmax(score(row, ·)) value(·, column). A row none of whose keys is visible is NaN. gotLogSum(row) is that of
/// the scores.
template <typename Score, typename Value, typename Got, typename GotLogSum>
void expectAttention(int rows, int keys, int columns, Rounding rounding, Score score, Value value, Got got, GotLogSum gotLogSum) {
  double difference = 0, norm = 0;
  for (int i = 0; i < rows; ++i) {
    std::vector<double> weight(keys);
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < keys; ++j)
      most = std::max(most, weight[j] = score(i, j));
    for (double &w : weight)
      sum += w = std::exp(w - most);
    const double logSum = most == -INFINITY ? most : most + std::log(sum);
    if (most == -INFINITY)
      ASSERT_EQ(gotLogSum(i), logSum) << rows << "x" << keys << " at " << i;
    else
      ASSERT_NEAR(gotLogSum(i), logSum, 1e-5 + 2e-6 * std::fabs(logSum)) << rows << "x" << keys << " at " << i;
    for (int c = 0; c < columns; ++c) {
      double expected = 0, size = 0, all = 0;
      for (int j = 0; j < keys; ++j)
        expected += weight[j] / sum * value(j, c), size += weight[j] / sum * std::fabs(value(j, c)), all += std::fabs(value(j, c)) / sum;
      const double is = got(i, c);
      if (std::isnan(expected) || keys == 0)
        ASSERT_TRUE(std::isnan(is)) << i << ", " << c << ": " << is;
      else
        ASSERT_NEAR(is, expected, rounding.relative * size + rounding.absolute * all + 1e-6)
            << rows << "x" << keys << "x" << columns << " at " << i << ", " << c;
      if (is == is)
        difference += (is - expected) * (is - expected), norm += expected * expected;
    }
  }
  if (rounding.typical > 0)
    EXPECT_LE(std::sqrt(difference), rounding.typical * std::sqrt(norm)) << rows << "x" << keys << "x" << columns;
}

} // namespace flame
