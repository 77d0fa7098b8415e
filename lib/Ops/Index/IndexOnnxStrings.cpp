//===- IndexOnnxStrings.cpp - movement of strings ---------------------------------------------------------------------===//
#include "flame/Import/StringMovement.h"
#include "flame/Ops/Index.h"

using namespace mlir;
using namespace flame;

OnnxRegistry::Import flame::movingStrings(OnnxRegistry::Import import) {
  return [import = std::move(import)](OnnxNode &n) {
    SmallVector<Value> operands{Value()};
    DimExpr offset = n.shapes.constant(0);
    Type i64 = n.b.getI64Type();
    for (Value &input : n.inputs) {
      auto type = input ? dyn_cast<RankedTensorType>(input.getType()) : RankedTensorType();
      if (!type || !isa<StringType>(type.getElementType()))
        continue;
      operands.push_back(input);
      SmallVector<DimExpr> dims(n.dims(input));
      DimExpr count = n.shapes.numElements(input);
      Value positions = n.iota(count, i64);
      if (!offset.isConstant(0))
        positions = n.add(positions, n.shapeTensor(offset));
      input = n.reshape(positions, dims);
      offset = offset + count;
    }
    import(n);
    if (operands.size() == 1)
      return;
    for (Value &output : n.outputs)
      if (output) {
        operands[0] = output;
        output = n.op<TakeElementsOp>(operands);
      }
  };
}
