//===- Elements.cpp - see Elements.h --------------------------------------===//

#include "Elements.h"

#include "../src/SmallFloat.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace flame::io {

using rt::isNarrowFloat;

bool isComplexType(flame_dtype dtype) { return dtype == FLAME_C64 || dtype == FLAME_C128; }
bool isFloatType(flame_dtype dtype) { return dtype == FLAME_F32 || dtype == FLAME_F64 || isNarrowFloat(dtype); }

bool isSignedInteger(flame_dtype dtype) {
  switch (dtype) {
  case FLAME_I2:
  case FLAME_I4:
  case FLAME_I8:
  case FLAME_I16:
  case FLAME_I32:
  case FLAME_I64:
    return true;
  default:
    return false;
  }
}

bool isUnsignedInteger(flame_dtype dtype) {
  switch (dtype) {
  case FLAME_U2:
  case FLAME_U4:
  case FLAME_U8:
  case FLAME_U16:
  case FLAME_U32:
  case FLAME_U64:
    return true;
  default:
    return false;
  }
}

namespace {

template <typename T> T load(const Value &tensor, size_t index) {
  T out;
  std::memcpy(&out, static_cast<const char *>(tensor.data()) + index * sizeof(T), sizeof(T));
  return out;
}

template <typename T> void put(const Value &tensor, size_t index, T value) {
  std::memcpy(static_cast<char *>(tensor.data()) + index * sizeof(T), &value, sizeof(T));
}

/// The representable value nearest to `value`, ties to the even pattern, by search: the types have at most 256.
uint8_t nearestSmallFloat(flame_dtype dtype, double value) {
  const int patterns = dtype == FLAME_F4E2M1FN ? 16 : 256;
  if (std::isnan(value))
    for (int p = 0; p < patterns; ++p)
      if (std::isnan(rt::smallFloatToFloat(dtype, static_cast<uint8_t>(p))))
        return static_cast<uint8_t>(p);
  int best = 0;
  double bestDistance = HUGE_VAL;
  for (int p = 0; p < patterns; ++p) {
    const double candidate = rt::smallFloatToFloat(dtype, static_cast<uint8_t>(p));
    if (!std::isfinite(candidate))
      continue;
    const double distance = std::abs(candidate - value);
    if (distance < bestDistance ||
        (distance == bestDistance && p % 2 == 0 && std::signbit(value) == (p >= patterns / 2))) {
      best = p;
      bestDistance = distance;
    }
  }
  return static_cast<uint8_t>(best);
}

template <typename T> std::string shortest(T value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

} // namespace

int64_t integerElement(const Value &tensor, size_t i) {
  switch (tensor.dtype()) {
  case FLAME_I64:
  case FLAME_U64:
    return load<int64_t>(tensor, i);
  case FLAME_I32:
    return load<int32_t>(tensor, i);
  case FLAME_U32:
    return load<uint32_t>(tensor, i);
  case FLAME_I16:
    return load<int16_t>(tensor, i);
  case FLAME_U16:
    return load<uint16_t>(tensor, i);
  case FLAME_I8:
  case FLAME_I4:
  case FLAME_I2:
    return load<int8_t>(tensor, i);
  default:
    return load<uint8_t>(tensor, i);
  }
}

double realElement(const Value &tensor, size_t i) {
  const flame_dtype dtype = tensor.dtype();
  if (dtype == FLAME_F32)
    return load<float>(tensor, i);
  if (dtype == FLAME_F64)
    return load<double>(tensor, i);
  if (dtype == FLAME_U64)
    return static_cast<double>(load<uint64_t>(tensor, i));
  if (isNarrowFloat(dtype))
    return rt::narrowToFloat(dtype, static_cast<const char *>(tensor.data()) + i * flame_dtype_size(dtype));
  return static_cast<double>(integerElement(tensor, i));
}

std::complex<double> complexElement(const Value &tensor, size_t i) {
  if (tensor.dtype() == FLAME_C64)
    return {load<float>(tensor, 2 * i), load<float>(tensor, 2 * i + 1)};
  if (tensor.dtype() == FLAME_C128)
    return {load<double>(tensor, 2 * i), load<double>(tensor, 2 * i + 1)};
  return realElement(tensor, i);
}

void setElement(const Value &tensor, size_t i, double value) {
  switch (tensor.dtype()) {
  case FLAME_F32:
    return put(tensor, i, static_cast<float>(value));
  case FLAME_F64:
    return put(tensor, i, value);
  case FLAME_F16:
    return put(tensor, i, rt::floatToF16(static_cast<float>(value)));
  case FLAME_BF16:
    return put(tensor, i, rt::floatToBF16(static_cast<float>(value)));
  case FLAME_C64:
    put(tensor, 2 * i, static_cast<float>(value));
    return put(tensor, 2 * i + 1, 0.0f);
  case FLAME_C128:
    put(tensor, 2 * i, value);
    return put(tensor, 2 * i + 1, 0.0);
  case FLAME_I64:
    return put(tensor, i, static_cast<int64_t>(value));
  case FLAME_U64:
    return put(tensor, i, static_cast<uint64_t>(value));
  case FLAME_I32:
    return put(tensor, i, static_cast<int32_t>(value));
  case FLAME_U32:
    return put(tensor, i, static_cast<uint32_t>(value));
  case FLAME_I16:
    return put(tensor, i, static_cast<int16_t>(value));
  case FLAME_U16:
    return put(tensor, i, static_cast<uint16_t>(value));
  case FLAME_BOOL:
    return put(tensor, i, static_cast<uint8_t>(value != 0));
  case FLAME_I8:
  case FLAME_I4:
  case FLAME_I2:
    return put(tensor, i, static_cast<int8_t>(value));
  case FLAME_U8:
  case FLAME_U4:
  case FLAME_U2:
    return put(tensor, i, static_cast<uint8_t>(value));
  default:
    return put(tensor, i, nearestSmallFloat(tensor.dtype(), value));
  }
}

std::string elementText(const Value &tensor, size_t i) {
  const flame_dtype dtype = tensor.dtype();
  if (dtype == FLAME_STRING) {
    std::string out = "\"";
    for (char c : tensor.string(i)) {
      if (c == '"' || c == '\\')
        out += '\\';
      if (static_cast<unsigned char>(c) < 0x20)
        out += ' ';
      else
        out += c;
    }
    return out + "\"";
  }
  if (dtype == FLAME_BOOL)
    return integerElement(tensor, i) ? "true" : "false";
  if (dtype == FLAME_F64)
    return shortest(realElement(tensor, i));
  if (isFloatType(dtype))
    return shortest(static_cast<float>(realElement(tensor, i)));
  if (isComplexType(dtype)) {
    const auto z = complexElement(tensor, i);
    auto part = [&](double x) { return dtype == FLAME_C64 ? shortest(static_cast<float>(x)) : shortest(x); };
    return "(" + part(z.real()) + (std::signbit(z.imag()) ? "" : "+") + part(z.imag()) + "j)";
  }
  if (dtype == FLAME_U64)
    return std::to_string(static_cast<uint64_t>(integerElement(tensor, i)));
  return std::to_string(integerElement(tensor, i));
}

flame_dtype parseDType(std::string_view text) {
  for (int d = 1; d <= FLAME_I2; ++d)
    if (text == flame_dtype_name(static_cast<flame_dtype>(d)))
      return static_cast<flame_dtype>(d);
  struct Name {
    std::string_view name;
    flame_dtype dtype;
  };
  static constexpr Name names[] = {{"float", FLAME_F32},
                                   {"float32", FLAME_F32},
                                   {"double", FLAME_F64},
                                   {"float64", FLAME_F64},
                                   {"half", FLAME_F16},
                                   {"float16", FLAME_F16},
                                   {"bfloat16", FLAME_BF16},
                                   {"int8", FLAME_I8},
                                   {"int16", FLAME_I16},
                                   {"int32", FLAME_I32},
                                   {"int64", FLAME_I64},
                                   {"uint8", FLAME_U8},
                                   {"uint16", FLAME_U16},
                                   {"uint32", FLAME_U32},
                                   {"uint64", FLAME_U64},
                                   {"int4", FLAME_I4},
                                   {"uint4", FLAME_U4},
                                   {"int2", FLAME_I2},
                                   {"uint2", FLAME_U2},
                                   {"complex64", FLAME_C64},
                                   {"complex128", FLAME_C128},
                                   {"str", FLAME_STRING},
                                   {"float8e4m3fn", FLAME_F8E4M3FN},
                                   {"float8e4m3fnuz", FLAME_F8E4M3FNUZ},
                                   {"float8e5m2", FLAME_F8E5M2},
                                   {"float8e5m2fnuz", FLAME_F8E5M2FNUZ},
                                   {"float4e2m1", FLAME_F4E2M1FN},
                                   {"float8e8m0", FLAME_F8E8M0FNU}};
  for (const Name &n : names)
    if (n.name == text)
      return n.dtype;
  return FLAME_UNDEFINED;
}

std::string describe(const Value &value) {
  if (!value)
    return "no value";
  if (value.kind() == FLAME_SEQUENCE)
    return "sequence of " + std::to_string(value.length()) + " " + flame_dtype_name(value.dtype()) +
           (value.length() == 1 ? " tensor" : " tensors");
  if (value.kind() == FLAME_OPTIONAL)
    return value.length() ? "optional " + describe(value.at(0)) : "empty optional";
  std::string out = flame_dtype_name(value.dtype());
  out += '[';
  for (size_t i = 0; i < value.dims().size(); ++i)
    out += (i ? "," : "") + std::to_string(value.dims()[i]);
  return out + "]";
}

namespace {

constexpr int64_t kEdge = 3;              // elements shown at either end of a long axis
constexpr size_t kSummariseBeyond = 1000; // elements

void formatAxis(const Value &tensor, size_t axis, size_t offset, bool summarise, std::string &out) {
  const auto dims = tensor.dims();
  if (axis == dims.size()) {
    out += elementText(tensor, offset);
    return;
  }
  size_t stride = 1;
  for (size_t d = axis + 1; d < dims.size(); ++d)
    stride *= dims[d];
  out += '[';
  for (int64_t i = 0; i < dims[axis]; ++i) {
    const bool inner = axis + 1 < dims.size();
    if (i)
      out += inner ? ",\n" + std::string(axis + 1, ' ') : ", ";
    if (summarise && dims[axis] > 2 * kEdge && i == kEdge) {
      out += "...";
      i = dims[axis] - kEdge - 1;
      continue;
    }
    formatAxis(tensor, axis + 1, offset + i * stride, summarise, out);
  }
  out += ']';
}

} // namespace

std::string formatValue(const Value &value) {
  if (!value.isTensor()) {
    std::string out = describe(value);
    for (size_t i = 0; value && i < value.length(); ++i)
      out += "\n" + std::to_string(i) + ": " + formatValue(value.at(i));
    return out;
  }
  // However many empty rows a shape like [1073741824, 0] has.
  if (value.elements() == 0)
    return "[]";
  std::string out;
  formatAxis(value, 0, 0, value.elements() > kSummariseBeyond, out);
  return out;
}

} // namespace flame::io
