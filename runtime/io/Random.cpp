//===- Random.cpp - see Random.h ------------------------------------------===//

#include "Random.h"
#include "Elements.h"

#include <cmath>

namespace flame::io {

namespace {

/// [0, 1) with 53 bits; the standard distributions differ between libraries.
double uniform(std::mt19937_64 &generator) { return static_cast<double>(generator() >> 11) * 0x1p-53; }

} // namespace

Value randomTensor(flame_dtype dtype, std::span<const int64_t> dims, std::mt19937_64 &generator) {
  countElements("random input", dims);
  if (dtype == FLAME_STRING) {
    std::vector<std::string> texts(countElements("random input", dims));
    for (std::string &text : texts)
      text = std::string(1, static_cast<char>('a' + generator() % 26));
    return Value::strings(dims, texts);
  }
  Value out = Value::tensor(dtype, dims);
  const size_t count = out.elements();
  if (dtype == FLAME_F32) {
    auto *data = static_cast<float *>(out.data());
    for (size_t i = 0; i < count; ++i)
      data[i] = static_cast<float>(static_cast<int64_t>(generator() >> 40) - (1 << 23)) * 0x1p-23f;
  } else if (isComplexType(dtype)) {
    const Value parts = Value::wrap(dtype == FLAME_C64 ? FLAME_F32 : FLAME_F64,
                                    std::vector<int64_t>{static_cast<int64_t>(2 * count)}, out.data(), out.bytes());
    for (size_t i = 0; i < 2 * count; ++i)
      setElement(parts, i, 2 * uniform(generator) - 1);
  } else if (dtype == FLAME_F8E8M0FNU) {
    for (size_t i = 0; i < count; ++i)
      setElement(out, i, std::ldexp(1.0, static_cast<int>(generator() % 8) - 4));
  } else if (isFloatType(dtype)) {
    for (size_t i = 0; i < count; ++i)
      setElement(out, i, 2 * uniform(generator) - 1);
  } else {
    int64_t low = 0, range = 8;
    if (dtype == FLAME_BOOL)
      range = 2;
    else if (dtype == FLAME_U2)
      range = 4;
    else if (dtype == FLAME_I2)
      low = -2, range = 4;
    else if (isSignedInteger(dtype))
      low = -8, range = 16;
    for (size_t i = 0; i < count; ++i)
      setElement(out, i, static_cast<double>(low + static_cast<int64_t>(generator() % range)));
  }
  return out;
}

} // namespace flame::io
