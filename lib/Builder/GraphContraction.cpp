//===- GraphContraction.cpp - matrix products in the graph builder -----------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"

using namespace mlir;
using namespace flame;

Value GraphBuilder::matmul(Value x, Value y, Type resultType) {
  SmallVector<NamedAttribute> attributes;
  if (resultType && (resultType != elementType(x) || resultType != elementType(y)))
    attributes.push_back(attr("type", TypeAttr::get(resultType)));
  return op<MatMulOp>({x, y}, attributes);
}
