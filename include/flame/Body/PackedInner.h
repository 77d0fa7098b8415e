//===- PackedInner.h - the order of `pack_inner` --------------------------------------------------------------------------===//
#ifndef FLAME_BODY_PACKEDINNER_H
#define FLAME_BODY_PACKEDINNER_H

#include "flame/Body/ElementBuilder.h"

namespace flame {

/// Where `pack_inner` puts a row.
inline mlir::Value packedPosition(ElementBuilder &e, mlir::Value row) {
  auto part = [&](int64_t below, int64_t from, int64_t times) {
    return e.muli(e.divi(e.remi(row, e.index(below)), e.index(from)), e.index(times));
  };
  return e.addi(e.addi(e.muli(e.divi(row, e.index(16)), e.index(16)), part(8, 2, 4)), e.addi(part(16, 8, 2), part(2, 1, 1)));
}
/// The row at a position of its result.
inline mlir::Value packedRow(ElementBuilder &e, mlir::Value position) {
  auto part = [&](int64_t below, int64_t from, int64_t times) {
    return e.muli(e.divi(e.remi(position, e.index(below)), e.index(from)), e.index(times));
  };
  return e.addi(e.addi(e.muli(e.divi(position, e.index(16)), e.index(16)), part(4, 2, 8)), e.addi(part(16, 4, 2), part(2, 1, 1)));
}

} // namespace flame

#endif // FLAME_BODY_PACKEDINNER_H
