//===- GraphBuilder.h - graphs written as they read in a paper --------------------------------------------------------===//
//
// Appends flame ops with inferred result types. Used by importers and model builders. A misuse (shapes that don't
// broadcast, an axis out of range) throws BuildError with the op's own message; importers catch it per node and report it
// with the node's name. This is the one place of the compiler that uses C++ exceptions: they never cross code that is
// compiled without them (MLIR's own frames), and they spare every composite op a cascade of error returns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BUILDER_GRAPHBUILDER_H
#define FLAME_BUILDER_GRAPHBUILDER_H

#include "flame/IR/Flame.h"
#include "mlir/IR/Builders.h"
#include <array>
#include <stdexcept>

namespace flame {

struct BuildError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class GraphBuilder {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Axes = llvm::ArrayRef<int64_t>;

  GraphBuilder(mlir::OpBuilder &builder, mlir::Location loc, ShapeContext &shapes)
      : b(builder), loc(loc), shapes(shapes) {}

  mlir::OpBuilder &b;
  mlir::Location loc;
  ShapeContext &shapes;

  /// Throws BuildError.
  [[noreturn]] void fail(const llvm::Twine &message) const;

  /// Creates an op with inferred result types.
  template <typename Op>
  Op create(mlir::ValueRange operands, llvm::ArrayRef<mlir::NamedAttribute> attributes = {}, unsigned results = 1) {
    return llvm::cast<Op>(create(Op::getOperationName(), operands, attributes, results));
  }
  mlir::Operation *create(llvm::StringRef name, mlir::ValueRange operands,
                          llvm::ArrayRef<mlir::NamedAttribute> attributes, unsigned results = 1);
  /// Gives an op that was created with placeholder result types its inferred ones; erases it and throws if it is wrong.
  void infer(mlir::Operation *op);
  /// A one-result op.
  template <typename Op> Value op(mlir::ValueRange operands, llvm::ArrayRef<mlir::NamedAttribute> attributes = {}) {
    return create<Op>(operands, attributes)->getResult(0);
  }

  // Attributes.
  mlir::NamedAttribute attr(llvm::StringRef name, mlir::Attribute value) { return b.getNamedAttr(name, value); }
  mlir::NamedAttribute attr(llvm::StringRef name, int64_t value) { return attr(name, b.getI64IntegerAttr(value)); }
  mlir::NamedAttribute attr(llvm::StringRef name, Axes value) { return attr(name, b.getDenseI64ArrayAttr(value)); }
  mlir::NamedAttribute flag(llvm::StringRef name, bool value) { return attr(name, b.getBoolAttr(value)); }
  mlir::NamedAttribute attrF(llvm::StringRef name, double value) { return attr(name, b.getF64FloatAttr(value)); }
  mlir::NamedAttribute attrS(llvm::StringRef name, llvm::StringRef value) { return attr(name, b.getStringAttr(value)); }

  // What is known of a value.
  llvm::ArrayRef<DimExpr> dims(Value v) { return shapes.dims(v); }
  DimExpr dim(Value v, int64_t d) { return shapes.dim(v, d); }
  int64_t rank(Value v) { return shapes.rank(v); }
  Type elementType(Value v);
  /// An axis in [-rank, rank) made non-negative; throws if out of range.
  int64_t axis(int64_t axis, int64_t rank, llvm::StringRef what = "axis");
  llvm::SmallVector<int64_t> axes(Axes axes, int64_t rank, llvm::StringRef what = "axes");

  // Constants. `scalar` has rank 0.
  Value scalar(Type elementType, double value);
  Value scalarInt(Type elementType, int64_t value);
  Value scalarLike(Value like, double value) { return scalar(elementType(like), value); }
  Value constant(mlir::ElementsAttr value);
  Value i64(llvm::ArrayRef<int64_t> values); // tensor<n x i64>
  Value i64Scalar(int64_t value) { return scalarInt(b.getI64Type(), value); }
  /// The dims as an i64 tensor; constant where all are known, otherwise computed by integer ops from `shape_of`.
  Value shapeTensor(llvm::ArrayRef<DimExpr> dims);
  Value shapeOf(Value v);

