//===- AttentionReference.h - softmax(scores) v in double ----------------------------------------------------------===//
#pragma once
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

namespace flame {

/// Compares got(row, column) with Σ softmax(score(row, ·)) value(·, column); `step`: a rounding of the type that was
/// multiplied, of which one may go into every weight. A row none of whose keys is visible is NaN.
template <typename Score, typename Value, typename Got>
void expectAttention(int rows, int keys, int columns, double step, Score score, Value value, Got got) {
  for (int i = 0; i < rows; ++i) {
    std::vector<double> weight(keys);
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < keys; ++j)
      most = std::max(most, weight[j] = score(i, j));
    for (double &w : weight)
      sum += w = std::exp(w - most);
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
