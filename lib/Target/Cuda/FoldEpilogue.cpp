//===- FoldEpilogue.cpp - see FoldEpilogue.h ----------------------------------------------------------------------===//
#include "FoldEpilogue.h"
#include "KernelOps.h"
#include "flame/Body/Reduction.h"
#include "flame/Ops/Shape.h"
#include "schedule/Schedule.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

bool flame::cuda::isElementwise(Value value, Value of, ShapeContext &shapes) {
  SmallVector<DimExpr> dims(shapes.dims(of));
  llvm::SetVector<Value> behind;
  behind.insert(value);
  bool found = false;
  for (size_t i = 0; i < behind.size(); ++i) {
    if (behind[i] == of) {
      found = true;
      continue;
    }
    Operation *op = behind[i].getDefiningOp();
    if (!op)
      return false;
    if (op->getNumOperands() == 0 && shapes.numElements(behind[i]).isConstant(1))
      continue; // a number
    if (!isa<PointwiseInterface>(op) || op->getNumResults() != 1)
      return false;
    ArrayRef<DimExpr> own = shapes.dims(behind[i]);
    if (own != ArrayRef(dims) && !shapes.numElements(behind[i]).isConstant(1))
      return false;
    behind.insert_range(op->getOperands());
  }
  return found && shapes.dims(value) == ArrayRef(dims);
}

/// The reduction of runs of columns whose partial results a region yields, runs first; null for anything else.
static ReduceOp partialsOf(Value yielded, Value stored, ShapeContext &shapes) {
  auto transpose = yielded.getDefiningOp<TransposeOp>();
  auto reduce = transpose ? transpose.getX().getDefiningOp<ReduceOp>() : ReduceOp();
  auto runs = reduce ? reduce.getX().getDefiningOp<ReshapeOp>() : ReshapeOp();
  if (!runs)
    return {};
  SmallVector<DimExpr> dims(shapes.dims(stored)), split(shapes.dims(runs.getResult()));
  const int64_t rank = int64_t(dims.size());
  if (rank == 0 || int64_t(split.size()) != rank + 1 || !split.back().isConstant(foldColumns) ||
      ArrayRef(split).drop_back(2) != ArrayRef(dims).drop_back() || split[rank - 1] * foldColumns != dims.back())
    return {};
  SmallVector<int64_t> perm{rank - 1};
  for (int64_t d = 0; d < int64_t(transpose.getPerm().size()); ++d)
    if (d != rank - 1)
      perm.push_back(d);
  const bool isFloat = getElementTypeOrSelf(runs.getResult().getType()).isF32();
  return isFloat && reduce.getAxes().size() == 1 && reduce.getAxes()[0] == rank && reduce.getKind() != "mean" &&
                 transpose.getPerm() == ArrayRef<int64_t>(perm) && isElementwise(runs.getX(), stored, shapes)
             ? reduce
             : ReduceOp();
}

FoldEpilogue::FoldEpilogue(KernelBuilder &kernel) : kernel(kernel) {
  OperandRange yielded = kernel.region.getYielded();
  for (Value value : llvm::drop_begin(yielded)) {
    ReduceOp reduce = partialsOf(value, yielded.front(), kernel.shapes);
    if (!reduce) {
      folds.clear();
      partials.clear();
      return;
    }
    folds.push_back(reduce);
    partials.push_back(value);
  }
}

std::string FoldEpilogue::build(ElementBuilder &e, StringRef store, DimExpr rows, SmallVectorImpl<Value> &operands) {
  Type f32 = e.b.getF32Type();
  auto name = [&](Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  };
  if (functions.empty()) {
    Value stored = kernel.region.getYielded().front();
    Type elementType = getElementTypeOrSelf(stored.getType());
    functions = "flame::folds(($I)" + name(e.expr(rows));
    for (auto [i, reduce] : llvm::enumerate(folds)) {
      ReduceOp op = reduce;
      auto function = [&](StringRef what, TypeRange types, ArrayRef<StringRef> names, function_ref<Value(Reduction &, ValueRange)> build) {
        return name(FunctionOp::create(e.b, kernel.loc, (what + Twine(i)).str(), types, names, [&](ValueRange args) {
          Value result;
          e.scope([&] {
            Reduction reduction = reductionOf(op, e);
            result = build(reduction, args);
          });
          return result;
        }));
      };
      std::string partials = name(kernel.resultBuffer(unsigned(i) + 1));
      std::string none = function("none", {}, {}, [](Reduction &r, ValueRange) { return r.init[0]; });
      // What it is of is the element as a kernel that reads it finds it.
      std::string step = function("step", {f32, storageType(elementType)}, {"sum", "stored"}, [&](Reduction &r, ValueRange args) {
        e.setScalar(stored, e.scalars(elementType).fromStorage(args[1], elementType));
        Value x = e.element(cast<ReshapeOp>(op.getX().getDefiningOp()).getX(), Values(kernel.shapes.rank(stored), e.index(0)));
        e.clearScalar(stored);
        return r.combine(args[0], x)[0];
      });
      std::string join = function("join", {f32, f32}, {"a", "b"}, [](Reduction &r, ValueRange args) { return r.combine(args[0], args[1])[0]; });
      functions += ",\n      flame::fold(" + partials + ", " + none + ", " + step + ", " + join + ")";
    }
    functions += ")";
  }
  return "flame::folding(" + store.str() + ", " + functions + ")";
}
