//===- Take.cpp - elements at positions -----------------------------------===//

#include "Elements.h"
#include "HostContext.h"

#include <algorithm>
#include <vector>

namespace flame::rt {

namespace {

/// Input 0: positions (i64) in the elements of all other inputs in a row.
void takeElements(HostContext &c) {
  const Tensor &positions = c.tensor(0);
  if (positions.dtype != FLAME_I64)
    c.fail(c.describeInput(0), " must hold int64 positions");
  if (c.inputCount() < 2)
    c.fail("needs a tensor to take elements from");
  std::vector<int64_t> ends; // of each tensor in the row
  int64_t total = 0;
  for (size_t i = 1; i < c.inputCount(); ++i) {
    if (c.tensor(i).dtype != c.tensor(1).dtype)
      c.fail(c.describeInput(i), " and ", c.describeInput(1), " have different element types");
    ends.push_back(total += c.tensor(i).elements());
  }
  Tensor out = c.makeTensor(c.tensor(1).dtype, positions.dims);
  const auto *at = positions.as<int64_t>();
  for (int64_t i = 0, count = positions.elements(); i < count; ++i) {
    if (at[i] < 0 || at[i] >= total)
      c.fail("position ", at[i], " is out of range for ", total, " elements");
    const size_t k = std::upper_bound(ends.begin(), ends.end(), at[i]) - ends.begin();
    copyElements(c.tensor(k + 1), at[i] - (k ? ends[k - 1] : 0), out, i, 1);
  }
  c.setOutput(0, std::move(out));
}

/// Input 0: indices; input 1: the extents that they must keep to, in turn. A GPU has a kernel for it (OwnKernels.cu).
void checkIndices(HostContext &c) {
  const Tensor &indices = c.tensor(0), &extents = c.tensor(1);
  if ((indices.dtype != FLAME_I64 && indices.dtype != FLAME_I32) || extents.dtype != FLAME_I64)
    c.fail(c.describeInput(0), " and ", c.describeInput(1), " must hold integers");
  const int64_t count = indices.elements(), period = extents.elements();
  if (count > 0 && period == 0)
    c.fail("there are no extents");
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = readInteger(indices, i), extent = extents.as<int64_t>()[i % period];
    if (index < -extent || index >= extent)
      c.fail(badIndexText(index, i, c.describeInput(0), extent));
  }
  c.setOutput(0, c.input(0));
}

/// Input 0: ends of groups of rows; input 1: the rows. A GPU has a kernel for it, too.
void checkEnds(HostContext &c) {
  const Tensor &ends = c.tensor(0), &rows = c.tensor(1);
  if ((ends.dtype != FLAME_I64 && ends.dtype != FLAME_I32) || rows.dtype != FLAME_I64 || rows.elements() != 1)
    c.fail(c.describeInput(0), " and ", c.describeInput(1), " must hold integers, the second one a single one");
  const int64_t last = rows.as<int64_t>()[0];
  int64_t before = 0;
  for (int64_t i = 0, count = ends.elements(); i < count; ++i) {
    const int64_t end = readInteger(ends, i);
    if (end < before || end > last)
      c.fail(badEndText(end, i, c.describeInput(0), end < before ? before : last));
    before = end;
  }
  c.setOutput(0, c.input(0));
}

} // namespace

std::string badIndexText(int64_t index, int64_t element, const std::string &described, int64_t extent) {
  return cat("index ", index, " (element ", element, " of ", described, ") is out of range for a dimension of size ",
             extent);
}

std::string badEndText(int64_t end, int64_t element, const std::string &described, int64_t limit) {
  const std::string what = cat("end ", end, " (element ", element, " of ", described, ") ");
  if (end > limit)
    return cat(what, "lies behind the rows, of which there are ", limit);
  return element == 0 ? cat(what, "is negative") : cat(what, "is less than the one before, ", limit);
}

FLAME_HOST_FAMILY(Take, {"take_elements", takeElements}, {"check_indices", checkIndices}, {"check_ends", checkEnds})

} // namespace flame::rt
