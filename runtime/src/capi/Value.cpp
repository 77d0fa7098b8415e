//===- Value.cpp - values of the C interface ------------------------------===//

#include "../cuda/Transfer.h"
#include "Handles.h"

#include <cstring>

using namespace flame::rt;

namespace flame::rt {

Dims dimsArgument(const int64_t *dims, int32_t rank) {
  if (rank < 0 || rank > kMaxRank)
    fail(FLAME_INVALID_ARGUMENT, "the rank ", rank, " is not in [0, ", kMaxRank, "]");
  if (rank > 0)
    checkHandle(dims, "dims");
  return Dims(dims, rank);
}

} // namespace flame::rt

namespace {

DType dtypeArgument(flame_dtype dtype) {
  if (!isKnown(dtype))
    fail(FLAME_INVALID_ARGUMENT, "unknown element type ", static_cast<int>(dtype));
  return dtype;
}

size_t bytesArgument(DType dtype, const Dims &dims) {
  auto bytes = countBytes(dtype, dims);
  if (!bytes)
    fail(FLAME_INVALID_ARGUMENT, "a tensor ", describeTensor(dtype, dims),
         " is impossible: a dimension is negative or the size overflows");
  return *bytes;
}

const Tensor *asTensor(const flame_value *value) {
  return value && value->value.kind == FLAME_TENSOR ? &value->value.tensor : nullptr;
}

const Tensor &tensorArgument(const flame_value *value) {
  const Value &v = checkHandle(value, "tensor").value;
  if (v.kind != FLAME_TENSOR)
    fail(FLAME_INVALID_ARGUMENT, "the value is ", v.describe(), ", not a tensor");
  return v.tensor;
}

void give(flame_value **out, Value value) { *out = wrapValue(std::move(value)).detach(); }

} // namespace

void flame_value_retain(flame_value *value) {
  if (value)
    value->retain();
}
void flame_value_release(flame_value *value) {
  if (value)
    value->release();
}
flame_kind flame_value_kind(const flame_value *value) { return value ? value->value.kind : FLAME_TENSOR; }
flame_dtype flame_value_dtype(const flame_value *value) { return value ? value->value.tensor.dtype : FLAME_UNDEFINED; }

flame_status *flame_tensor_create(flame_module *module, flame_dtype dtype, const int64_t *dims, int32_t rank,
                                  flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    const Dims shape = dimsArgument(dims, rank);
    bytesArgument(dtypeArgument(dtype), shape);
    const Ref<Allocator> allocator = module ? unwrap(module)->allocator() : Allocator::shared();
    give(value, Value::of(makeTensor(allocator, dtype, shape)));
  });
}

static flame_status *wrapMemory(flame_dtype dtype, const int64_t *dims, int32_t rank, int32_t device, void *data,
                                size_t bytes, void (*release)(void *user), void *user, flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    Tensor tensor;
    tensor.dtype = dtypeArgument(dtype);
    tensor.dims = dimsArgument(dims, rank);
    if (dtype == FLAME_STRING)
      fail(FLAME_INVALID_ARGUMENT, "strings cannot be wrapped; use flame_tensor_from_strings");
    tensor.bytes = bytesArgument(dtype, tensor.dims);
    if (bytes < tensor.bytes)
      fail(FLAME_INVALID_ARGUMENT, "a tensor ", describeTensor(dtype, tensor.dims), " needs ", tensor.bytes, " bytes; ",
           bytes, " were given");
    if (tensor.bytes)
      checkHandle(static_cast<char *>(data), "data");
    if (device != kHost && tensor.bytes)
      cuda::checkMemory(device, data);
    tensor.device = static_cast<int16_t>(device);
    auto handle = wrapValue(Value());
    tensor.data = data;
    tensor.buffer = wrapBuffer(data, bytes, release, user); // from here on nothing fails: release runs once
    handle->value = Value::of(std::move(tensor));
    *value = handle.detach();
  });
}

flame_status *flame_tensor_wrap(flame_dtype dtype, const int64_t *dims, int32_t rank, void *data, size_t bytes,
                                void (*release)(void *user), void *user, flame_value **value) {
  return wrapMemory(dtype, dims, rank, kHost, data, bytes, release, user, value);
}

flame_status *flame_tensor_wrap_device(flame_dtype dtype, const int64_t *dims, int32_t rank, int32_t device, void *data,
                                       size_t bytes, void (*release)(void *user), void *user, flame_value **value) {
  if (device < 0 || device > INT16_MAX)
    return guard([&] { fail(FLAME_INVALID_ARGUMENT, "the GPU's number is ", device, "; GPUs are counted from 0"); });
  return wrapMemory(dtype, dims, rank, device, data, bytes, release, user, value);
}

