//===- Select.cpp - NonZero, Compress, Unique, TopK -----------------------===//

#include "Elements.h"
#include "HostContext.h"

#include <algorithm>
#include <numeric>

namespace flame::rt {

namespace {

template <typename T> bool isZero(const T &value) {
  if constexpr (std::is_same_v<T, std::string>)
    return value.empty();
  else
    return value == T(0);
}

void nonzero(HostContext &c) {
  const Tensor &x = c.tensor(0);
  visitElements(x, [&](auto elements) {
    const int64_t total = x.elements();
    int64_t count = 0;
    for (int64_t i = 0; i < total; ++i)
      count += !isZero(elements.get(i));
    Tensor out = c.makeTensor(FLAME_I64, {x.rank(), count});
    auto *rows = out.template as<int64_t>();
    Dims index = x.dims;
    std::fill(index.begin(), index.end(), 0);
    int64_t column = 0;
    for (int64_t i = 0; i < total; ++i) {
      if (!isZero(elements.get(i))) {
        for (int d = 0; d < x.rank(); ++d)
          rows[d * count + column] = index[d];
        ++column;
      }
      for (int d = x.rank() - 1; d >= 0 && ++index[d] == x.dims[d]; --d)
        index[d] = 0;
    }
    c.setOutput(0, std::move(out));
  });
}

struct AxisView {
  int64_t outer = 1, length = 1, inner = 1;
  AxisView(const Dims &dims, int axis) : length(dims[axis]) {
    for (int d = 0; d < dims.rank(); ++d) {
      if (d < axis)
        outer *= dims[d];
      else if (d > axis)
        inner *= dims[d];
    }
  }
};

/// Slices `picks` along `axis`.
Tensor takeSlices(HostContext &c, const Tensor &x, int axis, const std::vector<int64_t> &picks) {
  const AxisView view(x.dims, axis);
  Dims dims = x.dims;
  dims[axis] = picks.size();
  Tensor out = c.makeTensor(x.dtype, dims);
  for (int64_t o = 0, to = 0; o < view.outer; ++o)
    for (int64_t pick : picks) {
      copyElements(x, (o * view.length + pick) * view.inner, out, to, view.inner);
      to += view.inner;
    }
  return out;
}

Tensor flattened(const Tensor &x) {
  Tensor flat = x;
  flat.dims = {x.elements()};
  return flat;
}

void compress(HostContext &c) {
  const bool hasAxis = c.attribute("axis") != nullptr;
  const Tensor x = hasAxis ? c.tensor(0) : flattened(c.tensor(0));
  const int axis = hasAxis ? c.axis(x.rank(), 0) : 0;
  const Tensor &condition = c.tensor(1);
  if (condition.dtype != FLAME_BOOL || condition.rank() != 1)
    c.fail(c.describeInput(1), " is not a vector of bools");
  std::vector<int64_t> picks;
  for (int64_t i = 0; i < condition.elements(); ++i) {
    if (!condition.as<uint8_t>()[i])
      continue;
    if (i >= x.dims[axis])
      c.fail("the condition selects element ", i, " of an axis of length ", x.dims[axis]);
    picks.push_back(i);
  }
  c.setOutput(0, takeSlices(c, x, axis, picks));
}

Tensor vectorOf(HostContext &c, const std::vector<int64_t> &values) {
  Tensor out = c.makeTensor(FLAME_I64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), out.as<int64_t>());
  return out;
}

void unique(HostContext &c) {
  const bool hasAxis = c.attribute("axis") != nullptr;
  const bool sorted = c.attrInt("sorted", 1) != 0;
  const Tensor x = hasAxis ? c.tensor(0) : flattened(c.tensor(0));
  const int axis = hasAxis ? c.axis(x.rank(), 0) : 0;
  const AxisView view(x.dims, axis);

  std::vector<int64_t> order(view.length), first, inverse(view.length), counts;
  std::iota(order.begin(), order.end(), 0);
  visitElements(x, [&](auto elements) {
    // Slices compare lexicographically, in the order of their elements in memory.
    auto compareSlices = [&](int64_t a, int64_t b) {
      for (int64_t o = 0; o < view.outer; ++o)
        for (int64_t i = 0; i < view.inner; ++i) {
          const auto &left = elements.get((o * view.length + a) * view.inner + i);
          const auto &right = elements.get((o * view.length + b) * view.inner + i);
          if (precedes(left, right))
            return -1;
          if (precedes(right, left))
            return 1;
        }
      return 0;
    };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return compareSlices(a, b) < 0; });
    for (size_t i = 0; i < order.size(); ++i) {
      if (i == 0 || compareSlices(order[i - 1], order[i]) != 0) {
        first.push_back(order[i]);
        counts.push_back(0);
      }
      inverse[order[i]] = first.size() - 1;
      ++counts.back();
    }
  });
  if (!sorted) {
    // In the order of first occurrence.
    std::vector<int64_t> rank(first.size()), position(first.size());
    std::iota(rank.begin(), rank.end(), 0);
    std::sort(rank.begin(), rank.end(), [&](int64_t a, int64_t b) { return first[a] < first[b]; });
    std::vector<int64_t> newFirst, newCounts;
    for (size_t i = 0; i < rank.size(); ++i) {
      position[rank[i]] = i;
      newFirst.push_back(first[rank[i]]);
      newCounts.push_back(counts[rank[i]]);
    }
    for (int64_t &index : inverse)
      index = position[index];
    first = std::move(newFirst);
    counts = std::move(newCounts);
  }
  c.setOutput(0, takeSlices(c, x, axis, first));
  if (c.wants(1))
    c.setOutput(1, vectorOf(c, first));
  if (c.wants(2))
    c.setOutput(2, vectorOf(c, inverse));
  if (c.wants(3))
    c.setOutput(3, vectorOf(c, counts));
}

