//===- Elements.h - numbers in and out of tensors of any type -------------===//
//
// Slow and exact: for tools and tests, not for kernels.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_IO_ELEMENTS_H
#define FLAME_IO_ELEMENTS_H

#include "Bytes.h"

#include <complex>

namespace flame::io {

bool isFloatType(flame_dtype dtype); // real
bool isComplexType(flame_dtype dtype);
bool isSignedInteger(flame_dtype dtype);
bool isUnsignedInteger(flame_dtype dtype);

/// Element `index` of any real type; 64-bit integers lose bits beyond 2^53.
double realElement(const Value &tensor, size_t index);
/// Element `index` of a real or complex type.
std::complex<double> complexElement(const Value &tensor, size_t index);
/// Element `index` of an integer or bool type, as its 64-bit pattern.
int64_t integerElement(const Value &tensor, size_t index);
/// Stores `value` rounded to the element type; integers are truncated. Any type but strings.
void setElement(const Value &tensor, size_t index, double value);
/// "0.5", "nan", "-3", "true", "\"text\"", "(1+2j)": shortest text that reads back as the same element.
std::string elementText(const Value &tensor, size_t index);

/// "f32" and the like, also NumPy's and ONNX's names ("float32", "float", "int64", "float8e4m3fn"); FLAME_UNDEFINED for
/// anything else.
flame_dtype parseDType(std::string_view text);

/// As describe in messages: "f32[2,3]", "sequence of 2 f32 tensors".
std::string describe(const Value &value);
/// Prints like NumPy, long arrays with "...".
std::string formatValue(const Value &value);

} // namespace flame::io

#endif
