//===- DType.h - element types: sizes, names, and the dispatch on them ----===//
//
// One element of a type narrower than 8 bits occupies one byte. The dispatch helpers call a generic lambda with a value
// of the C++ type that stores an element: `dispatchAll` knows every type but strings, by storage; `dispatchNumeric`
// gives arithmetic types a meaning (f16, bf16 and the small floats through the structs of SmallFloat.h).
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_DTYPE_H
#define FLAME_RUNTIME_DTYPE_H

#include "Error.h"

#include <cstdint>
#include <string>

namespace flame::rt {

using DType = flame_dtype;

inline constexpr int kDTypeCount = 27;

/// Bytes of an element in memory; a string element is a std::string.
constexpr size_t elementSize(DType dtype) {
  switch (dtype) {
  case FLAME_F32:
  case FLAME_I32:
  case FLAME_U32:
    return 4;
  case FLAME_F64:
  case FLAME_I64:
  case FLAME_U64:
  case FLAME_C64:
    return 8;
  case FLAME_C128:
    return 16;
  case FLAME_F16:
  case FLAME_BF16:
  case FLAME_I16:
  case FLAME_U16:
    return 2;
  case FLAME_STRING:
    return sizeof(std::string);
  case FLAME_UNDEFINED:
    return 0;
  default:
    return static_cast<int>(dtype) < kDTypeCount ? 1 : 0;
  }
}

/// The alignment that C++ wants of an element (complex numbers: that of a part).
constexpr size_t elementAlignment(DType dtype) {
  return dtype == FLAME_STRING                          ? alignof(std::string)
         : elementSize(dtype) > 8 || dtype == FLAME_C64 ? elementSize(dtype) / 2
                                                        : elementSize(dtype);
}

constexpr bool isKnown(int dtype) { return dtype > 0 && dtype < kDTypeCount; }

constexpr bool isInteger(DType dtype) {
  switch (dtype) {
  case FLAME_U8:
  case FLAME_I8:
  case FLAME_U16:
  case FLAME_I16:
  case FLAME_I32:
  case FLAME_I64:
  case FLAME_U32:
  case FLAME_U64:
  case FLAME_U4:
  case FLAME_I4:
  case FLAME_U2:
  case FLAME_I2:
    return true;
  default:
    return false;
  }
}

const char *dtypeName(DType dtype);

} // namespace flame::rt

#endif
