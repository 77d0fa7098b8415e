//===- Compare.cpp - see Compare.h ----------------------------------------===//

#include "Compare.h"
#include "Elements.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace flame::io {

namespace {

std::string position(const Value &tensor, size_t index) {
  const auto dims = tensor.dims();
  std::vector<size_t> at(dims.size());
  for (size_t d = dims.size(); d-- > 0;) {
    at[d] = index % dims[d];
    index /= dims[d];
  }
  std::string out = "[";
  for (size_t d = 0; d < at.size(); ++d)
    out += (d ? "," : "") + std::to_string(at[d]);
  return out + "]";
}

std::string brief(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.3g", value);
  return buffer;
}

class Comparer {
public:
  Comparer(const Value &actual, const Value &expected, Tolerance tolerance)
      : actual(actual), expected(expected), tolerance(tolerance) {}

  Comparison run() {
    Comparison out;
    out.elements = expected.elements();
    size_t first = 0;
    const flame_dtype dtype = expected.dtype();
    for (size_t i = 0; i < out.elements; ++i) {
      bool same;
      if (dtype == FLAME_STRING)
        same = actual.string(i) == expected.string(i);
      else if (isComplexType(dtype))
        same = close(complexElement(actual, i), complexElement(expected, i), out);
      else if (isFloatType(dtype))
        same = close(realElement(actual, i), realElement(expected, i), out);
      else
        same = integerElement(actual, i) == integerElement(expected, i);
      if (!same && out.mismatches++ == 0)
        first = i;
    }
    out.equal = out.mismatches == 0;
    if (!out.equal) {
      out.message = std::to_string(out.mismatches) + " of " + std::to_string(out.elements) +
                    " elements differ; first at " + position(expected, first) + ": " + elementText(actual, first) +
                    ", expected " + elementText(expected, first);
      if (isFloatType(dtype) || isComplexType(dtype))
        out.message += "; largest difference " + brief(out.maxAbsolute) + ", relative " + brief(out.maxRelative) +
                       " (tolerance " + brief(tolerance.absolute) + " + " + brief(tolerance.relative) + " relative)";
    }
    return out;
  }

private:
  bool close(double a, double b, Comparison &out) const {
    if (std::isnan(a) || std::isnan(b))
      return std::isnan(a) && std::isnan(b);
    if (std::isinf(a) || std::isinf(b))
      return a == b;
    return within(std::abs(a - b), std::abs(b), out);
  }
  bool close(std::complex<double> a, std::complex<double> b, Comparison &out) const {
    auto isNan = [](std::complex<double> z) { return std::isnan(z.real()) || std::isnan(z.imag()); };
    auto isInf = [](std::complex<double> z) { return std::isinf(z.real()) || std::isinf(z.imag()); };
    if (isNan(a) || isNan(b))
      return isNan(a) && isNan(b);
    if (isInf(a) || isInf(b))
      return a == b;
    return within(std::abs(a - b), std::abs(b), out);
  }
  bool within(double difference, double magnitude, Comparison &out) const {
    out.maxAbsolute = std::max(out.maxAbsolute, difference);
    if (magnitude > 0)
      out.maxRelative = std::max(out.maxRelative, difference / magnitude);
    return difference <= tolerance.absolute + tolerance.relative * magnitude;
  }

  const Value &actual, &expected;
  Tolerance tolerance;
};

Comparison differ(const Value &actual, const Value &expected) {
  Comparison out;
  out.equal = false;
  out.message = "it is " + describe(actual) + ", expected " + describe(expected);
  return out;
}

} // namespace

Comparison compare(const Value &actual, const Value &expected, Tolerance tolerance) {
  if (!actual || !expected || actual.kind() != expected.kind())
    return differ(actual, expected);
  if (actual.kind() == FLAME_TENSOR) {
    if (actual.dtype() != expected.dtype() || !std::ranges::equal(actual.dims(), expected.dims()))
      return differ(actual, expected);
    return Comparer(actual, expected, tolerance).run();
  }
  if (actual.length() != expected.length())
    return differ(actual, expected);
  Comparison total;
  for (size_t i = 0; i < expected.length(); ++i) {
    Comparison item = compare(actual.at(i), expected.at(i), tolerance);
    if (!item.equal && total.equal)
      total.message = "item " + std::to_string(i) + ": " + item.message;
    total.equal &= item.equal;
    total.elements += item.elements;
    total.mismatches += item.mismatches;
    total.maxAbsolute = std::max(total.maxAbsolute, item.maxAbsolute);
    total.maxRelative = std::max(total.maxRelative, item.maxRelative);
  }
  return total;
}

} // namespace flame::io
