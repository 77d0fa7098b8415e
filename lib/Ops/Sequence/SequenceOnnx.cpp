//===- SequenceOnnx.cpp - ONNX operators on sequences and optionals ---------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Sequence.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

namespace {

/// The type that the model states for output 0, as the attribute `type`, where inference can't know the rank.
SmallVector<NamedAttribute> statedType(OnnxNode &n, Type known) {
  if (known && !isa<NoneType, UnrankedTensorType>(known))
    return {};
  Type stated = n.statedOutputType(0);
  if (!stated)
    return {};
  return {n.attr("type", TypeAttr::get(stated))};
}

Type elementOf(OnnxNode &n, Value sequence) {
  auto type = dyn_cast<SequenceType>(sequence.getType());
  if (!type)
    n.fail("input 0 must be a sequence");
  return type.getElementType();
}

void sequenceEmpty(OnnxNode &n) {
  Type dtype = n.dtypeAttr("dtype");
  n.setOutput(0, n.op<SequenceEmptyOp>(ValueRange{}, n.attr("dtype", TypeAttr::get(dtype ? dtype : n.b.getF32Type()))));
}

void sequenceConstruct(OnnxNode &n) {
  SmallVector<Value> elements;
  for (unsigned i = 0; i < n.numInputs(); ++i)
    elements.push_back(n.input(i));
  n.setOutput(0, n.op<SequenceConstructOp>(elements));
}

void sequenceAt(OnnxNode &n) {
  n.setOutput(0, n.op<SequenceAtOp>({n.input(0), n.input(1)}, statedType(n, elementOf(n, n.input(0)))));
}

void sequenceErase(OnnxNode &n) {
  SmallVector<Value> operands = {n.input(0)};
  if (n.hasInput(1))
    operands.push_back(n.input(1));
  n.setOutput(0, n.op<SequenceEraseOp>(operands));
}

void sequenceInsert(OnnxNode &n) {
  SmallVector<Value> operands = {n.input(0), n.input(1)};
  if (n.hasInput(2))
    operands.push_back(n.input(2));
  n.setOutput(0, n.op<SequenceInsertOp>(operands));
}

void sequenceLength(OnnxNode &n) { n.setOutput(0, n.op<SequenceLengthOp>(n.input(0))); }

void splitToSequence(OnnxNode &n) {
  SmallVector<Value> operands = {n.input(0)};
  if (n.hasInput(1))
    operands.push_back(n.input(1));
  int64_t axis = n.axis(n.intAttr("axis", 0), n.rank(n.input(0)));
  n.setOutput(0, n.op<SplitToSequenceOp>(operands, {n.attr("axis", axis), n.flag("keepdims", n.intAttr("keepdims", 1) != 0)}));
}

void concatFromSequence(OnnxNode &n) {
  SmallVector<NamedAttribute> attributes = statedType(n, elementOf(n, n.input(0)));
  attributes.push_back(n.attr("axis", n.intAttr("axis")));
  attributes.push_back(n.flag("new_axis", n.intAttr("new_axis", 0) != 0));
  n.setOutput(0, n.op<ConcatFromSequenceOp>(n.input(0), attributes));
}

void optional(OnnxNode &n) {
  if (n.hasInput(0)) {
    n.setOutput(0, n.op<OptionalConstructOp>(n.input(0)));
    return;
  }
  Type type = n.typeAttr("type");
  if (!type)
    n.fail("needs an input or the attribute 'type'");
  Type element = type;
  if (auto sequence = dyn_cast<SequenceType>(element))
    element = sequence.getElementType();
  n.setOutput(0, n.op<OptionalConstructOp>(ValueRange{}, {n.attr("type", TypeAttr::get(type)),
                                                n.attr("dtype", TypeAttr::get(getElementTypeOrSelf(element)))}));
}

void optionalGetElement(OnnxNode &n) {
  Value value = n.input(0);
  // From opset 18 on a tensor or sequence counts as an optional that holds it.
  if (auto optional = dyn_cast<OptionalType>(value.getType()))
    value = n.op<OptionalGetElementOp>(value, statedType(n, optional.getElementType()));
  n.setOutput(0, value);
}

void optionalHasElement(OnnxNode &n) {
  Value value = n.inputOr(0, {});
  if (value && isa<OptionalType>(value.getType()))
    n.setOutput(0, n.op<OptionalHasElementOp>(value));
  else
    n.setOutput(0, n.scalarInt(n.b.getI1Type(), value != nullptr));
}

/// A loop over the positions of sequence 0; the results grow as carried values.
void sequenceMap(OnnxNode &n) {
  Value first = n.input(0);
  elementOf(n, first);
  if (n.graphInputCount("body") != n.numInputs())
    n.fail("its body has " + Twine(n.graphInputCount("body")) + " inputs, the node " + Twine(n.numInputs()));
  SmallVector<Type> stated = n.graphInputTypes("body");
  SmallVector<Value> initial;
  for (unsigned i = 0; i < n.graphOutputs("body").size(); ++i) {
    Type dtype = n.b.getF32Type();
    if (auto sequence = dyn_cast_or_null<SequenceType>(n.statedOutputType(i)))
      dtype = getElementTypeOrSelf(sequence.getElementType());
    initial.push_back(n.op<SequenceEmptyOp>(ValueRange{}, n.attr("dtype", TypeAttr::get(dtype))));
  }
  auto results = buildLoop(
      n, n.op<SequenceLengthOp>(first), {}, initial,
      [&](const LoopArguments &arguments) {
        SmallVector<Value> values;
        for (unsigned i = 0; i < n.numInputs(); ++i) {
          Value value = n.input(i);
          if (auto sequence = dyn_cast<SequenceType>(value.getType())) {
            SmallVector<NamedAttribute> attributes;
            if (isa<NoneType, UnrankedTensorType>(sequence.getElementType()) && stated[i])
              attributes.push_back(n.attr("type", TypeAttr::get(stated[i])));
            value = n.op<SequenceAtOp>({value, arguments.iteration}, attributes);
          }
          values.push_back(value);
        }
        SmallVector<Value> outputs = n.inlineGraph("body", values);
        LoopYield yield;
        for (auto [sequence, element] : llvm::zip(arguments.carried, outputs))
          yield.carried.push_back(n.op<SequenceInsertOp>({sequence, element}));
        return yield;
      },
      &n.loopMemory());
  for (auto [i, value] : llvm::enumerate(results))
    n.setOutput(i, value);
}

} // namespace

void flame::registerSequenceOnnx(OnnxRegistry &registry) {
  registry.add("SequenceEmpty", sequenceEmpty, 11, "", "all");
  registry.add("SequenceConstruct", sequenceConstruct, 11, "", "all");
  registry.add("SequenceAt", sequenceAt, 11, "", "all");
  registry.add("SequenceErase", sequenceErase, 11, "", "all");
  registry.add("SequenceInsert", sequenceInsert, 11, "", "all");
  registry.add("SequenceLength", sequenceLength, 11, "", "all");
  registry.add("SplitToSequence", splitToSequence, 11, "", "all");
  registry.add("ConcatFromSequence", concatFromSequence, 11, "", "all");
  registry.add("Optional", optional, 15, "", "all");
  registry.add("OptionalGetElement", optionalGetElement, 15, "", "all");
  registry.add("OptionalHasElement", optionalHasElement, 15, "", "all");
  registry.add("SequenceMap", sequenceMap, 17, "", "all");
}