flame_status *flame_tensor_from_strings(const int64_t *dims, int32_t rank, const char *const *strings,
                                        const size_t *lengths, flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    const Dims shape = dimsArgument(dims, rank);
    bytesArgument(FLAME_STRING, shape);
    Tensor tensor = makeTensor(Allocator::shared(), FLAME_STRING, shape);
    const int64_t count = tensor.elements();
    if (count)
      checkHandle(strings, "strings");
    for (int64_t i = 0; i < count; ++i) {
      checkHandle(strings[i], "a string");
      tensor.strings()[i].assign(strings[i], lengths ? lengths[i] : std::strlen(strings[i]));
    }
    give(value, Value::of(std::move(tensor)));
  });
}

flame_status *flame_tensor_copy(const flame_value *tensor, flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    const Tensor &t = tensorArgument(tensor);
    Tensor copy = makeTensor(Allocator::shared(), t.dtype, t.dims);
    if (t.onHost())
      copyElements(t, copy);
    else
      cuda::copy(copy.data, kHost, t.data, t.device, t.bytes);
    if (t.buffer)
      t.buffer->verify();
    give(value, Value::of(std::move(copy)));
  });
}

int32_t flame_tensor_device(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t ? t->device : kHost;
}

int32_t flame_tensor_rank(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t ? t->rank() : 0;
}
const int64_t *flame_tensor_dims(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t ? t->dims.data() : nullptr;
}
size_t flame_tensor_elements(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t ? static_cast<size_t>(t->elements()) : 0;
}
size_t flame_tensor_bytes(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t && !t->isString() ? t->bytes : 0;
}
void *flame_tensor_data(const flame_value *tensor) {
  const Tensor *t = asTensor(tensor);
  return t && !t->isString() ? t->data : nullptr;
}

flame_status *flame_tensor_string(const flame_value *tensor, size_t index, const char **string, size_t *length) {
  return guard([&] {
    const Tensor &t = tensorArgument(tensor);
    checkHandle(string, "string");
    if (!t.isString())
      fail(FLAME_INVALID_ARGUMENT, "the tensor is ", describeTensor(t.dtype, t.dims), ", not of strings");
    if (index >= static_cast<size_t>(t.elements()))
      fail(FLAME_INVALID_ARGUMENT, "element ", index, " of ", t.elements(), " does not exist");
    *string = t.strings()[index].c_str();
    if (length)
      *length = t.strings()[index].size();
  });
}

flame_status *flame_sequence_create(flame_dtype dtype, flame_value *const *items, size_t count, flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    dtypeArgument(dtype);
    if (count)
      checkHandle(items, "items");
    std::vector<Value> list;
    for (size_t i = 0; i < count; ++i) {
      const Value &item = checkHandle(items[i], "an item").value;
      if (item.kind != FLAME_TENSOR || item.tensor.dtype != dtype)
        fail(FLAME_INVALID_ARGUMENT, "item ", i, " is ", item.describe(), ", the sequence is of ", dtypeName(dtype),
             " tensors");
      list.push_back(item);
    }
    give(value, Value::sequence(dtype, std::move(list)));
  });
}

size_t flame_sequence_length(const flame_value *sequence) {
  return sequence && sequence->value.kind == FLAME_SEQUENCE ? sequence->value.length() : 0;
}

flame_status *flame_sequence_at(const flame_value *sequence, size_t index, flame_value **item) {
  return guard([&] {
    const Value &v = checkHandle(sequence, "sequence").value;
    checkHandle(item, "item");
    if (v.kind != FLAME_SEQUENCE || index >= v.length())
      fail(FLAME_INVALID_ARGUMENT, "item ", index, " of ", v.describe(), " does not exist");
    give(item, v.items()[index]);
  });
}

flame_status *flame_optional_create(flame_value *content, flame_value **value) {
  return guard([&] {
    checkHandle(value, "value");
    if (content && content->value.kind == FLAME_OPTIONAL)
      fail(FLAME_INVALID_ARGUMENT, "an optional cannot hold an optional");
    give(value, Value::optional(flame_value_dtype(content), content ? &content->value : nullptr));
  });
}

int flame_optional_has(const flame_value *optional) {
  return optional && optional->value.kind == FLAME_OPTIONAL && optional->value.length() > 0;
}

flame_status *flame_optional_get(const flame_value *optional, flame_value **content) {
  return guard([&] {
    checkHandle(optional, "optional");
    checkHandle(content, "content");
    if (!flame_optional_has(optional))
      fail(FLAME_INVALID_ARGUMENT, "the value is ", optional->value.describe(), "; there is no content");
    give(content, optional->value.items()[0]);
  });
}
