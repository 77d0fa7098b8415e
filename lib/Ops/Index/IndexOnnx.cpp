//===- IndexOnnx.cpp - ONNX operators with index tensors --------------------------------------------------------------===//
#include "flame/Import/StringMovement.h"
#include "flame/Ops/Index.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

/// Index tensors may come as any integer type.
static void gather(OnnxNode &n) {
  Value x = n.input(0);
  int64_t axis = n.intAttr("axis", 0);
  n.setOutput(0, n.gather(x, n.checkedIndices(n.input(1), n.dim(x, n.axis(axis, n.rank(x)))), axis));
}

static void gatherElements(OnnxNode &n) {
  Value x = n.input(0);
  int64_t axis = n.axis(n.intAttr("axis", 0), n.rank(x));
  n.setOutput(0, n.op<GatherElementsOp>({x, n.checkedIndices(n.input(1), n.dim(x, axis))}, {n.attr("axis", axis)}));
}

/// Index tuples, each number of which must point into its dim of x, from dim `first` on.
static Value checkedTuples(OnnxNode &n, Value x, Value indices, int64_t first) {
  SmallVector<DimExpr> dims(n.dims(x));
  std::optional<int64_t> length = n.rank(indices) ? n.dim(indices, n.rank(indices) - 1).constant() : std::nullopt;
  // Shape inference says what is wrong with the others.
  if (!length || *length < 1 || first < 0 || first + *length > int64_t(dims.size()))
    return indices;
  return n.checkedIndices(indices, ArrayRef(dims).slice(first, *length));
}

static void gatherND(OnnxNode &n) {
  int64_t batch = n.intAttr("batch_dims", 0);
  n.setOutput(0, n.op<GatherNDOp>({n.input(0), checkedTuples(n, n.input(0), n.input(1), batch)}, {n.attr("batch_dims", batch)}));
}

static void scatterElements(OnnxNode &n) {
  Value x = n.input(0);
  int64_t axis = n.axis(n.intAttr("axis", 0), n.rank(x));
  n.setOutput(0, n.op<ScatterElementsOp>({x, n.checkedIndices(n.input(1), n.dim(x, axis)), n.input(2)},
                                         {n.attr("axis", axis), n.attrS("reduction", n.stringAttr("reduction", "none"))}));
}

static void scatterND(OnnxNode &n) {
  n.setOutput(0, n.op<ScatterNDOp>({n.input(0), checkedTuples(n, n.input(0), n.input(1), 0), n.input(2)},
                                   {n.attrS("reduction", n.stringAttr("reduction", "none"))}));
}

static void reverseSequence(OnnxNode &n) {
  n.setOutput(0, n.op<ReverseSequenceOp>({n.input(0), n.input(1)}, {n.attr("batch_axis", n.intAttr("batch_axis", 1)),
                                                                    n.attr("time_axis", n.intAttr("time_axis", 0))}));
}

/// Writes a run of steps into a cache: step t of the result comes from the update where that covers t.
static void tensorScatter(OnnxNode &n) {
  Value cache = n.input(0), update = n.input(1);
  Type i64 = n.b.getI64Type();
  int64_t rank = n.rank(cache), axis = n.axis(n.intAttr("axis", -2), rank);
  std::string mode = n.stringAttr("mode", "linear");
  if (axis == 0)
    n.fail("axis 0 is the batch; the sequence must be another one");
  if (mode != "linear" && mode != "circular")
    n.fail("mode is \"" + mode + "\"; it must be \"linear\" or \"circular\"");
  if (n.rank(update) != rank)
    n.fail("update has rank " + Twine(n.rank(update)) + ", the cache rank " + Twine(rank));
  SmallVector<DimExpr> perStep(rank, n.shapes.constant(1)), perBatch(perStep), dims(n.dims(cache));
  perStep[axis] = dims[axis];
  perBatch[0] = dims[0];
  Value steps = n.reshape(n.iota(dims[axis], i64), perStep);
  if (n.hasInput(2))
    steps = n.sub(steps, n.reshape(n.input(2), perBatch)); // [batch, 1, …, steps, …]
  Value zero = n.i64Scalar(0);
  auto count = [&](Value v) {
    return n.reshape(n.shapeTensor(n.dim(v, axis)), GraphBuilder::Axes{});
  };
  if (mode == "circular")
    steps = n.create("flame.mod", {steps, count(cache)}, {})->getResult(0);
  Value covered = n.logicalAnd(n.greaterEqual(steps, zero), n.less(steps, count(update)));
  Value source = n.expand(n.max(n.min(steps, n.sub(count(update), n.i64Scalar(1))), zero), dims);
  Value taken = n.op<GatherElementsOp>({update, source}, {n.attr("axis", axis)});
  n.setOutput(0, n.where(covered, taken, cache));
}

