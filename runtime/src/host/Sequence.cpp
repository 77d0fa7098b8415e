//===- Sequence.cpp - sequences and optionals -----------------------------===//
//
// SequenceEmpty/Construct/At/Erase/Insert/Length, SplitToSequence, ConcatFromSequence, Optional*. Items are shared by
// reference count; only the list is copied.
//
//===----------------------------------------------------------------------===//

#include "HostContext.h"

#include <algorithm>

namespace flame::rt {

namespace {

DType dtypeAttribute(HostContext &c, const char *name, DType fallback) {
  const int64_t value = c.attrInt(name, fallback);
  if (!isKnown(static_cast<int>(std::clamp<int64_t>(value, -1, 1000))))
    c.fail("attribute ", name, " = ", value, " is not an element type");
  return static_cast<DType>(value);
}

void sequenceEmpty(HostContext &c) { c.setOutput(0, Value::sequence(dtypeAttribute(c, "dtype", FLAME_F32), {})); }

void sequenceConstruct(HostContext &c) {
  std::vector<Value> items;
  for (size_t i = 0; i < c.inputCount(); ++i) {
    const Tensor &t = c.tensor(i);
    if (i && t.dtype != items[0].tensor.dtype)
      c.fail(c.describeInput(i), " differs in element type from ", c.describeInput(0));
    items.push_back(c.input(i));
  }
  const DType dtype = items.empty() ? dtypeAttribute(c, "dtype", FLAME_F32) : items[0].tensor.dtype;
  c.setOutput(0, Value::sequence(dtype, std::move(items)));
}

/// A position in a sequence; `end`: the position behind the last item is one, too.
size_t position(HostContext &c, size_t input, const Value &sequence, bool end) {
  const int64_t length = sequence.length(), given = c.intScalar(input);
  const int64_t at = given < 0 ? given + length : given;
  if (at < 0 || at > length || (at == length && !end))
    c.fail("position ", given, " is out of range for a sequence of length ", length);
  return at;
}

void sequenceAt(HostContext &c) {
  const Value &sequence = c.sequence(0);
  c.setOutput(0, sequence.items()[position(c, 1, sequence, false)]);
}

void sequenceErase(HostContext &c) {
  const Value &sequence = c.sequence(0);
  std::vector<Value> items = sequence.items();
  if (items.empty())
    c.fail("the sequence is empty");
  items.erase(items.begin() + (c.has(1) ? position(c, 1, sequence, false) : items.size() - 1));
  c.setOutput(0, Value::sequence(sequence.tensor.dtype, std::move(items)));
}

void sequenceInsert(HostContext &c) {
  const Value &sequence = c.sequence(0);
  const Tensor &item = c.tensor(1);
  std::vector<Value> items = sequence.items();
  if (!items.empty() && item.dtype != sequence.tensor.dtype)
    c.fail(c.describeInput(1), " does not fit a ", sequence.describe());
  items.insert(items.begin() + (c.has(2) ? position(c, 2, sequence, true) : items.size()), c.input(1));
  c.setOutput(0, Value::sequence(item.dtype, std::move(items)));
}

void sequenceLength(HostContext &c) {
  Tensor out = c.makeTensor(FLAME_I64, {});
  *out.as<int64_t>() = c.sequence(0).length();
  c.setOutput(0, std::move(out));
}

/// Copies `count` slices along `axis`, from index `from` of `source` to index `to` of `target`.
void copySlices(const Tensor &source, int64_t from, const Tensor &target, int64_t to, int64_t count, int axis) {
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < source.rank(); ++d) {
    if (d < axis)
      outer *= source.dims[d];
    else if (d > axis)
      inner *= source.dims[d];
  }
  const int64_t sourceRow = source.dims[axis] * inner, targetRow = target.dims[axis] * inner;
  for (int64_t o = 0; o < outer; ++o)
    copyElements(source, o * sourceRow + from * inner, target, o * targetRow + to * inner, count * inner);
}

void splitToSequence(HostContext &c) {
  const Tensor &input = c.tensor(0);
  const int axis = c.axis(input.rank(), 0);
  const int64_t length = input.dims[axis];
  std::vector<int64_t> parts;
  bool keep = true;
  if (c.has(1)) {
    const Tensor &split = c.tensor(1);
    if (!isInteger(split.dtype) || split.rank() > 1)
      c.fail(c.describeInput(1), " is not an integer scalar or vector");
    if (split.rank() == 0) {
      const int64_t size = readInteger(split, 0);
      if (size <= 0)
        c.fail("the split size ", size, " is not positive");
      for (int64_t at = 0; at < length; at += size)
        parts.push_back(std::min(size, length - at));
    } else {
      int64_t sum = 0;
      for (int64_t i = 0; i < split.elements(); ++i) {
        parts.push_back(readInteger(split, i));
        if (parts.back() < 0 || parts.back() > length - sum)
          c.fail("the split sizes exceed the length ", length, " of axis ", axis);
        sum += parts.back();
      }
      if (sum != length)
        c.fail("the split sizes add up to ", sum, ", axis ", axis, " has length ", length);
    }
  } else {
    parts.assign(length, 1);
    keep = c.attrInt("keepdims", 1) != 0;
  }
  std::vector<Value> items;
  int64_t at = 0;
  for (int64_t part : parts) {
    Dims dims = input.dims;
    dims[axis] = part;
    Tensor item = c.makeTensor(input.dtype, dims);
    copySlices(input, at, item, 0, part, axis);
    at += part;
    if (!keep)
      item.dims.erase(axis);
    items.push_back(Value::of(std::move(item)));
  }
  c.setOutput(0, Value::sequence(input.dtype, std::move(items)));
}

void concatFromSequence(HostContext &c) {
  const Value &sequence = c.sequence(0);
  const auto &items = sequence.items();
  if (items.empty())
    c.fail("the sequence is empty");
  const bool newAxis = c.attrInt("new_axis", 0) != 0;
  Dims dims = items[0].tensor.dims;
  const int axis = c.axis(dims.rank() + newAxis, 0);
  int64_t length = 0;
  for (const Value &item : items) {
    const Tensor &t = item.tensor;
    bool fits = t.dtype == items[0].tensor.dtype && t.dims.size() == dims.size();
    for (int d = 0; fits && d < dims.rank(); ++d)
      fits = t.dims[d] == dims[d] || (!newAxis && d == axis);
    if (!fits)
      c.fail("items ", items[0].describe(), " and ", item.describe(), " cannot be joined along axis ", axis);
    if (__builtin_add_overflow(length, newAxis ? 1 : t.dims[axis], &length))
      c.fail("the result is too large");
  }
  if (newAxis)
    dims.insert(axis, length);
  else
    dims[axis] = length;
  Tensor out = c.makeTensor(items[0].tensor.dtype, dims);
  int64_t at = 0;
  for (const Value &item : items) {
    Tensor part = item.tensor;
    if (newAxis)
      part.dims.insert(axis, 1);
    copySlices(part, 0, out, at, part.dims[axis], axis);
    at += part.dims[axis];
  }
  c.setOutput(0, std::move(out));
}

// ---- optionals

void optionalConstruct(HostContext &c) {
  const bool content = c.has(0);
  const DType dtype = content ? c.input(0).tensor.dtype : dtypeAttribute(c, "dtype", FLAME_F32);
  if (content && c.input(0).kind == FLAME_OPTIONAL)
    c.fail(c.describeInput(0), " is an optional already");
  c.setOutput(0, Value::optional(dtype, content ? &c.input(0) : nullptr));
}

void optionalGetElement(HostContext &c) {
  const Value &value = c.input(0);
  // Since opset 18 a tensor or sequence passes through.
  if (value.kind != FLAME_OPTIONAL)
    return c.setOutput(0, value);
  if (value.length() == 0)
    c.fail("the optional is empty");
  c.setOutput(0, value.items()[0]);
}

void optionalHasElement(HostContext &c) {
  Tensor out = c.makeTensor(FLAME_BOOL, {});
  *out.as<uint8_t>() = c.has(0) && (c.input(0).kind != FLAME_OPTIONAL || c.input(0).length() > 0);
  c.setOutput(0, std::move(out));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(Sequence,
    {"sequence_empty", sequenceEmpty},
    {"sequence_construct", sequenceConstruct},
    {"sequence_at", sequenceAt},
    {"sequence_erase", sequenceErase},
    {"sequence_insert", sequenceInsert},
    {"sequence_length", sequenceLength},
    {"split_to_sequence", splitToSequence},
    {"concat_from_sequence", concatFromSequence},
    {"optional_construct", optionalConstruct},
    {"optional_get_element", optionalGetElement},
    {"optional_has_element", optionalHasElement})
// clang-format on

} // namespace flame::rt
