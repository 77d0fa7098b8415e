//===- AttentionReference.h - softmax(scores) v in double ----------------------------------------------------------===//
#pragma once
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

namespace flame {

/// Compares got(row, column) with Σ softmax(score(row, ·)) value(·, column); `step`: a rounding of the type that was
/// multiplied, of which one may go into every weight. A row none of whose keys is visible is NaN. gotLogSum(row) is that of the scores.
template <typename Score, typename Value, typename Got, typename GotLogSum>
void expectAttention(int rows, int keys, int columns, double step, Score score, Value value, Got got, GotLogSum gotLogSum) {
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
      double expected = 0, size = 0;
      for (int j = 0; j < keys; ++j)
        expected += weight[j] / sum * value(j, c), size += weight[j] / sum * std::fabs(value(j, c));
      const double is = got(i, c);
      if (std::isnan(expected) || keys == 0)
        ASSERT_TRUE(std::isnan(is)) << i << ", " << c << ": " << is;
      else
        ASSERT_NEAR(is, expected, step * size + 1e-6) << rows << "x" << keys << "x" << columns << " at " << i << ", " << c;
    }
  }
}

} // namespace flame
