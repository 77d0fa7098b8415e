//===- Broadcast.cpp - NumPy's broadcasting, for host functions -----------===//

#include "Elements.h"

#include <algorithm>

namespace flame::rt {

std::optional<Dims> broadcastDims(std::span<const Dims *const> shapes) {
  int rank = 0;
  for (const Dims *dims : shapes)
    rank = std::max(rank, dims->rank());
  Dims out;
  for (int d = 0; d < rank; ++d) {
    int64_t size = 1;
    for (const Dims *dims : shapes) {
      const int at = d - (rank - dims->rank());
      if (at < 0 || (*dims)[at] == 1)
        continue;
      if (size != 1 && size != (*dims)[at])
        return std::nullopt;
      size = (*dims)[at];
    }
    out.push_back(size);
  }
  return out;
}

BroadcastIndex::BroadcastIndex(const Dims &operand, const Dims &result) : result(result) {
  const int lead = result.rank() - operand.rank();
  int64_t stride = 1;
  for (int d = 0; d < result.rank(); ++d) {
    index.push_back(0);
    strides.push_back(0);
  }
  for (int d = result.rank() - 1; d >= lead; --d) {
    if (operand[d - lead] != 1)
      strides[d] = stride;
    stride *= operand[d - lead];
  }
}

int64_t BroadcastIndex::next() {
  const int64_t at = offset;
  for (int d = result.rank() - 1; d >= 0; --d) {
    offset += strides[d];
    if (++index[d] < result[d])
      break;
    offset -= strides[d] * result[d];
    index[d] = 0;
  }
  return at;
}

} // namespace flame::rt