void topk(HostContext &c) {
  const Tensor &x = c.tensor(0);
  const int axis = c.axis(x.rank(), -1);
  const bool largest = c.attrInt("largest", 1) != 0, sorted = c.attrInt("sorted", 1) != 0;
  const AxisView view(x.dims, axis);
  const int64_t k = c.has(1) ? c.intScalar(1) : c.attrInt("k", -1);
  if (k < 0 || k > view.length)
    c.fail("k = ", k, " is out of range for axis ", axis, " of length ", view.length);
  Dims dims = x.dims;
  dims[axis] = k;
  Tensor values = c.makeTensor(x.dtype, dims), indices = c.makeTensor(FLAME_I64, dims);
  std::vector<int64_t> order(view.length);
  visitElements(x, [&](auto elements) {
    for (int64_t o = 0; o < view.outer; ++o)
      for (int64_t i = 0; i < view.inner; ++i) {
        const int64_t base = o * view.length * view.inner + i;
        std::iota(order.begin(), order.end(), 0);
        // Of equal elements that of the lower index comes first.
        auto before = [&](int64_t a, int64_t b) {
          const auto &left = elements.get(base + a * view.inner);
          const auto &right = elements.get(base + b * view.inner);
          if (largest ? precedes(right, left) : precedes(left, right))
            return true;
          if (largest ? precedes(left, right) : precedes(right, left))
            return false;
          return a < b;
        };
        if (sorted)
          std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
        else if (k < view.length)
          std::nth_element(order.begin(), order.begin() + k, order.end(), before);
        for (int64_t j = 0; j < k; ++j) {
          const int64_t to = (o * k + j) * view.inner + i;
          copyElements(x, base + order[j] * view.inner, values, to, 1);
          indices.as<int64_t>()[to] = order[j];
        }
      }
  });
  c.setOutput(0, std::move(values));
  c.setOutput(1, std::move(indices));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(Select,
    {"nonzero", nonzero},
    {"compress", compress},
    {"unique", unique},
    {"topk", topk})
// clang-format on

} // namespace flame::rt
