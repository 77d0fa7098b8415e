//===- Value.cpp - see Value.h --------------------------------------------===//

#include "Value.h"

#include <algorithm>
#include <cstring>

namespace flame::rt {

const char *dtypeName(DType dtype) {
  static const char *const names[kDTypeCount] = {
      "undefined",  "f32",    "u8",         "i8",  "u16", "i16",      "i32",       "i64",  "string",
      "bool",       "f16",    "f64",        "u32", "u64", "c64",      "c128",      "bf16", "f8E4M3FN",
      "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ", "u4",  "i4",  "f4E2M1FN", "f8E8M0FNU", "u2",   "i2"};
  return isKnown(dtype) ? names[dtype] : "undefined";
}

void Dims::insert(int at, int64_t dim) {
  push_back(0);
  for (int i = count - 1; i > at; --i)
    values[i] = values[i - 1];
  values[at] = dim;
}

void Dims::erase(int at) {
  for (int i = at; i + 1 < count; ++i)
    values[i] = values[i + 1];
  --count;
}

std::optional<int64_t> countElements(const Dims &dims) {
  int64_t n = 1;
  bool empty = false;
  for (int64_t d : dims) {
    if (d < 0)
      return std::nullopt;
    empty |= d == 0;
  }
  if (empty)
    return 0;
  for (int64_t d : dims)
    if (__builtin_mul_overflow(n, d, &n))
      return std::nullopt;
  return n;
}

std::optional<size_t> countBytes(DType dtype, const Dims &dims) {
  auto n = countElements(dims);
  size_t bytes;
  if (!n || __builtin_mul_overflow(static_cast<size_t>(*n), elementSize(dtype), &bytes) || bytes > SIZE_MAX / 4)
    return std::nullopt;
  return bytes;
}

Value Value::of(Tensor tensor) {
  Value value;
  value.set = true;
  value.tensor = std::move(tensor);
  return value;
}

Value Value::sequence(DType dtype, std::vector<Value> items) {
  Value value;
  value.kind = FLAME_SEQUENCE;
  value.set = true;
  value.tensor.dtype = dtype;
  value.list = makeRef<List>();
  value.list->items = std::move(items);
  return value;
}

Value Value::optional(DType dtype, const Value *content) {
  Value value;
  value.kind = FLAME_OPTIONAL;
  value.set = true;
  value.tensor.dtype = dtype;
  value.list = makeRef<List>();
  if (content)
    value.list->items.push_back(*content);
  return value;
}

const std::vector<Value> &Value::items() const {
  static const std::vector<Value> none;
  return list ? list->items : none;
}

std::string describeTensor(DType dtype, const Dims &dims) { return dtypeName(dtype) + dims.str(); }

std::string Value::describe() const {
  if (!set)
    return "no value";
  switch (kind) {
  case FLAME_TENSOR:
    return describeTensor(tensor.dtype, tensor.dims);
  case FLAME_SEQUENCE:
    return cat("sequence of ", length(), " ", dtypeName(tensor.dtype), length() == 1 ? " tensor" : " tensors");
  case FLAME_OPTIONAL:
    return length() ? "optional " + items()[0].describe() : "empty optional";
  }
  return "unknown value";
}

Tensor makeTensor(const Ref<Allocator> &allocator, DType dtype, const Dims &dims) {
  auto bytes = countBytes(dtype, dims);
  if (!bytes)
    fail(FLAME_INVALID_ARGUMENT, "a tensor ", describeTensor(dtype, dims), " is impossible: its size overflows");
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.dims = dims;
  tensor.bytes = *bytes;
  tensor.buffer =
      dtype == FLAME_STRING ? allocateStrings(allocator, tensor.elements()) : allocateBuffer(allocator, *bytes);
  tensor.data = tensor.buffer->data;
  tensor.device = allocator->device();
  return tensor;
}

void copyElements(const Tensor &from, int64_t fromIndex, const Tensor &to, int64_t toIndex, int64_t count) {
  if (count == 0)
    return;
  if (from.isString()) {
    std::copy_n(from.strings() + fromIndex, count, to.strings() + toIndex);
    return;
  }
  const size_t size = elementSize(from.dtype);
  std::memcpy(to.as<char>() + toIndex * size, from.as<char>() + fromIndex * size, count * size);
}

void copyElements(const Tensor &from, const Tensor &to) { copyElements(from, 0, to, 0, from.elements()); }

Tensor copyTensor(const Ref<Allocator> &allocator, const Tensor &tensor) {
  Tensor copy = makeTensor(allocator, tensor.dtype, tensor.dims);
  copyElements(tensor, copy);
  return copy;
}

} // namespace flame::rt
