//===- LegacyOps.cpp - operators as they were before opset 7 ----------------------------------------------------------===//
//
// Broadcasting used to be an attribute: `broadcast` allows it and `axis` says with which dim of the first operand the
// second one's dims begin (default: they are the last ones). These importers bring the operands into today's form and
// call the importer of opset 7.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "LegacyOps.h"
#include "flame/Import/OnnxNode.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

/// Calls the oldest importer for opset 7 or later.
static void importAs7(OnnxNode &n) {
  for (n.opset = 7; n.opset < 100; ++n.opset)
    if (auto *entry = OnnxRegistry::get().find(n.domain, n.opType, n.opset); entry && entry->sinceOpset >= 7)
      return entry->import(n);
  n.fail("is supported from opset 7 on; convert the model with onnx.version_converter");
}

/// `y` with dims of size 1 behind its own, so that they begin at dim `axis` of a tensor of rank `rank`.
static Value aligned(OnnxNode &n, Value y, int64_t axis, int64_t rank) {
  SmallVector<DimExpr> dims(n.dims(y));
  int64_t behind = rank - axis - int64_t(dims.size());
  if (behind < 0)
    n.fail("attribute 'axis' is " + Twine(axis) + ", where " + Twine(dims.size()) + " dims don't fit into " + Twine(rank));
  dims.append(behind, n.shapes.constant(1));
  return n.reshape(y, dims);
}

static void legacyBinary(OnnxNode &n) {
  if (n.intAttr("broadcast", 0) != 0 && n.hasAttr("axis")) {
    int64_t rank = n.rank(n.input(0));
    n.inputs[1] = aligned(n, n.input(1), n.axis(n.intAttr("axis"), rank), rank);
  }
  importAs7(n);
}

static void legacyPRelu(OnnxNode &n) {
  // One slope a channel (dim 1), or one for all.
  if (n.rank(n.input(1)) == 1 && !n.dim(n.input(1), 0).isConstant(1) && n.rank(n.input(0)) > 1)
    n.inputs[1] = aligned(n, n.input(1), 1, n.rank(n.input(0)));
  importAs7(n);
}

static void legacyBatchNormalization(OnnxNode &n) {
  if (n.intAttr("is_test", 0) == 0 && n.wantsOutput(1))
    n.fail("training mode is supported from opset 14 on; convert the model with onnx.version_converter");
  importAs7(n);
}

void flame::onnx::registerLegacyOps(OnnxRegistry &registry) {
  for (const char *op : {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"})
    registry.add(op, legacyBinary, 1);
  registry.add("Gemm", importAs7, 1, "", "float");
  registry.add("PRelu", legacyPRelu, 1, "", "float");
  registry.add("BatchNormalization", legacyBatchNormalization, 1, "", "float");
}
