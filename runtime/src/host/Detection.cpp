//===- Detection.cpp - NonMaxSuppression ----------------------------------===//

#include "HostContext.h"

#include <algorithm>
#include <array>

namespace flame::rt {

namespace {

struct Box {
  float y1, x1, y2, x2; // ordered corners
  float area() const { return (y2 - y1) * (x2 - x1); }
};

Box readBox(const float *values, bool centered) {
  if (centered) {
    const float halfWidth = values[2] / 2, halfHeight = values[3] / 2;
    return {values[1] - halfHeight, values[0] - halfWidth, values[1] + halfHeight, values[0] + halfWidth};
  }
  return {std::min(values[0], values[2]), std::min(values[1], values[3]), std::max(values[0], values[2]),
          std::max(values[1], values[3])};
}

bool overlapsTooMuch(const Box &a, const Box &b, float threshold) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (height <= 0 || width <= 0 || a.area() <= 0 || b.area() <= 0)
    return false;
  const float shared = height * width, together = a.area() + b.area() - shared;
  return together > 0 && shared / together > threshold;
}

void nonMaxSuppression(HostContext &c) {
  const Tensor &boxes = c.tensor(0), &scores = c.tensor(1);
  if (boxes.dtype != FLAME_F32 || scores.dtype != FLAME_F32 || boxes.rank() != 3 || scores.rank() != 3 ||
      boxes.dims[2] != 4 || boxes.dims[0] != scores.dims[0] || boxes.dims[1] != scores.dims[2])
    c.fail(c.describeInput(0), " and ", c.describeInput(1),
           " are not f32[batches,boxes,4] and f32[batches,classes,boxes]");
  const int64_t most = c.has(2) ? std::max<int64_t>(c.intScalar(2), 0) : 0;
  const float overlap = c.has(3) ? static_cast<float>(c.floatScalar(3)) : 0.0f;
  const bool hasThreshold = c.has(4);
  const float threshold = hasThreshold ? static_cast<float>(c.floatScalar(4)) : 0.0f;
  const bool centered = c.attrInt("center_point_box", 0) != 0;
  if (!(overlap >= 0 && overlap <= 1))
    c.fail("iou_threshold is not in [0, 1]");

  const int64_t batches = scores.dims[0], classes = scores.dims[1], count = scores.dims[2];
  std::vector<std::array<int64_t, 3>> selected;
  std::vector<int64_t> order;
  std::vector<Box> kept;
  for (int64_t batch = 0; batch < batches && most > 0; ++batch)
    for (int64_t cls = 0; cls < classes; ++cls) {
      const float *score = scores.as<float>() + (batch * classes + cls) * count;
      order.clear();
      for (int64_t i = 0; i < count; ++i)
        if (!hasThreshold ? score[i] == score[i] : score[i] > threshold)
          order.push_back(i);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score[a] > score[b]; });
      kept.clear();
      for (int64_t index : order) {
        if (static_cast<int64_t>(kept.size()) >= most)
          break;
        const Box box = readBox(boxes.as<float>() + (batch * count + index) * 4, centered);
        if (std::any_of(kept.begin(), kept.end(), [&](const Box &k) { return overlapsTooMuch(k, box, overlap); }))
          continue;
        kept.push_back(box);
        selected.push_back({batch, cls, index});
      }
    }
  Tensor out = c.makeTensor(FLAME_I64, {static_cast<int64_t>(selected.size()), 3});
  for (size_t i = 0; i < selected.size(); ++i)
    std::copy(selected[i].begin(), selected[i].end(), out.as<int64_t>() + 3 * i);
  c.setOutput(0, std::move(out));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(Detection,
    {"non_max_suppression", nonMaxSuppression})
// clang-format on

} // namespace flame::rt
