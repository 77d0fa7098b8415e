//===- Elements.h - typed access to tensors in host functions -------------===//
//
// `visitElements(tensor, f)` calls f with an accessor whose get(i) gives an element as a comparable C++ value: integers
// and bools as themselves, f32 and f64 as themselves, narrower floats as float, complex numbers, strings by reference.
// `precedes` and `same` order these values totally: NaN comes last and equals NaN.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_HOST_ELEMENTS_H
#define FLAME_RUNTIME_HOST_ELEMENTS_H

#include "../SmallFloat.h"
#include "../Value.h"

#include <cmath>
#include <complex>
#include <type_traits>

namespace flame::rt {

template <typename T> struct PlainElements {
  const T *data;
  T get(int64_t i) const { return data[i]; }
};

struct StringElements {
  const std::string *data;
  const std::string &get(int64_t i) const { return data[i]; }
};

template <typename T> struct NarrowElements {
  const T *data;
  DType dtype;
  float get(int64_t i) const { return narrowToFloat(dtype, data + i); }
};

template <typename F> decltype(auto) visitElements(const Tensor &t, F &&f) {
  switch (t.dtype) {
  case FLAME_F32:
    return f(PlainElements<float>{t.as<float>()});
  case FLAME_F64:
    return f(PlainElements<double>{t.as<double>()});
  case FLAME_I64:
    return f(PlainElements<int64_t>{t.as<int64_t>()});
  case FLAME_U64:
    return f(PlainElements<uint64_t>{t.as<uint64_t>()});
  case FLAME_I32:
    return f(PlainElements<int32_t>{t.as<int32_t>()});
  case FLAME_U32:
    return f(PlainElements<uint32_t>{t.as<uint32_t>()});
  case FLAME_I16:
    return f(PlainElements<int16_t>{t.as<int16_t>()});
  case FLAME_U16:
    return f(PlainElements<uint16_t>{t.as<uint16_t>()});
  case FLAME_I8:
  case FLAME_I4:
  case FLAME_I2:
    return f(PlainElements<int8_t>{t.as<int8_t>()});
  case FLAME_C64:
    return f(PlainElements<std::complex<float>>{t.as<std::complex<float>>()});
  case FLAME_C128:
    return f(PlainElements<std::complex<double>>{t.as<std::complex<double>>()});
  case FLAME_STRING:
    return f(StringElements{t.strings()});
  case FLAME_F16:
  case FLAME_BF16:
    return f(NarrowElements<uint16_t>{t.as<uint16_t>(), t.dtype});
  default:
    if (isNarrowFloat(t.dtype))
      return f(NarrowElements<uint8_t>{t.as<uint8_t>(), t.dtype});
    return f(PlainElements<uint8_t>{t.as<uint8_t>()});
  }
}

template <typename T> bool precedes(const T &a, const T &b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(b) ? !std::isnan(a) : a < b;
  else
    return a < b;
}
template <typename T> bool precedes(const std::complex<T> &a, const std::complex<T> &b) {
  return precedes(a.real(), b.real()) || (!precedes(b.real(), a.real()) && precedes(a.imag(), b.imag()));
}

template <typename T> bool same(const T &a, const T &b) {
  if constexpr (std::is_floating_point_v<T>)
    return a == b || (std::isnan(a) && std::isnan(b));
  else
    return a == b;
}
template <typename T> bool same(const std::complex<T> &a, const std::complex<T> &b) {
  return same(a.real(), b.real()) && same(a.imag(), b.imag());
}

/// The shape that two or more shapes broadcast to; nullopt where they do not fit.
std::optional<Dims> broadcastDims(std::span<const Dims *const> shapes);

/// Walks the elements of a broadcast result in order and says which element of an operand each one reads.
class BroadcastIndex {
public:
  BroadcastIndex(const Dims &operand, const Dims &result);
  int64_t next();

private:
  Dims result, index, strides;
  int64_t offset = 0;
};

} // namespace flame::rt

#endif
