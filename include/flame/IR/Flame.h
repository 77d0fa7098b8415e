//===- Flame.h - the flame dialect ------------------------------------------------------------------------------------===//
//
// The dialect, its types and interfaces. Ops are in flame/Ops/<Family>.h, which the build generates.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IR_FLAME_H
#define FLAME_IR_FLAME_H

#include "flame/IR/ShapeContext.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace flame {
class ScalarBuilder;
class ElementBuilder;
class LoopsBuilder;

namespace trait {
/// Checks an op's result types against its inference.
mlir::LogicalResult verifyInferred(mlir::Operation *op);

template <typename Op> struct Inferred : mlir::OpTrait::TraitBase<Op, Inferred> {
  static mlir::LogicalResult verifyRegionTrait(mlir::Operation *op) { return verifyInferred(op); }
};
template <typename Op> struct HostOnly : mlir::OpTrait::TraitBase<Op, HostOnly> {};
template <typename Op> struct NotDifferentiable : mlir::OpTrait::TraitBase<Op, NotDifferentiable> {};
template <typename Op> struct ViewLike : mlir::OpTrait::TraitBase<Op, ViewLike> {};
template <typename Op> struct ContractAnchor : mlir::OpTrait::TraitBase<Op, ContractAnchor> {};
template <typename Op> struct ConvAnchor : mlir::OpTrait::TraitBase<Op, ConvAnchor> {};
} // namespace trait
} // namespace flame

#include "flame/IR/FlameDialect.h.inc"
#include "flame/IR/FlameInterfaces.h.inc"
#define GET_TYPEDEF_CLASSES
#include "flame/IR/FlameTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "flame/IR/FlameAttributes.h.inc"

namespace flame {
#define FLAME_FAMILY(Name) void register##Name##Ops(FlameDialect *dialect);
#include "flame/Ops/Families.inc"
#undef FLAME_FAMILY

/// Numeric element types that kernels compute with (not strings).
inline bool isNumeric(mlir::Type type) { return type.isIntOrFloat(); }
inline bool isUnsigned(mlir::Type type) { return type.isUnsignedInteger(); }
/// "float32", "uint8", …: the name that messages use.
std::string dtypeName(mlir::Type elementType);
/// The number of an element type in ONNX's TensorProto.DataType, which the plan uses too; 0 if there is none.
int dtypeCode(mlir::Type elementType);
/// The element type of such a number; null if unknown.
mlir::Type dtypeFromCode(mlir::MLIRContext *context, int code);
/// Bytes an element occupies at run time (types under 8 bits: one).
unsigned dtypeBytes(mlir::Type elementType);
} // namespace flame

#endif // FLAME_IR_FLAME_H
