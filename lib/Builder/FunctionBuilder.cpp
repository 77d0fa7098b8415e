//===- FunctionBuilder.cpp - see FunctionBuilder.h
//--------------------------------------------------------------------===//
#include "flame/Builder/FunctionBuilder.h"

using namespace mlir;
using namespace flame;

ModuleOp FunctionBuilder::begin(StringRef name) {
  Location loc = NameLoc::get(builder.getStringAttr(name));
  auto module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module.getBody());
  function = func::FuncOp::create(builder, loc, "main", builder.getFunctionType({}, {}));
  entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  return module;
}

DictionaryAttr FunctionBuilder::named(StringRef name, ArrayRef<NamedAttribute> more) {
  SmallVector<NamedAttribute> attributes = {builder.getNamedAttr("flame.name", builder.getStringAttr(name))};
  attributes.append(more.begin(), more.end());
  return builder.getDictionaryAttr(attributes);
}

Value FunctionBuilder::addInput(StringRef name, Type type, ArrayRef<Attribute> dims) {
  SmallVector<NamedAttribute> more;
  if (isa<RankedTensorType>(type))
    more.push_back(builder.getNamedAttr("flame.dims", builder.getArrayAttr(dims)));
  Value argument = entry->addArgument(type, NameLoc::get(builder.getStringAttr(name)));
  argumentAttrs.push_back(named(name, more));
  // Inference reads the names of symbolic dims from the attributes.
  function.setType(builder.getFunctionType(entry->getArgumentTypes(), {}));
  function.setAllArgAttrs(argumentAttrs);
  return argument;
}

void FunctionBuilder::setTypical(StringRef dim, int64_t size) {
  typicalDims.push_back(builder.getNamedAttr(dim, builder.getI64IntegerAttr(size)));
  function->setAttr("flame.typical_dims", builder.getDictionaryAttr(typicalDims));
}

Value FunctionBuilder::first(Location loc, StringRef op, ArrayRef<NamedAttribute> attributes) {
  OpBuilder::InsertionGuard guard(builder);
  if (lastConstant)
    builder.setInsertionPointAfter(lastConstant);
  else
    builder.setInsertionPointToStart(entry);
  lastConstant = GraphBuilder(builder, loc, shapes).create(op, {}, attributes);
  return lastConstant->getResult(0);
}

Value FunctionBuilder::constant(ElementsAttr value, Location loc) {
  return first(loc, "flame.constant", builder.getNamedAttr("value", value));
}

Value FunctionBuilder::weight(StringRef name, WeightRefAttr ref, RankedTensorType type, Location loc) {
  return first(loc, "flame.weight",
               {builder.getNamedAttr("name", builder.getStringAttr(name)), builder.getNamedAttr("ref", ref),
                builder.getNamedAttr("type", TypeAttr::get(type))});
}

void FunctionBuilder::addResult(StringRef name, Value value) {
  results.push_back(value);
  resultAttrs.push_back(named(name));
}

void FunctionBuilder::finish() {
  func::ReturnOp::create(builder, function.getLoc(), results);
  function.setType(builder.getFunctionType(entry->getArgumentTypes(), ValueRange(results).getTypes()));
  function.setAllArgAttrs(argumentAttrs);
  function.setResAttrsAttr(builder.getArrayAttr(resultAttrs));
}