  // Pointwise, with broadcasting.
  Value add(Value x, Value y);
  Value sub(Value x, Value y);
  Value mul(Value x, Value y);
  Value div(Value x, Value y);
  Value pow(Value x, Value y);
  Value max(Value x, Value y);
  Value min(Value x, Value y);
  Value neg(Value x);
  Value abs(Value x);
  Value exp(Value x);
  Value log(Value x);
  Value sqrt(Value x);
  Value reciprocal(Value x);
  Value tanh(Value x);
  Value sigmoid(Value x);
  Value equal(Value x, Value y);
  Value less(Value x, Value y);
  Value lessEqual(Value x, Value y);
  Value greater(Value x, Value y);
  Value greaterEqual(Value x, Value y);
  Value logicalAnd(Value x, Value y);
  Value logicalOr(Value x, Value y);
  Value logicalNot(Value x);
  Value where(Value condition, Value x, Value y);
  /// To an element type; the identity if it has it already.
  Value cast(Value x, Type elementType, bool saturate = true);
  /// The result, in its type, of what was computed in a wider one: rounded where it goes to memory.
  Value narrow(Value x, Type elementType);

  // Reductions over `axes` (empty: all).
  Value reduce(llvm::StringRef kind, Value x, Axes axes, bool keepDims); // "sum" "prod" "max" "min" "mean"
  Value sum(Value x, Axes axes, bool keepDims = true) { return reduce("sum", x, axes, keepDims); }
  Value mean(Value x, Axes axes, bool keepDims = true) { return reduce("mean", x, axes, keepDims); }
  /// Position (i64) of the "max" or "min" along an axis; the first of equal ones, or the last.
  Value argReduce(llvm::StringRef kind, Value x, int64_t axis, bool keepDims, bool last = false);
  /// Running "sum" or "prod" along an axis.
  Value scan(llvm::StringRef kind, Value x, int64_t axis, bool exclusive = false, bool reverse = false);
  Value softmax(Value x, int64_t axis);
  Value logSoftmax(Value x, int64_t axis);
  /// f16, bf16 and narrower floats as f32, anything else as it is: for intermediate results.
  Value widen(Value x);

  // Axes that are known at run time: expressions stand for them.
  /// 1 if x < y (x == y), else 0.
  DimExpr isLess(DimExpr x, DimExpr y);
  DimExpr isEqual(DimExpr x, DimExpr y);
  /// An axis in [-rank, rank) as one in [0, rank); throws if a known one is out of range.
  DimExpr normalizedAxis(DimExpr axis, int64_t rank);
  /// Number of elements in the dims before an axis, along it and after it.
  std::array<DimExpr, 3> around(llvm::ArrayRef<DimExpr> dims, DimExpr axis);
  /// x as [dims before the axis, the axis, dims after it].
  Value collapse(Value x, DimExpr axis);

  // Shapes.
  Value reshape(Value x, llvm::ArrayRef<DimExpr> dims);
  Value reshape(Value x, Axes dims); // static sizes
  Value transpose(Value x, Axes permutation);
  Value unsqueeze(Value x, Axes axes);  // axes of the result
  Value squeeze(Value x, Axes axes);
  Value expand(Value x, llvm::ArrayRef<DimExpr> dims); // numpy broadcast_to
  Value concat(llvm::ArrayRef<Value> xs, int64_t axis);
  /// x[start : start + size] along one axis, step 1.
  Value sliceAxis(Value x, int64_t axis, DimExpr start, DimExpr size);
  /// Elements starts[d] + i * steps[d], i < sizes[d], of each dimension; every one of them must exist.
  Value slice(Value x, llvm::ArrayRef<DimExpr> starts, llvm::ArrayRef<DimExpr> sizes, llvm::ArrayRef<DimExpr> steps);
  /// low[d] elements before and high[d] after each dimension; negative numbers cut off. `value` has rank 0 (null: zero);
  /// modes "constant", "reflect", "edge", "wrap".
  Value pad(Value x, llvm::ArrayRef<DimExpr> low, llvm::ArrayRef<DimExpr> high, Value value = {},
            llvm::StringRef mode = "constant");
  /// Zero-based i64 [0, n).
  Value iota(DimExpr n, Type elementType);
  /// A tensor of these dims filled with a scalar value.
  Value fill(llvm::ArrayRef<DimExpr> dims, Value scalar);
  /// numpy.take along an axis.
  Value gather(Value x, Value indices, int64_t axis);
  /// Indices into dims of these sizes; those that only the run knows are checked there, inference checks the others.
  Value checkedIndices(Value indices, llvm::ArrayRef<DimExpr> extents);

  /// numpy.matmul. Integer operands accumulate in `resultType` (default: the operands' type).
  Value matmul(Value x, Value y, Type resultType = {});
  /// flame.grouped_matmul, with ends that are checked unless they are known.
  Value groupedMatmul(Value x, Value y, Value ends, bool transposeY = false, Type resultType = {});
};

} // namespace flame

#endif // FLAME_BUILDER_GRAPHBUILDER_H
