//===- ShapeContext.h - symbolic shapes and small integer values ------------------------------------------------------===//
//
// Answers what is known of a value: its dims as expressions of symbols and, for small integer tensors, its elements.
// Answers are computed on demand from InferInterface and kept. A context is valid as long as nobody erases or rewrites
// the ops it has seen: passes make a new one, the graph builder (which only appends) keeps one.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IR_SHAPECONTEXT_H
#define FLAME_IR_SHAPECONTEXT_H

#include "flame/Support/DimExpr.h"
#include "mlir/IR/Value.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/Twine.h"
#include <memory>
#include <vector>

namespace flame {

/// What an op's inference says of one result.
struct ResultInfo {
  /// A result that is not a ranked tensor (sequence, optional): its type. Otherwise null.
  mlir::Type type;
  mlir::Type elementType;
  llvm::SmallVector<DimExpr> dims;
  /// Known elements in row-major order, of an integer or bool tensor of rank 0 or 1.
  std::optional<llvm::SmallVector<DimExpr>> values;

  static ResultInfo tensor(mlir::Type elementType, llvm::ArrayRef<DimExpr> dims) {
    ResultInfo info;
    info.elementType = elementType;
    info.dims.assign(dims.begin(), dims.end());
    return info;
  }
  static ResultInfo other(mlir::Type type) {
    ResultInfo info;
    info.type = type;
    return info;
  }
};

/// Where a symbol's number comes from at run time.
struct SymbolOrigin {
  enum Kind { Dim, Element } kind;
  mlir::Value value; // Dim: dimension `index` of `value` (an argument or the result of a host call); Element: element `index`
  int64_t index;
};

/// A relation of dims that only a run can check.
struct Requirement {
  enum Relation { Equal, LessEqual, EqualOrOne } relation;
  mlir::Operation *op;
  DimExpr a, b;
  std::string message;
};

class ShapeContext {
public:
  /// A `shallow` context looks at types only, never through defining ops: for verification.
  explicit ShapeContext(DimContext &dims, bool shallow = false) : dimContext(dims), shallow(shallow) {}

  DimContext &exprs() { return dimContext; }
  DimExpr constant(int64_t value) { return dimContext.constant(value); }

  /// Dims of a ranked tensor value.
  llvm::ArrayRef<DimExpr> dims(mlir::Value value);
  /// One dim; a `d` out of range (only after an error) is 1.
  DimExpr dim(mlir::Value value, int64_t d);
  int64_t rank(mlir::Value value) { return dims(value).size(); }
  /// Product of all dims.
  DimExpr numElements(mlir::Value value);
  /// The known elements of a small integer tensor.
  std::optional<llvm::ArrayRef<DimExpr>> values(mlir::Value value);
  /// The known elements, if all are plain numbers.
  std::optional<llvm::SmallVector<int64_t>> constants(mlir::Value value);
  /// Element `index` of an integer tensor of rank 0 or 1: what is known of it, else a symbol that is read from the data.
  /// `nonNegative` says that the consumer rejects a negative number (a size).
  DimExpr element(mlir::Value value, int64_t index, bool nonNegative = false);
  /// A symbol for a dim of an op's result that only its execution tells.
  DimExpr resultDim(mlir::Operation *op, unsigned result, int64_t dim, llvm::StringRef hint = "");

  /// The same for a dim of an argument of a loop body that an iteration may change.
  DimExpr argumentDim(mlir::BlockArgument argument, int64_t dim);
  /// True if something is known of a value already.
  bool knows(mlir::Value value) const { return infos.count(value); }

  /// The broadcast of two dims: null if they can't be broadcast.
  DimExpr broadcast(DimExpr a, DimExpr b);

  /// States what must hold at run time for `op` to make sense; what is provable is dropped. Fails, with an op error, if it
  /// is provably false.
  mlir::LogicalResult require(mlir::Operation *op, Requirement::Relation relation, DimExpr a, DimExpr b,
                              const llvm::Twine &message);
  llvm::ArrayRef<Requirement> requirements() const { return required; }

  /// Origins by symbol number (symbols made through this context).
  const llvm::DenseMap<unsigned, SymbolOrigin> &origins() const { return symbolOrigins; }

  /// States what is known of a value (block arguments of kernels, builder results).
  void set(mlir::Value value, ResultInfo info) { infos[value] = std::make_unique<ResultInfo>(std::move(info)); }
  const ResultInfo &info(mlir::Value value);
  /// The IR type that an inferred result has.
  static mlir::Type typeOf(const ResultInfo &info);
  /// Forgets `value`, whose op is about to go.
  void forget(mlir::Value value);

private:
  DimExpr valueDim(mlir::Value value, int64_t dim, llvm::StringRef hint);
  ResultInfo fromType(mlir::Value value);
  DimContext &dimContext;
  bool shallow;
  std::vector<Requirement> required;
  llvm::DenseMap<mlir::Value, std::unique_ptr<ResultInfo>> infos;
  llvm::DenseMap<unsigned, SymbolOrigin> symbolOrigins;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, DimExpr> elements;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, DimExpr> resultDims;
};

} // namespace flame

#endif // FLAME_IR_SHAPECONTEXT_H
