//===- Attention.h - finds attention among single ops -------------------------------------------------------------------===//
//
// softmax(score(q k^T)) v as it is spelled by ops: a product, pointwise ops of the scores' shape, the reductions and
// pointwise ops of a softmax over the keys, a product. Nothing is changed here; region formation puts the ops into one
// region, and the CUDA target finds them there again. What also belongs to it is the logarithm of the sum of the scores' exponentials
// (log-sum-exp), by which parts of an attention over different keys are joined, and weights computed again.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_ANALYSIS_ATTENTION_H
#define FLAME_ANALYSIS_ATTENTION_H

#include "flame/IR/ShapeContext.h"
#include "flame/Ops/Contraction.h"

namespace flame {

struct Attention {
  MatMulOp scores, context;               // q k^T, and the weights times v
  mlir::Value score;                      // [..., queries, keys]: what softmax is taken of
  llvm::SmallVector<mlir::Operation *> ops; // all between the operands and the result, `scores` and `context` among them
  /// [..., queries, 1], f32: the log-sum-exp of the scores, which others may read; null where nobody computes it. Of a row that sees no
  /// key it is minus infinity, or NaN where it is spelled max + log(sum exp(score - max)).
  mlir::Value logSum;
  bool isNaNOfNothing = false;
  bool zeroesNaN = false; // weights that are NaN count as 0 (`where(is_nan(w), 0, w)`)
  /// By what weights are divided before they are rounded; `context` is the product of what that gives.
  double weightScale = 1;
  /// Ops that compute positions, such as those of a causal mask: they read no data that is worth a buffer.
  llvm::SmallVector<mlir::Operation *> positions;
};

/// The attention that `context` ends: floats of 16 bits, heads of known sizes up to 256, or of multiples of 128 up to
/// `largestHead`, batches of q k^T and of the result alike, and no value in between that anyone else reads but the log-sum-exp. `isIgnored` says
/// which users don't count. Queries and keys may be floats of 8 bits that matrix instructions have, and so may be weights and values; kernels have
/// the latter in 16 (WidenWeights.cpp).
std::optional<Attention> matchAttention(MatMulOp context, ShapeContext &shapes,
                                        llvm::function_ref<bool(mlir::Operation *)> isIgnored, int64_t largestHead);

/// `mask` lets through the keys before a bound: it is `key < bound` (`inclusive`: `key <= bound`), key counted from
/// `offset`. The bound is the same for all queries or grows with them.
struct KeyBound {
  mlir::Value bound; // integers, [..., queries or 1, 1]
  DimExpr offset;
  bool inclusive;
};
std::optional<KeyBound> matchKeyBound(mlir::Value mask, ShapeContext &shapes);

/// The number by which an op scales its operand `x`, a tensor of one element; null if it does something else. With
/// `divides`, x is divided by it.
struct Scaling {
  mlir::Value x, factor;
  bool divides;
};
std::optional<Scaling> matchScaling(mlir::Operation *op, ShapeContext &shapes);

/// The single number that a constant consists of.
std::optional<double> splatNumber(mlir::Value value);

} // namespace flame

#endif // FLAME_ANALYSIS_ATTENTION_H