/// ai.onnx.ml: columns of the last axis; a vector counts as one row.
static void arrayFeatureExtractor(OnnxNode &n) {
  Value x = n.input(0), indices = n.input(1);
  if (n.rank(x) == 1)
    x = n.unsqueeze(x, 0);
  if (n.rank(indices) != 1)
    indices = n.reshape(indices, n.shapes.numElements(indices));
  n.setOutput(0, n.gather(x, n.checkedIndices(indices, n.dim(x, n.rank(x) - 1)), n.rank(x) - 1));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Functions of the runtime
//===------------------------------------------------------------------------------------------------------------------===//

static void nonZero(OnnxNode &n) { n.setOutput(0, n.op<NonZeroOp>(n.input(0))); }

static SmallVector<NamedAttribute> optionalAxis(OnnxNode &n) {
  if (!n.hasAttr("axis"))
    return {};
  return {n.attr("axis", n.axis(n.intAttr("axis"), n.rank(n.input(0))))};
}

static void compress(OnnxNode &n) {
  n.setOutput(0, n.op<CompressOp>({n.input(0), n.input(1)}, optionalAxis(n)));
}

static void unique(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = optionalAxis(n);
  attributes.push_back(n.attr("sorted", n.intAttr("sorted", 1)));
  auto op = n.create<UniqueOp>(n.input(0), attributes, 4);
  for (unsigned i = 0; i < n.numOutputs(); ++i)
    n.setOutput(i, op->getResult(i));
}

static void topK(OnnxNode &n) {
  Value x = n.input(0), k = n.hasInput(1) ? n.cast(n.input(1), n.b.getI64Type()) : n.i64(n.intAttr("k"));
  auto op = n.create<TopKOp>({x, k}, {n.attr("axis", n.axis(n.intAttr("axis", -1), n.rank(x))),
                                      n.attr("largest", n.intAttr("largest", 1))}, 2);
  n.setOutput(0, op.getValues());
  n.setOutput(1, op.getIndices());
}

static void nonMaxSuppression(OnnxNode &n) {
  Type f32 = n.b.getF32Type();
  auto threshold = [&](unsigned i, double otherwise) { return n.hasInput(i) ? n.input(i) : n.scalar(f32, otherwise); };
  Value limit = n.hasInput(2) ? n.input(2) : n.i64Scalar(0);
  n.setOutput(0, n.op<NonMaxSuppressionOp>(
                     {n.input(0), n.input(1), limit, threshold(3, 0),
                      threshold(4, -std::numeric_limits<double>::infinity())},
                     {n.attr("center_point_box", n.intAttr("center_point_box", 0))}));
}

void flame::registerIndexOnnx(OnnxRegistry &registry) {
  registry.add("Gather", movingStrings(gather), 1, "", "all");
  registry.add("GatherElements", movingStrings(gatherElements), 11, "", "all");
  registry.add("GatherND", movingStrings(gatherND), 11, "", "all");
  registry.add("Scatter", movingStrings(scatterElements), 9, "", "all");
  registry.add("ScatterElements", movingStrings(scatterElements), 11, "", "all");
  registry.add("ScatterND", movingStrings(scatterND), 11, "", "all");
  registry.add("ReverseSequence", movingStrings(reverseSequence), 10, "", "all");
  registry.add("TensorScatter", movingStrings(tensorScatter), 24, "", "all");
  registry.add("ArrayFeatureExtractor", movingStrings(arrayFeatureExtractor), 1, "ai.onnx.ml", "numeric");
  registry.add("NonZero", nonZero, 9, "", "all");
  registry.add("Compress", compress, 9, "", "all");
  registry.add("Unique", unique, 11, "", "all");
  registry.add("TopK", topK, 1, "", "numeric");
  registry.add("NonMaxSuppression", nonMaxSuppression, 10, "", "float");
}
