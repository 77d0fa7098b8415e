//===- Compare.h - agreement of two values --------------------------------===//
#ifndef FLAME_IO_COMPARE_H
#define FLAME_IO_COMPARE_H

#include "Bytes.h"

namespace flame::io {

struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-7;
};

struct Comparison {
  bool equal = true;
  std::string message; // what differs: kind, type, shape, or how many elements, where first, and by how much
  size_t elements = 0, mismatches = 0;
  double maxAbsolute = 0, maxRelative = 0; // over the elements that are finite in both
};

/// As numpy.testing.assert_allclose: |actual - expected| <= absolute + relative * |expected|; NaN equals NaN, an
/// infinity itself. Integers, bools and strings must be equal. Types and shapes must be the same. Sequences and
/// optionals are compared item by item.
Comparison compare(const Value &actual, const Value &expected, Tolerance tolerance = {});

} // namespace flame::io

#endif
