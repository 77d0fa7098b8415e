//===- ScaledProduct.h - operands of a product whose blocks have scales ----------------------------------------------===//
#ifndef FLAME_BODY_SCALEDPRODUCT_H
#define FLAME_BODY_SCALEDPRODUCT_H

#include "flame/Body/ElementBuilder.h"
#include "flame/Ops/Contraction.h"

namespace flame {

/// The element of x, or of y, times its block's scale: f32.
mlir::Value scaledElement(ElementBuilder &b, ScaledMatMulOp op, bool isX, mlir::ValueRange index);

} // namespace flame

#endif // FLAME_BODY_SCALEDPRODUCT_H
