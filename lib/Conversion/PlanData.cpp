//===- PlanData.cpp - constants, weights and attributes of a plan -----------------------------------------------------===//
#include "PlanBuilder.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace flame;
using model::Storage;

/// The bytes of a constant as the runtime stores it: one element after the other, types under 8 bits a byte each.
static bool appendElements(ElementsAttr value, std::vector<uint8_t> &data) {
  auto type = cast<ShapedType>(value.getType());
  unsigned bytes = dtypeBytes(type.getElementType());
  auto append = [&](const APInt &bits) {
    // Types under 8 bits are sign-extended where signed, as the storage type wants.
    Type element = type.getElementType();
    APInt wide = bits;
    if (bits.getBitWidth() < 8 * bytes) {
      bool isSigned = element.isSignlessInteger() && !element.isInteger(1);
      wide = isSigned ? bits.sext(8 * bytes) : bits.zext(8 * bytes);
    }
    const uint64_t *words = wide.getRawData();
    const uint8_t *raw = reinterpret_cast<const uint8_t *>(words);
    data.insert(data.end(), raw, raw + bytes);
  };
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return false;
    ArrayRef<char> raw = blob->getData();
    data.insert(data.end(), raw.begin(), raw.end());
    return true;
  }
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return false;
  unsigned width = type.getElementType().isIntOrFloat() ? type.getElementType().getIntOrFloatBitWidth() : 0;
  if (!dense.isSplat() && width >= 8 && width == 8 * bytes) {
    ArrayRef<char> raw = dense.getRawData();
    data.insert(data.end(), raw.begin(), raw.end());
    return true;
  }
  if (isa<FloatType>(type.getElementType())) {
    for (const APFloat &element : dense.getValues<APFloat>())
      append(element.bitcastToAPInt());
    return true;
  }
  if (type.getElementType().isIntOrIndex()) {
    for (const APInt &element : dense.getValues<APInt>())
      append(element);
    return true;
  }
  return false;
}

LogicalResult PlanBuilder::addConstant(Operation *op) {
  auto value = op->getAttrOfType<ElementsAttr>("value");
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  model::Constant constant;
  constant.dtype = dtypeCode(type.getElementType());
  constant.dims.assign(type.getShape().begin(), type.getShape().end());
  if (isa<StringType>(type.getElementType())) {
    if (auto strings = dyn_cast_or_null<DenseStringElementsAttr>(value))
      for (StringRef text : strings.getValues<StringRef>())
        constant.strings.push_back(text.str());
  } else if (!value || !appendElements(value, constant.data)) {
    return op->emitOpError("holds a value of a kind that a plan can't store");
  }
  int32_t slot = addSlot(op->getResult(0), Storage::Constant, -1);
  plan.slots[slot].source = plan.constants.size();
  plan.constants.push_back(std::move(constant));
  return success();
}

int32_t PlanBuilder::fileIndex(StringRef path, Operation *op) {
  for (auto [i, file] : llvm::enumerate(plan.files))
    if (file.path == path)
      return i;
  uint64_t size = 0;
  llvm::SmallString<256> full(options.modelFolder);
  llvm::sys::path::append(full, path);
  if (llvm::sys::fs::file_size(full, size)) {
    op->emitOpError("has its weights in '") << full << "', which can't be read";
    return -1;
  }
  plan.files.push_back({path.str(), size});
  return plan.files.size() - 1;
}

LogicalResult PlanBuilder::addWeight(Operation *op) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  auto ref = op->getAttrOfType<WeightRefAttr>("ref");
  model::Param param;
  if (auto name = op->getAttrOfType<StringAttr>("name"))
    param.name = name.str();
  param.dtype = dtypeCode(type.getElementType());
  param.dims.assign(type.getShape().begin(), type.getShape().end());
  if (options.embedWeights) {
    llvm::SmallString<256> full(options.modelFolder);
    llvm::sys::path::append(full, ref.getFile());
    auto slice = llvm::MemoryBuffer::getFileSlice(full, ref.getLength(), ref.getOffset());
    if (!slice)
      return op->emitOpError("has its weights in '") << full << "', which can't be read: " << slice.getError().message();
    model::Constant constant;
    constant.dtype = param.dtype;
    constant.dims = param.dims;
    constant.data.assign((*slice)->getBufferStart(), (*slice)->getBufferEnd());
    param.embedded = plan.constants.size();
    param.length = constant.data.size();
    plan.constants.push_back(std::move(constant));
  } else {
    param.file = fileIndex(ref.getFile(), op);
    if (param.file == -1)
      return failure();
    param.offset = ref.getOffset();
    param.length = ref.getLength();
  }
  int32_t slot = addSlot(op->getResult(0), Storage::Param, -1);
  plan.slots[slot].source = plan.params.size();
  plan.slots[slot].name = param.name;
  plan.params.push_back(std::move(param));
  return success();
}

LogicalResult PlanBuilder::attributes(Operation *op, std::vector<model::Attribute> &list) {
  for (NamedAttribute named : op->getAttrs()) {
    model::Attribute attribute;
    attribute.name = named.getName().str();
    std::function<bool(Attribute)> add = [&](Attribute value) {
      if (auto boolean = dyn_cast<BoolAttr>(value))
        attribute.ints.push_back(boolean.getValue());
      else if (auto integer = dyn_cast<IntegerAttr>(value))
        attribute.ints.push_back(integer.getValue().getSExtValue());
      else if (auto real = dyn_cast<FloatAttr>(value))
        attribute.floats.push_back(real.getValueAsDouble());
      else if (auto text = dyn_cast<StringAttr>(value))
        attribute.strings.push_back(text.str());
      else if (auto type = dyn_cast<TypeAttr>(value))
        attribute.ints.push_back(dtypeCode(getElementTypeOrSelf(type.getValue())));
      else if (auto ints = dyn_cast<DenseI64ArrayAttr>(value))
        attribute.ints.assign(ints.asArrayRef().begin(), ints.asArrayRef().end());
      else if (auto reals = dyn_cast<DenseF64ArrayAttr>(value))
        attribute.floats.assign(reals.asArrayRef().begin(), reals.asArrayRef().end());
      else if (auto reals = dyn_cast<DenseF32ArrayAttr>(value))
        attribute.floats.assign(reals.asArrayRef().begin(), reals.asArrayRef().end());
      else if (auto array = dyn_cast<ArrayAttr>(value))
        return llvm::all_of(array, add);
      else
        return false;
      return true;
    };
    if (!add(named.getValue()))
      return op->emitOpError("has the attribute '") << attribute.name << "', of a kind that a plan can't store";
    list.push_back(std::move(attribute));
  }
  return success();
}
