//===- Elements.h - tensors of f32, f16 and bf16 as floats -----------------===//
#ifndef FLAME_DIFFUSION_ELEMENTS_H
#define FLAME_DIFFUSION_ELEMENTS_H

#include "Error.h"
#include "SmallFloat.h"

namespace flame::diffusion {

struct F32 {
  using Storage = float;
  static float load(float x) { return x; }
  static float store(float x) { return x; }
};
struct F16 {
  using Storage = uint16_t;
  static float load(uint16_t x) { return rt::f16ToFloat(x); }
  static uint16_t store(float x) { return rt::floatToF16(x); }
};
struct BF16 {
  using Storage = uint16_t;
  static float load(uint16_t x) { return rt::bf16ToFloat(x); }
  static uint16_t store(float x) { return rt::floatToBF16(x); }
};

/// x as the type keeps it.
template <typename Type> float rounded(float x) { return Type::load(Type::store(x)); }

/// Calls function(Type()) with the type of that name.
template <typename Function> void withFloatType(flame_dtype type, Function function) {
  switch (type) {
  case FLAME_F32:
    return function(F32());
  case FLAME_F16:
    return function(F16());
  case FLAME_BF16:
    return function(BF16());
  default:
    rt::fail(FLAME_UNSUPPORTED, "tensors of the type ", flame_dtype_name(type),
             " are not supported here; f32, f16 and bf16 are");
  }
}

} // namespace flame::diffusion

#endif
