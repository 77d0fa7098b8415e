//===- ShapeContext.cpp - on-demand symbolic shape analysis -----------------------------------------------------------===//
#include "flame/IR/ShapeContext.h"
#include "flame/IR/Flame.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace flame;

Type ShapeContext::typeOf(const ResultInfo &info) {
  if (info.type)
    return info.type;
  SmallVector<int64_t> shape;
  for (DimExpr dim : info.dims)
    shape.push_back(dim.constant() && *dim.constant() >= 0 ? *dim.constant() : ShapedType::kDynamic);
  return RankedTensorType::get(shape, info.elementType);
}

/// The size that kernels are tuned for, of the dim of that name, from the function's `flame.typical_dims`.
static std::optional<int64_t> typicalSize(Value value, StringRef name) {
  if (auto function = dyn_cast_or_null<func::FuncOp>(value.getParentBlock()->getParentOp()))
    if (auto sizes = function->getAttrOfType<DictionaryAttr>("flame.typical_dims"))
      if (auto size = sizes.getAs<IntegerAttr>(name))
        return size.getInt();
  return std::nullopt;
}

/// The name of dim `d` of a function argument, from its `flame.dims` attribute.
static std::string argumentDimName(Value value, int64_t d) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    if (auto function = dyn_cast_or_null<func::FuncOp>(argument.getOwner()->getParentOp()))
      if (auto names = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "flame.dims"))
        if (d < int64_t(names.size()))
          if (auto name = dyn_cast<StringAttr>(names[d]))
            return name.str();
  return {};
}

ResultInfo ShapeContext::fromType(Value value) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor)
    return ResultInfo::other(value.getType());
  ResultInfo info;
  info.elementType = tensor.getElementType();
  for (auto [d, size] : llvm::enumerate(tensor.getShape())) {
    if (!ShapedType::isDynamic(size)) {
      info.dims.push_back(constant(size));
      continue;
    }
    std::string name = argumentDimName(value, d);
    if (!name.empty())
      for (auto &[symbol, origin] : symbolOrigins)
        if (origin.kind == SymbolOrigin::Dim && dimContext.symbolName(symbol) == name &&
            origin.value.getParentBlock() == value.getParentBlock()) {
          info.dims.push_back(resultDims[{origin.value, origin.index}]);
          break;
        }
    if (info.dims.size() <= d) {
      if (name.empty())
        name = "d" + std::to_string(dimContext.numSymbols());
      DimExpr symbol = dimContext.symbol(name);
      if (auto size = typicalSize(value, name))
        dimContext.setTypical(*symbol.symbol(), *size);
      symbolOrigins[*symbol.symbol()] = {SymbolOrigin::Dim, value, int64_t(d)};
      resultDims[{value, int64_t(d)}] = symbol;
      info.dims.push_back(symbol);
    }
  }
  return info;
}

const ResultInfo &ShapeContext::info(Value value) {
  if (auto it = infos.find(value); it != infos.end())
    return *it->second;
  Operation *op = value.getDefiningOp();
  auto infer = dyn_cast_or_null<InferInterface>(op);
  // What the arguments of a loop body or a kernel are, their op knows.
  if (auto argument = dyn_cast<BlockArgument>(value); argument && !shallow)
    if (auto owner = dyn_cast_or_null<InferInterface>(argument.getOwner()->getParentOp())) {
      SmallVector<ResultInfo, 2> unused;
      (void)owner.inferResults(*this, unused);
      if (auto it = infos.find(value); it != infos.end())
        return *it->second;
    }
  if (!infer || shallow) {
    // Even a shallow look sees constants: reshape's target, reduction axes.
    DenseIntElementsAttr elements;
    if (op && op->getName().getStringRef() == "flame.constant")
      elements = op->getAttrOfType<DenseIntElementsAttr>("value");
    ResultInfo result = fromType(value);
    if (elements && elements.getType().getRank() <= 1 && elements.getNumElements() <= 1024) {
      result.values.emplace();
      for (const APInt &element : elements.getValues<APInt>())
        result.values->push_back(constant(elements.getElementType().isUnsignedInteger() ||
                                                  elements.getElementType().isInteger(1)
                                              ? int64_t(element.getZExtValue())
                                              : element.getSExtValue()));
    }
    set(value, std::move(result));
    return *infos[value];
  }
  // Operands first, without deep recursion: a chain of thousands of ops is normal.
  SmallVector<Value> stack;
  for (Value operand : op->getOperands())
    stack.push_back(operand);
  while (!stack.empty()) {
    Value top = stack.back();
    if (infos.count(top)) {
      stack.pop_back();
      continue;
    }
    Operation *producer = top.getDefiningOp();
    bool ready = true;
    if (isa_and_nonnull<InferInterface>(producer))
      for (Value operand : producer->getOperands())
        if (!infos.count(operand)) {
          stack.push_back(operand);
          ready = false;
        }
    if (ready) {
      info(top);
      stack.pop_back();
    }
  }
  SmallVector<ResultInfo, 2> results;
  if (failed(infer.inferResults(*this, results)) || results.size() != op->getNumResults()) {
    // Only on IR that does not verify; fall back to what the types say.
    for (Value result : op->getResults())
      set(result, fromType(result));
    return *infos[value];
  }
  for (auto [result, info] : llvm::zip(op->getResults(), results)) {
    // The type may know more than the operands tell (a shape stated by the model).
    if (auto tensor = dyn_cast<RankedTensorType>(result.getType()))
      for (auto [dim, size] : llvm::zip(info.dims, tensor.getShape()))
        if (!ShapedType::isDynamic(size) && !dim.constant())
          dim = constant(size);
    set(result, std::move(info));
  }
  return *infos[value];
}

