//===- Attention.cpp - inference of attention recurrences -------------------------------------------------------------===//
#include "flame/Ops/Attention.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Attention.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerAttentionOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Attention.cpp.inc"
      >();
}

LogicalResult LinearAttentionOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  static const StringRef names[] = {"query", "key", "value", "state", "gate", "gate"};
  if (getGates().size() != size_t(getGated()) + size_t(getDelta()))
    return emitOpError("has ") << getGates().size() << " gates; it needs one for gated and one for delta";
  Type type = getElementTypeOrSelf(getQuery().getType());
  if (!isa<FloatType>(type))
    return emitOpError("query has element type ") << dtypeName(type) << "; a floating-point type is needed";
  for (unsigned i = 0; i < getNumOperands(); ++i) {
    if (failed(requireRanked(*this, i, names[i])))
      return failure();
    Value operand = getOperand(i);
    if (context.rank(operand) != 4)
      return emitOpError(names[i]) << " must have rank 4, has " << context.rank(operand);
    if (getElementTypeOrSelf(operand.getType()) != type)
      return emitOpError(names[i]) << " has element type " << dtypeName(getElementTypeOrSelf(operand.getType()))
                                   << ", query has " << dtypeName(type);
  }
  auto agree = [&](unsigned i, unsigned d, unsigned j, unsigned e) -> LogicalResult {
    DimExpr a = context.dim(getOperand(i), d), b = context.dim(getOperand(j), e);
    std::string message = (names[i] + " dimension " + Twine(d) + " is " + a.str() + ", " + names[j] + " dimension " +
                           Twine(e) + " is " + b.str() + "; they must agree")
                              .str();
    if (a.constant() && b.constant() && a != b)
      return emitOpError(message);
    return context.require(*this, Requirement::Equal, a, b, message);
  };
  // {operand, dimension} pairs: batch, head count, tokens, key and value width.
  const unsigned pairs[][4] = {{1, 0, 0, 0}, {2, 0, 0, 0}, {3, 0, 0, 0}, {2, 1, 1, 1}, {3, 1, 1, 1}, {1, 2, 0, 2},
                               {2, 2, 0, 2}, {1, 3, 0, 3}, {3, 2, 0, 3}, {3, 3, 2, 3}};
  for (auto [i, d, j, e] : pairs)
    if (failed(agree(i, d, j, e)))
      return failure();
  SmallVector<DimExpr> output(context.dims(getQuery()));
  output[3] = context.dim(getValue(), 3);
  results.push_back(ResultInfo::tensor(type, output));
  results.push_back(ResultInfo::tensor(type, context.dims(getState())));
  return success();
}
