//===- ScalarBuilder.h - the vocabulary of scalar bodies --------------------------------------------------------------===//
//
// A scalar body is arith/math SSA over *compute types*. An element type is stored as its storage type and computed in
// its compute type:
//
//   element type                        storage     compute
//   f64 f32                             same        same
//   f16                                 f16         f32
//   bf16                                i16         f32
//   f8*, f4E2M1FN, f8E8M0FNU            i8          f32
//   i64 i32 i16 i8 and unsigned ones    signless    signless, same width
//   i4 ui4 i2 ui2                       i8          i8
//   i1                                  i8          i1
//
// Inside a fused body values are not rounded to f16/bf16 between ops; they are rounded where they are stored and by an
// explicit cast. All builders work on scalars and, elementwise, on vectors: constants take the shape of a given value.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BODY_SCALARBUILDER_H
#define FLAME_BODY_SCALARBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"

namespace flame {

mlir::Type storageType(mlir::Type elementType);
mlir::Type computeType(mlir::Type elementType);

class ScalarBuilder {
public:
  /// `elementType`: the element type of the op's first operand; decides signedness and rounding. `resultType`: that of the result.
  ScalarBuilder(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type elementType = {}, mlir::Type resultType = {})
      : b(builder), loc(loc), elementType(elementType), resultType(resultType) {}

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type elementType; // flame element type (signedness visible)
  mlir::Type resultType;

  bool isUnsigned() const { return elementType && elementType.isUnsignedInteger(); }
  static bool isFloat(mlir::Value v) { return llvm::isa<mlir::FloatType>(mlir::getElementTypeOrSelf(v.getType())); }
  static bool isBool(mlir::Value v) { return mlir::getElementTypeOrSelf(v.getType()).isInteger(1); }

  /// Creates an op at the insertion point.
  template <typename Op, typename... Args> auto make(Args &&...args) {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }

  /// A number of the type (and vector shape) of `like`; integers are truncated toward zero, wrapping.
  mlir::Value constant(mlir::Value like, double value);
  mlir::Value constantInt(mlir::Value like, int64_t value);
  /// Lowest / highest value of an element type (−inf/inf for floats) as a compute scalar.
  mlir::Value lowest(mlir::Type elementType);
  mlir::Value highest(mlir::Type elementType);
  /// A compute scalar of `elementType` with this value.
  mlir::Value number(mlir::Type elementType, double value);
  mlir::Value integer(mlir::Type elementType, int64_t value);
  mlir::Value boolean(bool value);

  // Float or integer by the operands' type; integer signedness from `elementType`.
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  /// Float division, or integer division truncating toward zero; an integer divided by zero gives 0, never a trap.
  mlir::Value div(mlir::Value x, mlir::Value y);
  /// Remainder with the sign of the dividend (C); integer remainder by zero gives 0.
  mlir::Value rem(mlir::Value x, mlir::Value y);
  mlir::Value neg(mlir::Value x);
  mlir::Value abs(mlir::Value x);
  /// NaN wins.
  mlir::Value max(mlir::Value x, mlir::Value y);
  mlir::Value min(mlir::Value x, mlir::Value y);
  /// Ordered comparisons (false on NaN), except `ne`.
  mlir::Value eq(mlir::Value x, mlir::Value y);
  mlir::Value ne(mlir::Value x, mlir::Value y);
  mlir::Value lt(mlir::Value x, mlir::Value y);
  mlir::Value le(mlir::Value x, mlir::Value y);
  mlir::Value gt(mlir::Value x, mlir::Value y);
  mlir::Value ge(mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value logicalAnd(mlir::Value x, mlir::Value y) { return make<mlir::arith::AndIOp>(x, y); }
  mlir::Value logicalOr(mlir::Value x, mlir::Value y) { return make<mlir::arith::OrIOp>(x, y); }
  mlir::Value logicalNot(mlir::Value x);

  /// Marked `afn` where the result's type is a float of 16 bits or less: an approximation to some 2⁻²¹ is exact enough then.
  mlir::Value exp(mlir::Value x);
  /// 1 / x, marked likewise. Not for quotients that may be whole numbers: a floor behind them would see the difference.
  mlir::Value reciprocal(mlir::Value x);
  mlir::Value log(mlir::Value x);
  mlir::Value sqrt(mlir::Value x);
  mlir::Value tanh(mlir::Value x);
  mlir::Value erf(mlir::Value x);
  mlir::Value pow(mlir::Value x, mlir::Value y);
  mlir::Value floor(mlir::Value x);
  mlir::Value ceil(mlir::Value x);
  mlir::Value isNaN(mlir::Value x);
  mlir::Value isInf(mlir::Value x);

  /// Converts a compute scalar of element type `from` to a compute scalar of element type `to`, with ONNX's Cast
  /// semantics: float → integer truncates (out of range: saturates, NaN: 0), integers wrap, anything → bool is `!= 0`,
  /// float → narrower float rounds to nearest even; `saturate` applies to 8-bit and smaller floats.
  mlir::Value cast(mlir::Value x, mlir::Type from, mlir::Type to, bool saturate = true,
                   llvm::StringRef roundMode = "");
  /// A compute scalar rounded to what `elementType` can hold.
  mlir::Value round(mlir::Value x, mlir::Type elementType, bool saturate = true);

  /// Between storage and compute representation. A value that a cast has rounded is stored unchanged, infinity too.
  mlir::Value fromStorage(mlir::Value stored, mlir::Type elementType);
  mlir::Value toStorage(mlir::Value computed, mlir::Type elementType, bool saturate = false);

  /// Type `scalar` with the vector shape of `like`, if it has one.
  static mlir::Type shapedLike(mlir::Type scalar, mlir::Value like);

private:
  mlir::arith::FastMathFlags approximation() const;
  mlir::Value compare(mlir::arith::CmpFPredicate f, mlir::arith::CmpIPredicate s, mlir::arith::CmpIPredicate u,
                      mlir::Value x, mlir::Value y);
};

} // namespace flame

#endif // FLAME_BODY_SCALARBUILDER_H
