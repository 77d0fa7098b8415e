//===- NeuralOps.h - compositions that every family of models is made of
//----------------------------------------------===//
//
// Norms, heads of attention, rotary embeddings, written with the graph builder. Importers and model builders call the
// same ones, so that passes meet one spelling. All throw BuildError.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_BUILDER_NEURALOPS_H
#define FLAME_BUILDER_NEURALOPS_H

#include "flame/Builder/GraphBuilder.h"

namespace flame {

struct Standardized {
  mlir::Value normalized, mean, variance, inverse; // inverse: 1 / sqrt(variance + epsilon)
};

/// (x − mean) / sqrt(variance + epsilon) over `axes`, in x's element type. Two-pass (mean, then mean of squared
/// differences): one-pass formulas cancel.
Standardized standardize(GraphBuilder &g, mlir::Value x, llvm::ArrayRef<int64_t> axes, double epsilon);

/// x / sqrt(mean of squares + epsilon) over `axes`, in x's element type.
mlir::Value rmsNormalize(GraphBuilder &g, mlir::Value x, llvm::ArrayRef<int64_t> axes, double epsilon);

/// Standardizes the channels of [N, C, D…] in groups, statistics in `stash`; `scale` and `bias` have an element a
/// channel or a group. Factors of another type than `stash` meet the normalized elements in theirs. The result has x's
/// type.
mlir::Value groupNormalize(GraphBuilder &g, mlir::Value x, int64_t groups, mlir::Value scale, mlir::Value bias,
                           double epsilon, mlir::Type stash);

/// [B, S, H * D] → [B, H, S, D]; `what` names the heads in messages ("query").
mlir::Value splitHeads(GraphBuilder &g, mlir::Value x, int64_t heads, llvm::StringRef what);
/// [B, H, S, D] → [B, S, H * D]
mlir::Value joinHeads(GraphBuilder &g, mlir::Value x);

/// left [B, Hq, S, D] @ right [B, Hkv, D, T] → [B, Hq, S, T] in `resultType` (default: the operands'). Where heads are
/// grouped, a group is a dimension of its own, so that keys and values are broadcast, never repeated.
mlir::Value multiplyHeads(GraphBuilder &g, mlir::Value left, mlir::Value right, mlir::Type resultType = {});

/// Query heads Hq in groups of G that share keys and values of Hkv heads. Attention is computed with a dimension for the groups from the first
/// product to the second, so that nothing stands between them. Where there is a key head for each query head nothing changes.
class HeadGroups {
public:
  /// Throws BuildError if Hq is no multiple of Hkv.
  HeadGroups(GraphBuilder &g, mlir::Value queries, mlir::Value keys);
  /// [B, Hq, S, D] → [B, Hkv, G, S, D]
  mlir::Value split(mlir::Value queries) const;
  /// [B, Hkv, .., ..] → [B, Hkv, 1, .., ..]
  mlir::Value share(mlir::Value keys) const;
  /// queries [B, Hq, S, D] and keys [B, Hkv, T, D] → their products [B, Hkv, G, S, T] in `type`
  mlir::Value scores(mlir::Value queries, mlir::Value keys, mlir::Type type) const;
  /// What broadcasts to [B, Hq, S, T] as what broadcasts to [B, Hkv, G, S, T].
  mlir::Value ofScores(mlir::Value x) const;
  /// [B, Hkv, G, S, ..] → [B, Hq, S, ..]
  mlir::Value join(mlir::Value x) const;

private:
  GraphBuilder &g;
  DimExpr heads, keyHeads;
  bool grouped() const { return heads != keyHeads; }
};

/// `scores` [.., S, T] where key t isn't after query s, whose position is s + `past`; −inf elsewhere.
mlir::Value maskFuture(GraphBuilder &g, mlir::Value scores, DimExpr past);

/// What a rotary embedding turns together: elements of the two halves, or neighbours. `NeighboursToHalves` turns
/// neighbours and leaves all first elements before all second ones: products of such queries with such keys are the
/// same, and every row is cut and joined by itself, which a row program can do.
enum class Pairs { Halves, Neighbours, NeighboursToHalves };

/// Turns the pairs of x's last dim by angles, given as cosines and sines that broadcast to [.., half of it].
mlir::Value rotatePairs(GraphBuilder &g, mlir::Value x, mlir::Value cosine, mlir::Value sine, Pairs pairs);

} // namespace flame

#endif // FLAME_BUILDER_NEURALOPS_H
