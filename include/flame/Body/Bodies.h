//===- Bodies.h - attaching bodies to ops -----------------------------------------------------------------------------===//
//
// Bodies are external models of the interfaces in FlameInterfaces.td, so that the IR library never links a generator. A
// family attaches its bodies in lib/Ops/<Family>/<Family>Body.cpp:
//
//   static Value add(ScalarBuilder &s, Value x, Value y) { return s.add(x, y); }
//   void flame::registerPointwiseBodies(MLIRContext *context) { attachPointwise<AddOp, add>(context); }
//
// The functions are template arguments; which parameters they take (the op first, or not) is found from their type.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BODY_BODIES_H
#define FLAME_BODY_BODIES_H

#include "flame/Body/ElementBuilder.h"
#include "mlir/IR/DialectRegistry.h"

namespace flame {

/// Declares the body registration of every family that has bodies.
#define FLAME_FAMILY(Name) void register##Name##Bodies(mlir::MLIRContext *context);
#include "flame/Ops/BodyFamilies.inc"
#undef FLAME_FAMILY

/// Attaches the bodies of all families as soon as the flame dialect is loaded.
void registerAllBodies(mlir::DialectRegistry &registry);

namespace detail {
/// Calls a scalar function with one to three operands or with all of them as a range, after the op if it wants it.
template <auto Fn, typename Op>
mlir::Value callScalar(Op op, ScalarBuilder &s, mlir::ValueRange v) {
  using F = decltype(Fn);
  using V = mlir::Value;
  using S = ScalarBuilder &;
  if constexpr (std::is_invocable_v<F, Op, S, V, V, V>)
    return Fn(op, s, v[0], v[1], v[2]);
  else if constexpr (std::is_invocable_v<F, S, V, V, V>)
    return Fn(s, v[0], v[1], v[2]);
  else if constexpr (std::is_invocable_v<F, Op, S, V, V>)
    return Fn(op, s, v[0], v[1]);
  else if constexpr (std::is_invocable_v<F, S, V, V>)
    return Fn(s, v[0], v[1]);
  else if constexpr (std::is_invocable_v<F, Op, S, V>)
    return Fn(op, s, v[0]);
  else if constexpr (std::is_invocable_v<F, S, V>)
    return Fn(s, v[0]);
  else
    return Fn(op, s, v);
}
} // namespace detail

/// `Fn`: Value ([Op,] ScalarBuilder &, Value x[, y[, z]]) or Value (Op, ScalarBuilder &, ValueRange).
template <typename Op, auto Fn>
struct PointwiseModel : PointwiseInterface::ExternalModel<PointwiseModel<Op, Fn>, Op> {
  mlir::Value buildScalar(mlir::Operation *op, ScalarBuilder &builder, mlir::ValueRange operands) const {
    return detail::callScalar<Fn>(mlir::cast<Op>(op), builder, operands);
  }
};

/// `Fn`: Value (Op, ElementBuilder &, ValueRange index), or with `unsigned result` before the index.
template <typename Op, auto Fn, bool Cheap = true>
struct ElementModel : ElementInterface::ExternalModel<ElementModel<Op, Fn, Cheap>, Op> {
  mlir::Value buildElement(mlir::Operation *op, ElementBuilder &builder, unsigned result,
                           mlir::ValueRange index) const {
    if constexpr (std::is_invocable_v<decltype(Fn), Op, ElementBuilder &, unsigned, mlir::ValueRange>)
      return Fn(mlir::cast<Op>(op), builder, result, index);
    else
      return Fn(mlir::cast<Op>(op), builder, index);
  }
  bool isCheap(mlir::Operation *) const { return Cheap; }
};

/// `Extent`: DimExpr (Op, ShapeContext &); `Fn`: void (Op, LoopsBuilder &, Value begin, Value end).
template <typename Op, auto Extent, auto Fn>
struct LoopsModel : LoopsInterface::ExternalModel<LoopsModel<Op, Extent, Fn>, Op> {
  DimExpr parallelExtent(mlir::Operation *op, ShapeContext &context) const {
    return Extent(mlir::cast<Op>(op), context);
  }
  void buildLoops(mlir::Operation *op, LoopsBuilder &builder, mlir::Value begin, mlir::Value end) const {
    Fn(mlir::cast<Op>(op), builder, begin, end);
  }
};

template <typename Op, auto Fn> void attachPointwise(mlir::MLIRContext *context) {
  Op::template attachInterface<PointwiseModel<Op, Fn>>(*context);
}
template <typename Op, auto Fn, bool Cheap = true> void attachElement(mlir::MLIRContext *context) {
  Op::template attachInterface<ElementModel<Op, Fn, Cheap>>(*context);
}
template <typename Op, auto Extent, auto Fn> void attachLoops(mlir::MLIRContext *context) {
  Op::template attachInterface<LoopsModel<Op, Extent, Fn>>(*context);
}

} // namespace flame

#endif // FLAME_BODY_BODIES_H