ArrayRef<DimExpr> ShapeContext::dims(Value value) { return info(value).dims; }

DimExpr ShapeContext::dim(Value value, int64_t d) {
  ArrayRef<DimExpr> all = dims(value);
  if (d < 0)
    d += all.size();
  return d >= 0 && d < int64_t(all.size()) ? all[d] : constant(1);
}

DimExpr ShapeContext::numElements(Value value) {
  DimExpr product = constant(1);
  for (DimExpr dim : dims(value))
    product = product * dim;
  return product;
}

std::optional<ArrayRef<DimExpr>> ShapeContext::values(Value value) {
  const ResultInfo &result = info(value);
  if (!result.values)
    return std::nullopt;
  return ArrayRef<DimExpr>(*result.values);
}

std::optional<SmallVector<int64_t>> ShapeContext::constants(Value value) {
  auto known = values(value);
  if (!known)
    return std::nullopt;
  SmallVector<int64_t> numbers;
  for (DimExpr expr : *known) {
    if (!expr.constant())
      return std::nullopt;
    numbers.push_back(*expr.constant());
  }
  return numbers;
}

/// The value outside that an input of a kernel region stands for.
static Value throughRegion(Value value) {
  while (auto argument = dyn_cast<BlockArgument>(value)) {
    Operation *parent = argument.getOwner()->getParentOp();
    if (!parent || parent->getName().getStringRef() != "flame.region")
      break;
    value = parent->getOperand(argument.getArgNumber());
  }
  return value;
}

LogicalResult ShapeContext::require(Operation *op, Requirement::Relation relation, DimExpr a, DimExpr b,
                                    const Twine &message) {
  auto ca = a.constant(), cb = b.constant();
  bool holds = false;
  switch (relation) {
  case Requirement::Equal:
    holds = a == b;
    break;
  case Requirement::LessEqual:
    holds = (b - a).isNonNegative();
    break;
  case Requirement::EqualOrOne:
    holds = a == b || ca == 1 || cb == 1;
    break;
  }
  if (holds)
    return success();
  if (ca && cb)
    return op->emitOpError(message);
  if (!shallow)
    required.push_back({relation, op, a, b, message.str()});
  return success();
}

DimExpr ShapeContext::element(Value value, int64_t index, bool nonNegative) {
  value = throughRegion(value);
  if (auto known = values(value))
    if (index < int64_t(known->size()))
      return (*known)[index];
  DimExpr &symbol = elements[{value, index}];
  if (!symbol) {
    symbol = dimContext.symbol("e" + std::to_string(dimContext.numSymbols()), nonNegative);
    symbolOrigins[*symbol.symbol()] = {SymbolOrigin::Element, value, index};
  }
  return symbol;
}

DimExpr ShapeContext::resultDim(Operation *op, unsigned result, int64_t dim, StringRef hint) {
  return valueDim(op->getResult(result), dim, hint);
}

DimExpr ShapeContext::argumentDim(BlockArgument argument, int64_t dim) { return valueDim(argument, dim, "c"); }

DimExpr ShapeContext::valueDim(Value value, int64_t dim, StringRef hint) {
  DimExpr &symbol = resultDims[{value, dim}];
  if (!symbol) {
    std::string name = (hint.empty() ? StringRef("n") : hint).str() + std::to_string(dimContext.numSymbols());
    symbol = dimContext.symbol(name);
    symbolOrigins[*symbol.symbol()] = {SymbolOrigin::Dim, value, dim};
  }
  return symbol;
}

void ShapeContext::forget(Value value) {
  infos.erase(value);
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor)
    return;
  for (int64_t d = 0; d < tensor.getRank(); ++d)
    resultDims.erase({value, d});
  if (tensor.getElementType().isIntOrIndex() && tensor.getRank() <= 1)
    for (int64_t i = 0; i < 64; ++i)
      elements.erase({value, i});
}

DimExpr ShapeContext::broadcast(DimExpr a, DimExpr b) {
  if (a == b || b.isConstant(1))
    return a;
  if (a.isConstant(1))
    return b;
  if (a.constant() && b.constant())
    return {};
  // A known size other than 1 wins: the other is 1 or equal to it.
  if (a.constant())
    return a;
  if (b.constant())
    return b;
  return max(a, b);
}
