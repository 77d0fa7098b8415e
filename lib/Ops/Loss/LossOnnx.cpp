//===- LossOnnx.cpp - losses over classes -----------------------------------------------------------------------------===//
//
// The class of a sample is picked by comparing every class number with the target, not by indexing: a target that is
// ignored may be any number, and the pass over the classes fuses with the softmax before it.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

/// Negative log likelihood of `target` [N, D..] under log-probabilities [N, C, D..]; `weight` [C] may be null.
static Value negativeLogLikelihood(OnnxNode &n, Value logProb, Value target, Value weight) {
  int64_t rank = n.rank(logProb);
  if (rank < 2 || n.rank(target) != rank - 1)
    n.fail("the scores have rank " + Twine(rank) + ", the targets rank " + Twine(n.rank(target)) +
           "; targets have the scores' shape without the class dimension 1");
  Type type = n.elementType(logProb), indexType = n.elementType(target);
  auto perClass = [&](Value v) {
    return rank == 2 ? v : n.unsqueeze(v, llvm::to_vector(llvm::seq<int64_t>(1, rank - 1)));
  };
  Value picked = n.equal(perClass(n.iota(n.dim(logProb, 1), indexType)), n.unsqueeze(target, 1));
  bool ignores = n.hasAttr("ignore_index");
  if (ignores) {
    Value ignored = n.equal(target, n.scalarInt(indexType, n.intAttr("ignore_index")));
    picked = n.logicalAnd(picked, n.unsqueeze(n.logicalNot(ignored), 1));
  }
  Value zero = n.scalar(type, 0);
  auto atTarget = [&](Value v) { return n.sum(n.where(picked, v, zero), 1, /*keepDims=*/false); };
  Value loss = n.neg(atTarget(logProb)), weights;
  if (weight) {
    weights = atTarget(perClass(n.cast(weight, type)));
    loss = n.mul(loss, weights);
  } else if (ignores) {
    weights = atTarget(n.scalar(type, 1));
  }
  std::string reduction = n.stringAttr("reduction", "mean");
  if (reduction == "none")
    return loss;
  if (reduction == "sum")
    return n.sum(loss, {}, false);
  if (reduction != "mean")
    n.fail("attribute 'reduction' is \"" + reduction + "\"; it must be \"none\", \"sum\" or \"mean\"");
  if (!weights)
    return n.mean(loss, {}, false);
  return n.div(n.sum(loss, {}, false), n.sum(weights, {}, false));
}

static void nllLoss(OnnxNode &n) {
  Value x = n.input(0);
  n.setOutput(0, n.cast(negativeLogLikelihood(n, n.widen(x), n.input(1), n.inputOr(2, {})), n.elementType(x)));
}

static void softmaxCrossEntropy(OnnxNode &n) {
  Value x = n.input(0), logProb = n.logSoftmax(n.widen(x), 1);
  n.setOutput(0, n.cast(negativeLogLikelihood(n, logProb, n.input(1), n.inputOr(2, {})), n.elementType(x)));
  if (n.wantsOutput(1))
    n.setOutput(1, n.cast(logProb, n.elementType(x)));
}

void flame::registerLossOnnx(OnnxRegistry &r) {
  r.add("NegativeLogLikelihoodLoss", nllLoss, 12, "", "float");
  r.add("SoftmaxCrossEntropyLoss", softmaxCrossEntropy, 12, "", "float");
}
