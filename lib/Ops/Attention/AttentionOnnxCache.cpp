//===- AttentionOnnxCache.cpp - what stands around attention: positions, key-value caches, causal convolution ---------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Attention.h"
#include "flame/Ops/Index.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

static void rotaryEmbedding(OnnxNode &n) {
  Value x = n.input(0), cosine = n.input(1), sine = n.input(2);
  int64_t rank = n.rank(x);
  SmallVector<DimExpr> original(n.dims(x));
  // [B, S, H, D]
  if (rank == 4) {
    x = n.transpose(x, {0, 2, 1, 3});
  } else if (rank == 3) {
    int64_t heads = n.intAttr("num_heads", 0);
    if (heads <= 0)
      n.fail("num_heads is " + Twine(heads) + "; it must be given and positive for a 3-D input");
    x = n.reshape(x, {original[0], original[1], n.shapes.constant(heads),
                      floorDiv(original[2], n.shapes.constant(heads))});
  } else {
    n.fail("the input has rank " + Twine(rank) + "; it must be 3 or 4");
  }
  if (n.hasInput(3)) {
    cosine = n.gather(cosine, n.input(3), 0);
    sine = n.gather(sine, n.input(3), 0);
  }
  cosine = n.unsqueeze(cosine, 2);
  sine = n.unsqueeze(sine, 2);
  int64_t partial = n.intAttr("rotary_embedding_dim", 0);
  DimExpr zero = n.shapes.constant(0), width = n.dim(x, 3), rotated = partial ? n.shapes.constant(partial) : width;
  Value turning = partial ? n.sliceAxis(x, 3, zero, rotated) : x;
  Value y = rotatePairs(n, turning, cosine, sine, n.intAttr("interleaved", 0) ? Pairs::Neighbours : Pairs::Halves);
  if (partial)
    y = n.concat({y, n.sliceAxis(x, 3, rotated, width - rotated)}, 3);
  n.setOutput(0, rank == 4 ? n.transpose(y, {0, 2, 1, 3}) : n.reshape(y, original));
}

/// Writes `update` into a cache at an offset of every sample: each position pulls from the update or the old cache.
static void tensorScatter(OnnxNode &n) {
  Value cache = n.input(0), update = n.input(1);
  std::string mode = n.stringAttr("mode", "linear");
  if (mode != "linear" && mode != "circular")
    n.fail("attribute 'mode' is \"" + mode + "\"; it must be \"linear\" or \"circular\"");
  int64_t rank = n.rank(cache), axis = n.axis(n.intAttr("axis", -2), rank);
  if (axis == 0)
    n.fail("axis is 0, the batch dimension; it must be another one");
  if (n.rank(update) != rank)
    n.fail("update has rank " + Twine(n.rank(update)) + ", past_cache " + Twine(rank) + "; they must agree");
  Type index = n.b.getI64Type();
  SmallVector<DimExpr> ones(rank, n.shapes.constant(1)), along(ones), batch(ones), dims(n.dims(cache));
  along[axis] = dims[axis];
  batch[0] = dims[0];
  // Where in the update a position of the cache comes from.
  Value source = n.reshape(n.iota(dims[axis], index), along);
  if (n.hasInput(2))
    source = n.sub(source, n.reshape(n.input(2), batch));
  if (mode == "circular")
    source = n.op<ModOp>({source, n.reshape(n.shapeTensor(dims[axis]), GraphBuilder::Axes())});
  Value length = n.reshape(n.shapeTensor(n.dim(update, axis)), GraphBuilder::Axes()), zero = n.i64Scalar(0);
  Value inside = n.logicalAnd(n.greaterEqual(source, zero), n.less(source, length));
  Value clamped = n.max(n.min(source, n.sub(length, n.i64Scalar(1))), zero);
  Value moved = n.op<GatherElementsOp>({update, n.expand(clamped, dims)}, n.attr("axis", axis));
  n.setOutput(0, n.where(inside, moved, cache));
}

static void causalConvWithState(OnnxNode &n) {
  Value x = n.input(0), weight = n.input(1);
  std::string activation = n.stringAttr("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    n.fail("attribute 'activation' is \"" + activation + "\"; it must be \"silu\", \"swish\" or \"none\"");
  if (n.rank(x) != 3 || n.rank(weight) != 3)
    n.fail("the input has rank " + Twine(n.rank(x)) + ", the weight " + Twine(n.rank(weight)) + "; both must be 3");
  auto taps = n.dim(weight, 2).constant();
  if (!taps || *taps < 1)
    n.fail("the kernel size must be static and positive, is " + n.dim(weight, 2).str());
  Type type = n.elementType(x);
  DimExpr history = n.shapes.constant(*taps - 1), length = n.dim(x, 2);
  Value padded = x;
  if (n.hasInput(3))
    padded = n.concat({n.input(3), x}, 2);
  else if (*taps > 1)
    padded = n.concat({n.fill({n.dim(x, 0), n.dim(x, 1), history}, n.scalar(type, 0)), x}, 2);
  Value wide = n.widen(padded), factors = n.widen(weight), sum;
  for (int64_t tap = 0; tap < *taps; ++tap) {
    // [C, 1, 1] broadcasts over batch and length.
    Value factor = n.sliceAxis(factors, 2, n.shapes.constant(tap), n.shapes.constant(1));
    Value term = n.mul(n.sliceAxis(wide, 2, n.shapes.constant(tap), length), n.squeeze(factor, 1));
    sum = sum ? n.add(sum, term) : term;
  }
  if (n.hasInput(2))
    sum = n.add(sum, n.unsqueeze(n.widen(n.input(2)), 1));
  // The activation sees the rounded convolution, as in the operator's definition.
  Value y = n.cast(sum, type);
  if (activation != "none")
    y = n.cast(n.op<SiluOp>(n.widen(y)), type);
  n.setOutput(0, y);
  if (n.wantsOutput(1))
    n.setOutput(1, n.sliceAxis(padded, 2, n.dim(padded, 2) - history, history));
}

namespace flame {
void registerCacheOnnx(OnnxRegistry &r);
}
void flame::registerCacheOnnx(OnnxRegistry &r) {
  r.add("RotaryEmbedding", rotaryEmbedding, 23, "", "float");
  r.add("TensorScatter", tensorScatter, 24, "", "numeric");
  r.add("CausalConvWithState", causalConvWithState, 27, "", "float");
}
