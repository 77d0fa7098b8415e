//===- GraphBuilder.cpp - creating ops with inferred types ------------------------------------------------------------===//
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/InferenceRules.h"
#include "flame/Ops/Pointwise.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace flame;

void GraphBuilder::fail(const Twine &message) const { throw BuildError(message.str()); }

Operation *GraphBuilder::create(StringRef name, ValueRange operands, ArrayRef<NamedAttribute> attributes,
                                unsigned results) {
  for (Value operand : operands)
    if (!operand)
      fail("internal: '" + name + "' built with a null operand");
  OperationState state(loc, name);
  state.addOperands(operands);
  state.addAttributes(attributes);
  // Placeholder types; inference replaces them before anyone can look.
  state.addTypes(SmallVector<Type>(results, RankedTensorType::get({}, b.getF32Type())));
  Operation *op = b.create(state);
  infer(op);
  return op;
}

/// What no tensor can have: a size without unknowns that is no number of 64 bits, or more bytes than 64 bits count. Empty if
/// there is nothing to say.
static std::string impossibleSize(const ResultInfo &info) {
  int64_t bytes = std::max(dtypeBytes(info.elementType), 1u);
  bool fits = true, isEmpty = false, isKnown = true;
  for (auto [d, dim] : llvm::enumerate(info.dims)) {
    std::optional<int64_t> size = dim.constant();
    if (!size && !dim.hasSymbols())
      return "dimension " + std::to_string(d) + " of its result is " + dim.str() + ", which is no size";
    isKnown &= size.has_value();
    isEmpty |= size == 0;
    fits = fits && !(size && llvm::MulOverflow(bytes, *size, bytes));
  }
  if (fits || isEmpty || !isKnown) // the runtime counts with the sizes that it is given
    return "";
  return "its result of shape " + dimsString(info.dims) + " has more than 2^63 bytes";
}

void GraphBuilder::infer(Operation *op) {
  std::string message, name = op->getName().getStringRef().str();
  unsigned results = op->getNumResults();
  SmallVector<ResultInfo, 2> infos;
  LogicalResult inferred = failure();
  {
    ScopedDiagnosticHandler handler(b.getContext(), [&](Diagnostic &diagnostic) {
      if (message.empty())
        message = diagnostic.str();
      return success();
    });
    inferred = llvm::cast<InferInterface>(op).inferResults(shapes, infos);
  }
  if (failed(inferred) || infos.size() != results) {
    op->erase();
    StringRef text = message;
    text.consume_front("'" + name + "' op ");
    fail(message.empty() ? Twine("internal: '" + Twine(name) + "' infers another number of results") : Twine(text));
  }
  for (const ResultInfo &info : infos)
    if (std::string impossible = info.type ? "" : impossibleSize(info); !impossible.empty()) {
      op->erase();
      fail(impossible);
    }
  for (auto [result, info] : llvm::zip(op->getResults(), infos)) {
    result.setType(ShapeContext::typeOf(info));
    shapes.set(result, std::move(info));
  }
}

Type GraphBuilder::elementType(Value v) {
  auto tensor = dyn_cast<TensorType>(v.getType());
  if (!tensor)
    fail("expected a tensor, got a sequence or an optional value");
  return tensor.getElementType();
}

int64_t GraphBuilder::axis(int64_t axis, int64_t rank, StringRef what) {
  if (axis < -rank || axis >= rank)
    fail(what + " " + Twine(axis) + " is out of range for rank " + Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

SmallVector<int64_t> GraphBuilder::axes(Axes list, int64_t rank, StringRef what) {
  SmallVector<int64_t> result;
  for (int64_t one : list) {
    int64_t normalized = axis(one, rank, what);
    if (llvm::is_contained(result, normalized))
      fail(what + " names axis " + Twine(normalized) + " twice");
    result.push_back(normalized);
  }
  return result;
}
