//===- Random.cpp - inference of random numbers -----------------------------------------------------------------------===//
#include "flame/Ops/Random.h"
#include "flame/Ops/InferenceRules.h"

#define GET_OP_CLASSES
#include "flame/Ops/Random.cpp.inc"

using namespace mlir;
using namespace flame;

void flame::registerRandomOps(FlameDialect *dialect) {
  dialect->addFamily<
#define GET_OP_LIST
#include "flame/Ops/Random.cpp.inc"
      >();
}

LogicalResult RandomOp::inferResults(ShapeContext &context, SmallVectorImpl<ResultInfo> &results) {
  FailureOr<int64_t> rank = requireVector(*this, context, 0, "shape");
  if (failed(rank) || failed(requireRanked(*this, 1, "seed")))
    return failure();
  auto seed = cast<RankedTensorType>(getSeed().getType());
  if (seed.getRank() != 0 || !seed.getElementType().isInteger(64))
    return emitOpError("seed must be an i64 scalar, has type ") << seed;
  if (getDistribution() != "uniform" && getDistribution() != "normal")
    return emitOpError("distribution is \"") << getDistribution() << "\"; it must be \"uniform\" or \"normal\"";
  if (!getType().isF32() && !getType().isF64())
    return emitOpError("can't draw ") << dtypeName(getType()) << "; draw float32 or float64 and cast";
  SmallVector<DimExpr> dims;
  for (int64_t d = 0; d < *rank; ++d) {
    dims.push_back(context.element(getShape(), d, /*nonNegative=*/true));
    if (dims.back().constant() && *dims.back().constant() < 0)
      return emitOpError("size ") << d << " is negative: " << *dims.back().constant();
  }
  results.push_back(ResultInfo::tensor(getType(), dims));
  return success();
}
