//===- ElementBuilder.h - elements pulled through a region of ops -----------------------------------------------------===//
//
// Code for one element of a value is made by pulling: a pointwise op pulls its operands at the same (broadcast) index, a
// movement or reduction op pulls at indices it computes, a region argument is loaded from its buffer. Fusion is nothing
// else than not stopping at an intermediate value. The CPU generator puts loops around it; what comes out is
// arith/math/scf/memref.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BODY_ELEMENTBUILDER_H
#define FLAME_BODY_ELEMENTBUILDER_H

#include "flame/Body/ScalarBuilder.h"
#include "flame/IR/Flame.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace flame {

/// How the surroundings give buffers and sizes to bodies.
class BodyEnvironment {
public:
  virtual ~BodyEnvironment() = default;
  /// The storage scalar of a region argument (or other materialised value) at `index`.
  virtual mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index) = 0;
  /// Stores a storage scalar into result buffer of `value`.
  virtual void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::ValueRange index,
                     mlir::Value scalar) = 0;
  /// An expression of dims as an `index` value that dominates the whole kernel.
  virtual mlir::Value expr(DimExpr e) = 0;
  /// True if `value` has a buffer to load from (so that pulling stops there).
  virtual bool isMaterialized(mlir::Value value) = 0;
  /// i1: whether the buffer of a materialised value is that of the result `result`, as a donated input's is.
  virtual mlir::Value isInPlace(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value result) = 0;

  /// Remembers that `whole` = `high` * `size` + `low`, so that linearising (…, high, low) gives `whole` back: what keeps
  /// loops over several dims at once, and reshapes, free of divisions.
  void noteSplit(mlir::Value high, mlir::Value low, DimExpr size, mlir::Value whole) {
    splits[{high, low}] = {size, whole};
  }
  /// Before a region is erased in which splits were noted.
  void forgetSplits(mlir::Region &region);
  /// Row-major position of an index in a shape.
  mlir::Value linearize(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange index, llvm::ArrayRef<DimExpr> dims);

private:
  struct Split {
    DimExpr size;
    mlir::Value whole;
  };
  llvm::DenseMap<std::pair<mlir::Value, mlir::Value>, Split> splits;
};

class ElementBuilder {
public:
  using Values = llvm::SmallVector<mlir::Value>;

  ElementBuilder(mlir::OpBuilder &builder, mlir::Location loc, BodyEnvironment &environment, ShapeContext &shapes)
      : b(builder), loc(loc), environment(environment), context(shapes) {
    scopes.emplace_back();
  }
  virtual ~ElementBuilder() = default;

  mlir::OpBuilder &b;
  mlir::Location loc;

  ShapeContext &shapes() { return context; }
  /// A scalar vocabulary with the signedness of `elementType`.
  ScalarBuilder scalars(mlir::Type elementType) { return ScalarBuilder(b, loc, elementType, elementType); }

  /// The element of `value` at `index`, in its compute type.
  mlir::Value element(mlir::Value value, mlir::ValueRange index);
  /// The element as an `index` number (integer tensors; unsigned ones zero-extended).
  mlir::Value elementIndex(mlir::Value value, mlir::ValueRange index);
  /// The element of a broadcast operand for an index of a result with dims `resultDims` (right-aligned).
  mlir::Value broadcastElement(mlir::Value value, llvm::ArrayRef<DimExpr> resultDims, mlir::ValueRange index);
  /// From now on (in this scope) the element of `value` at any index is `scalar`: a reduction computed outside a loop.
  void setScalar(mlir::Value value, mlir::Value scalar) { fixed[value] = scalar; }
  void clearScalar(mlir::Value value) { fixed.erase(value); }

