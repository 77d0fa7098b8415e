//===- Layers.h - the layers that models are made of
//------------------------------------------------------------------===//
//
// Each takes its weights from its scope under PyTorch's names ("weight", "bias") and computes what the layer of that
// name computes there. Values are in the scope's element type; statistics, angles and scores in f32. All throw
// BuildError.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_MODELS_LAYERS_H
#define FLAME_MODELS_LAYERS_H

#include "flame/Models/Scope.h"
#include <optional>

namespace flame::models {

using mlir::Value;

/// The size of a dim that the model fixes.
int64_t fixedDim(const Scope &m, Value x, int64_t d);

/// x [.., in] → [.., out]
Value linear(const Scope &m, Value x, int64_t out, bool bias = true);
/// Rows of a table [count, width] for integers of any shape; an index out of range ends the run with an error.
Value embedding(const Scope &m, Value ids, int64_t count, int64_t width);
/// Over the last dim, with weight and bias.
Value layerNorm(const Scope &m, Value x, double epsilon);
/// Over the last dim, with neither.
Value plainLayerNorm(const Scope &m, Value x, double epsilon);
/// Over the last dim, with a weight.
Value rmsNorm(const Scope &m, Value x, double epsilon);
/// [N, C, ..] with weight and bias.
Value groupNorm(const Scope &m, Value x, int64_t groups, double epsilon);

struct ConvOptions {
  int64_t kernel = 3, stride = 1, padBefore = 1, padAfter = 1;
};
/// [N, C, H, W] → [N, out, H', W']
Value conv2d(const Scope &m, Value x, int64_t out, const ConvOptions &options = {});
/// [N, C, H, W] → [N, C, 2H, 2W], each element four times.
Value upsampleNearest(const Scope &m, Value x);

/// "gelu", "gelu_new" and "gelu_pytorch_tanh", "quick_gelu", "silu", "relu"; throws for another name.
Value activation(const Scope &m, llvm::StringRef name, Value x);

struct AttentionOptions {
  double scale; // of the scores
  Value bias;   // added to the scores, broadcast to [B, H, S, T]; may be null
  bool causal = false; // queries see the keys up to their own position, both counted from 0
  /// Integers that broadcast to [B, H, S, 1]: the last key that a query sees, and, for as many queries as may be, a bound that no
  /// visible key reaches, which spares what lies beyond it; both or neither.
  Value lastKey, keyBound;
};
/// softmax(scale q k^T + bias) v, heads in dim 1: q [B, H, S, D], k and v [B, H or a divisor of it, T, D].
Value attention(const Scope &m, Value q, Value k, Value v, const AttentionOptions &options);

/// Angles of rotary embeddings as cosines and sines, each [positions.., frequencies].
struct Rotation {
  Value cosine, sine;
};
/// positions [..], integers or floats, times frequencies; angles in `precision`, f32 or f64, cosines and sines rounded
/// to f32.
Rotation rotation(const Scope &m, Value positions, llvm::ArrayRef<double> frequencies, mlir::Type precision);
/// θ^(−2i / width), i < width / 2.
llvm::SmallVector<double> rotaryFrequencies(int64_t width, double theta);

/// [N] numbers in f32 → [N, width]: cosines, then sines, of the number times 10000^(−i / (width / 2)).
Value sinusoidalEmbedding(const Scope &m, Value numbers, int64_t width);

/// x split into `count` equal parts along the last dim.
llvm::SmallVector<Value> chunk(const Scope &m, Value x, int64_t count);
/// Rounds to the model's element type, as storing there does, and goes on in f32.
Value rounded(const Scope &m, Value x);

} // namespace flame::models

#endif // FLAME_MODELS_LAYERS_H
