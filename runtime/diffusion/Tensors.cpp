//===- Tensors.cpp - see Tensors.h -----------------------------------------===//

#include "Tensors.h"

#include "Elements.h"

#include <algorithm>

namespace flame::diffusion {

std::vector<int64_t> shapeOf(std::initializer_list<size_t> dims) { return {dims.begin(), dims.end()}; }

Value converted(const Value &value, flame_dtype type) {
  if (value.dtype() == type)
    return value;
  Value out = Value::tensor(type, value.dims());
  withFloatType(value.dtype(), [&]<typename From>(From) {
    withFloatType(type, [&]<typename To>(To) {
      const auto *from = static_cast<const typename From::Storage *>(value.data());
      auto *to = static_cast<typename To::Storage *>(out.data());
      for (size_t i = 0, n = value.elements(); i < n; ++i)
        to[i] = To::store(From::load(from[i]));
    });
  });
  return out;
}

Value filled(flame_dtype type, const std::vector<int64_t> &dims, float x) {
  Value out = Value::tensor(type, dims);
  withFloatType(type, [&]<typename Type>(Type) {
    auto *to = static_cast<typename Type::Storage *>(out.data());
    std::fill_n(to, out.elements(), Type::store(x));
  });
  return out;
}

float roundedTo(flame_dtype type, float x) {
  withFloatType(type, [&]<typename Type>(Type) { x = rounded<Type>(x); });
  return x;
}

Value stacked(const std::vector<Value> &values) {
  std::vector<int64_t> dims(values[0].dims().begin(), values[0].dims().end());
  dims[0] = static_cast<int64_t>(values.size());
  Value out = Value::tensor(values[0].dtype(), dims);
  auto *to = static_cast<char *>(out.data());
  for (const Value &value : values) {
    std::memcpy(to, value.data(), value.bytes());
    to += value.bytes();
  }
  return out;
}

Value viewOf(const Value &value, size_t first, const std::vector<int64_t> &dims) {
  size_t bytes = flame_dtype_size(value.dtype());
  char *data = static_cast<char *>(value.data()) + first * bytes;
  for (const int64_t dim : dims)
    bytes *= static_cast<size_t>(dim);
  auto owner = std::make_unique<Value>(value);
  const auto release = [](void *user) { delete static_cast<Value *>(user); };
  const auto rank = static_cast<int32_t>(dims.size());
  flame_value *out = nullptr;
  check(value.device() < 0
            ? flame_tensor_wrap(value.dtype(), dims.data(), rank, data, bytes, release, owner.get(), &out)
            : flame_tensor_wrap_device(value.dtype(), dims.data(), rank, value.device(), data, bytes, release,
                                       owner.get(), &out));
  owner.release();
  return Value::adopt(out);
}

} // namespace flame::diffusion