  // Sizes and index arithmetic; constants fold. Indices are non-negative unless stated.
  mlir::Value expr(DimExpr e) { return environment.expr(e); }
  mlir::Value dim(mlir::Value value, int64_t d) { return expr(context.dim(value, d)); }
  mlir::Value index(int64_t value);
  mlir::Value addi(mlir::Value x, mlir::Value y);
  mlir::Value subi(mlir::Value x, mlir::Value y);
  mlir::Value muli(mlir::Value x, mlir::Value y);
  mlir::Value divi(mlir::Value x, mlir::Value y); // non-negative operands
  mlir::Value remi(mlir::Value x, mlir::Value y); // non-negative operands
  mlir::Value floorDivi(mlir::Value x, mlir::Value y); // any sign
  mlir::Value mini(mlir::Value x, mlir::Value y);      // signed
  mlir::Value maxi(mlir::Value x, mlir::Value y);
  mlir::Value clampi(mlir::Value x, mlir::Value low, mlir::Value high);
  mlir::Value cmpi(mlir::arith::CmpIPredicate predicate, mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  /// low <= x < high
  mlir::Value inRange(mlir::Value x, mlir::Value low, mlir::Value high);
  /// Index → compute scalar of an element type and back (float → index truncates toward zero).
  mlir::Value fromIndex(mlir::Value index, mlir::Type elementType);
  mlir::Value toIndex(mlir::Value scalar, mlir::Type elementType);
  /// Row-major position of an index in a shape, and back.
  mlir::Value linearize(mlir::ValueRange index, llvm::ArrayRef<DimExpr> dims);
  Values delinearize(mlir::Value position, llvm::ArrayRef<DimExpr> dims);

  /// for (i = low; i < high; ++i) carried = body(i, carried)
  Values loop(mlir::Value low, mlir::Value high, mlir::ValueRange init,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  Values loop(mlir::Value low, mlir::Value high, mlir::Value step, mlir::ValueRange init,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  /// A nest of loops over [0, extents), innermost last.
  Values loopNest(llvm::ArrayRef<mlir::Value> extents, mlir::ValueRange init,
                  llvm::function_ref<Values(mlir::ValueRange, mlir::ValueRange)> body);
  /// init ∘ element(0) ∘ element(1) ∘ … over a nest of dims. `combine` is associative and commutative and `init` its
  /// identity, so a generator may run the nest in parallel.
  virtual mlir::Value fold(llvm::ArrayRef<DimExpr> extents, mlir::Value init,
                           llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine,
                           llvm::function_ref<mlir::Value(mlir::ValueRange)> element);
  /// Only the chosen branch is evaluated: use it where an index may be out of bounds.
  mlir::Value ifElse(mlir::Value condition, llvm::function_ref<mlir::Value()> then,
                     llvm::function_ref<mlir::Value()> otherwise);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> then);

  /// Runs `build` with values memoised inside dropped afterwards; wrap every body that is built in a nested region.
  void scope(llvm::function_ref<void()> build);

protected:
  BodyEnvironment &environment;
  ShapeContext &context;

private:
  mlir::Value compute(mlir::Value value, mlir::ValueRange index);
  using Key = std::pair<mlir::Value, llvm::SmallVector<mlir::Value, 6>>;
  struct Memo {
    Key key;
    mlir::Value scalar;
  };
  std::vector<std::vector<Memo>> scopes;
  llvm::DenseMap<mlir::Value, mlir::Value> fixed;
};

/// For ops that write their results with loops of their own.
class LoopsBuilder : public ElementBuilder {
public:
  using ElementBuilder::ElementBuilder;
  /// Stores a compute scalar into a result of the op.
  void store(mlir::Value result, mlir::ValueRange index, mlir::Value scalar);
  /// Loads back what was stored before.
  mlir::Value loadResult(mlir::Value result, mlir::ValueRange index);
  /// Runs `build` unless `x` lies where `result` is stored, which then has x's elements already.
  void unlessInPlace(mlir::Value x, mlir::Value result, llvm::function_ref<void()> build);
};

} // namespace flame

#endif // FLAME_BODY_ELEMENTBUILDER_H
