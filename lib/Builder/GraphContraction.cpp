//===- GraphContraction.cpp - matrix products in the graph builder -----------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Index.h"

using namespace mlir;
using namespace flame;

Value GraphBuilder::matmul(Value x, Value y, Type resultType) {
  SmallVector<NamedAttribute> attributes;
  if (resultType && (resultType != elementType(x) || resultType != elementType(y)))
    attributes.push_back(attr("type", TypeAttr::get(resultType)));
  return op<MatMulOp>({x, y}, attributes);
}

Value GraphBuilder::groupedMatmul(Value x, Value y, Value ends, bool transposeY, Type resultType) {
  SmallVector<NamedAttribute> attributes;
  if (resultType && (resultType != elementType(x) || resultType != elementType(y)))
    attributes.push_back(attr("type", TypeAttr::get(resultType)));
  if (transposeY)
    attributes.push_back(flag("transpose_y", true));
  // Shape inference says what is wrong with operands of other ranks.
  if (!shapes.constants(ends) && rank(x) == 2 && rank(ends) == 1)
    ends = op<CheckEndsOp>({ends, shapeTensor({dim(x, 0)})});
  return op<GroupedMatMulOp>({x, y, ends}, attributes);
}
