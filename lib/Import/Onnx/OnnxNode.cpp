//===- OnnxNode.cpp - what every node offers to its importer ----------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

Value OnnxNode::input(unsigned i) {
  if (!hasInput(i))
    fail("input " + Twine(i) + " is missing; the operator needs it");
  return inputs[i];
}

std::optional<SmallVector<int64_t>> OnnxNode::intsInputOrAttr(unsigned i, StringRef attribute, bool &present) {
  if (hasInput(i)) {
    present = true;
    return shapes.constants(inputs[i]);
  }
  present = hasAttr(attribute);
  if (!present)
    return std::nullopt;
  return intsAttr(attribute);
}

void OnnxNode::setOutput(unsigned i, Value value) {
  if (i >= outputs.size())
    outputs.resize(i + 1);
  outputs[i] = value;
}

int64_t OnnxNode::statedRank(StringRef why) {
  if (auto type = dyn_cast_or_null<RankedTensorType>(statedOutputType(0)))
    return type.getRank();
  fail("the rank of the result is not known: " + why + ", and the model states no shape for output '" +
       (outputNames.empty() ? "" : outputNames[0]) + "'; make that input a constant or give it a static shape");
}

Type OnnxNode::dtypeAttr(StringRef attribute) {
  if (!hasAttr(attribute))
    return {};
  int64_t code = intAttr(attribute);
  Type type = code > 0 && code < 1000 ? dtypeFromCode(b.getContext(), int(code)) : Type();
  if (!type)
    fail("attribute '" + attribute + "' is " + Twine(code) + ", which is no element type");
  return type;
}
