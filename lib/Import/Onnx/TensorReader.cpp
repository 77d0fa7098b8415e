//===- TensorReader.cpp - TensorProto → attribute or weight -----------------------------------------------------------===//
#include "TensorReader.h"
#include "flame/Import/Onnx.h"
#include "WireScan.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/InterleavedRange.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace mlir;
using namespace flame;
using namespace flame::onnx;

namespace {
enum DataField { FloatData = 4, RawData = 9, DoubleData = 10 };
constexpr int kExternal = 1; // TensorProto.DataLocation

/// Elements an encoded byte holds (sub-byte types are packed, low bits first).
unsigned elementsPerByte(Type elementType) {
  unsigned bits = elementType.isIntOrFloat() ? elementType.getIntOrFloatBitWidth() : 8;
  return bits == 4 ? 2 : bits == 2 ? 4 : 1;
}

/// Bytes of the encoded form.
uint64_t encodedBytes(RankedTensorType type) {
  uint64_t count = type.getNumElements();
  unsigned packed = elementsPerByte(type.getElementType());
  return packed > 1 ? (count + packed - 1) / packed : count * dtypeBytes(type.getElementType());
}

[[noreturn]] void failSize(const TensorProto &tensor, RankedTensorType type, uint64_t actual, uint64_t needed,
                           StringRef unit) {
  std::string text;
  llvm::raw_string_ostream(text) << "tensor '" << tensor.name() << "' holds " << actual << " " << unit << ", its type "
                                 << dtypeName(type.getElementType()) << "[" << llvm::interleaved(type.getShape(), ",")
                                 << "] needs " << needed << "; the model is damaged, export it again";
  throw BuildError(text);
}

template <typename T> void appendBytes(std::string &out, T value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof(T));
}
} // namespace

void flame::onnx::checkName(StringRef name, StringRef what) {
  if (name.contains('\0'))
    throw BuildError((what + " '" + name.take_front(name.find('\0')) + "…' contains a NUL character; rename it").str());
  if (!llvm::json::isUTF8(name))
    throw BuildError((what + " '" + llvm::json::fixUTF8(name) + "' is not valid UTF-8; rename it").str());
}

Type TensorReader::elementType(int64_t code) {
  Type type = code > 0 && code < 1000 ? dtypeFromCode(context, int(code)) : Type();
  if (!type)
    throw BuildError("element type " + std::to_string(code) +
                     " is unknown; the model is damaged or newer than this version of flame");
  return type;
}

RankedTensorType TensorReader::type(const TensorProto &tensor) {
  checkName(tensor.name(), "tensor");
  Type element = elementType(tensor.data_type());
  SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
  int64_t count = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0)
      throw BuildError("tensor '" + tensor.name() + "' has a negative size " + std::to_string(size));
    empty |= size == 0;
    if (size && llvm::MulOverflow(count, size, count))
      throw BuildError("tensor '" + tensor.name() + "' has more than 2^63 elements");
  }
  if (!empty && count > (int64_t(1) << 55))
    throw BuildError("tensor '" + tensor.name() + "' has " + std::to_string(count) + " elements, which no file can hold");
  if (shape.size() > 64)
    throw BuildError("tensor '" + tensor.name() + "' has rank " + std::to_string(shape.size()) + "; at most 64 is possible");
  return RankedTensorType::get(shape, element);
}

FilePiece TensorReader::external(const TensorProto &tensor, uint64_t needed) {
  StringRef location, offset, length;
  for (const StringStringEntryProto &entry : tensor.external_data()) {
    StringRef key = entry.key();
    (key == "location" ? location : key == "offset" ? offset : length) =
        key == "location" || key == "offset" || key == "length" ? StringRef(entry.value()) : length;
  }
  try {
    return folder.locate(location, offset, length, needed);
  } catch (const BuildError &error) {
    throw BuildError("tensor '" + tensor.name() + "': " + error.what());
  }
}

std::optional<FilePiece> TensorReader::piece(const TensorProto &tensor, uint64_t limit) {
  RankedTensorType tensorType = type(tensor);
  Type element = tensorType.getElementType();
  if (isa<StringType>(element) || elementsPerByte(element) > 1)
    return std::nullopt;
  uint64_t needed = encodedBytes(tensorType);
  if (needed <= limit)
    return std::nullopt;
  if (tensor.data_location() == kExternal)
    return external(tensor, needed);
  if (!tensor.has_lifted_offset())
    return std::nullopt;
  auto complex = dyn_cast<ComplexType>(element);
  Type scalar = complex ? complex.getElementType() : element;
  bool direct = tensor.lifted_field() == RawData || (tensor.lifted_field() == FloatData && scalar.isF32()) ||
                (tensor.lifted_field() == DoubleData && scalar.isF64());
  if (!direct)
    return std::nullopt;
  if (tensor.lifted_length() != needed)
    failSize(tensor, tensorType, tensor.lifted_length(), needed, "bytes");
  return FilePiece{modelFile.str(), tensor.lifted_offset(), needed};
}

StringRef TensorReader::rawBytes(const TensorProto &tensor, RankedTensorType type, std::string &scratch) {
  Type element = type.getElementType();
  uint64_t count = type.getNumElements(), needed = encodedBytes(type);
  auto check = [&](uint64_t actual, uint64_t expected, StringRef unit) {
    if (actual != expected)
      failSize(tensor, type, actual, expected, unit);
  };
  if (tensor.data_location() == kExternal) {
    scratch = folder.read(external(tensor, needed));
    return scratch;
  }
  auto complex = dyn_cast<ComplexType>(element);
  Type scalar = complex ? complex.getElementType() : element;
  unsigned parts = complex ? 2 : 1;
  if (tensor.has_lifted_offset()) {
    bool right = tensor.lifted_field() == RawData || (tensor.lifted_field() == FloatData && scalar.isF32()) ||
                 (tensor.lifted_field() == DoubleData && scalar.isF64());
    if (!right)
      throw BuildError("tensor '" + tensor.name() + "' of type " + dtypeName(element) +
                       " holds its data in the field of another type; the model is damaged, export it again");
    check(tensor.lifted_length(), needed, "bytes");
    return modelBytes.substr(tensor.lifted_offset(), needed);
  }
  if (tensor.has_raw_data()) {
    check(tensor.raw_data().size(), needed, "bytes");
    return tensor.raw_data();
  }
  if (scalar.isF32()) {
    check(tensor.float_data_size(), count * parts, "numbers");
    return {reinterpret_cast<const char *>(tensor.float_data().data()), size_t(needed)};
  }
  if (scalar.isF64()) {
    check(tensor.double_data_size(), count * parts, "numbers");
    return {reinterpret_cast<const char *>(tensor.double_data().data()), size_t(needed)};
  }
  if (element.isInteger(64) && !element.isUnsignedInteger()) {
    check(tensor.int64_data_size(), count, "numbers");
    return {reinterpret_cast<const char *>(tensor.int64_data().data()), size_t(needed)};
  }
  if (element.isUnsignedInteger(64)) {
    check(tensor.uint64_data_size(), count, "numbers");
    return {reinterpret_cast<const char *>(tensor.uint64_data().data()), size_t(needed)};
  }
  if (element.isUnsignedInteger(32)) {
    check(tensor.uint64_data_size(), count, "numbers");
    for (uint64_t number : tensor.uint64_data())
      appendBytes(scratch, uint32_t(number));
    return scratch;
  }
  // Everything narrower is in int32_data: numbers, bit patterns of small floats, packed bytes of sub-byte types.
  unsigned bytes = dtypeBytes(element);
  check(tensor.int32_data_size(), needed / bytes, "numbers");
  for (int32_t number : tensor.int32_data()) {
    if (bytes == 1)
      appendBytes(scratch, uint8_t(number));
    else if (bytes == 2)
      appendBytes(scratch, uint16_t(number));
    else
      appendBytes(scratch, number);
  }
  return scratch;
}

ElementsAttr TensorReader::elements(const TensorProto &tensor) {
  RankedTensorType tensorType = type(tensor);
  Type element = tensorType.getElementType();
  uint64_t count = tensorType.getNumElements();
  if (isa<StringType>(element)) {
    if (tensor.data_location() == kExternal || tensor.has_raw_data() || tensor.has_lifted_offset())
      throw BuildError("tensor '" + tensor.name() + "' of strings must hold them in string_data");
    if (uint64_t(tensor.string_data_size()) != count)
      failSize(tensor, tensorType, tensor.string_data_size(), count, "strings");
    SmallVector<StringRef> strings(tensor.string_data().begin(), tensor.string_data().end());
    return cast<ElementsAttr>(Attribute(DenseStringElementsAttr::get(tensorType, strings)));
  }
  std::string scratch;
  StringRef raw = rawBytes(tensor, tensorType, scratch);
  if (element.isInteger(1)) {
    SmallVector<bool> flags;
    flags.reserve(count);
    for (char byte : raw)
      flags.push_back(byte != 0);
    return DenseElementsAttr::get(tensorType, flags);
  }
  if (unsigned packed = elementsPerByte(element); packed > 1) {
    unsigned bits = 8 / packed;
    bool isSigned = element.isSignlessInteger();
    std::string wide(count, '\0');
    for (uint64_t i = 0; i < count; ++i) {
      uint8_t value = (uint8_t(raw[i / packed]) >> (bits * (i % packed))) & ((1 << bits) - 1);
      wide[i] = isSigned ? char(llvm::SignExtend32(value, bits)) : char(value);
    }
    return DenseElementsAttr::getFromRawBuffer(tensorType, ArrayRef<char>(wide.data(), wide.size()));
  }
  return DenseElementsAttr::getFromRawBuffer(tensorType, ArrayRef<char>(raw.data(), raw.size()));
}

ElementsAttr TensorReader::elements(const SparseTensorProto &sparse) {
  ElementsAttr values = elements(sparse.values());
  TensorProto shapeOnly;
  shapeOnly.set_name(sparse.values().name());
  shapeOnly.set_data_type(sparse.values().data_type());
  *shapeOnly.mutable_dims() = sparse.dims();
  RankedTensorType dense = type(shapeOnly);
  std::string who = "sparse tensor '" + sparse.values().name() + "'";
  if (!isNumeric(dense.getElementType()))
    throw BuildError(who + " has element type " + dtypeName(dense.getElementType()) + ", which can't be sparse here");
  auto stored = cast<DenseElementsAttr>(values);
  uint64_t total = dense.getNumElements(), bytes = dtypeBytes(dense.getElementType());
  // The dense form exists in memory: a bound far above any sparse initializer, far below harm.
  if (total * bytes > (uint64_t(1) << 31))
    throw BuildError(who + " has " + std::to_string(total) + " elements when dense, more than 2 GiB; store it dense");
  auto indices = dyn_cast<DenseIntElementsAttr>(elements(sparse.indices()));
  int64_t rank = dense.getRank(), count = stored.getNumElements();
  if (!indices || !indices.getElementType().isSignlessInteger(64) ||
      !(indices.getType().getRank() == 1 || indices.getType().getRank() == 2) ||
      indices.getType().getDimSize(0) != count ||
      (indices.getType().getRank() == 2 && indices.getType().getDimSize(1) != rank))
    throw BuildError(who + " needs int64 indices of shape [" + std::to_string(count) + "] or [" + std::to_string(count) +
                     ", " + std::to_string(rank) + "]");
  bool isBool = dense.getElementType().isInteger(1);
  std::string raw(total * bytes, '\0');
  SmallVector<bool> flags(isBool ? total : 0, false);
  auto numbers = indices.getValues<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    int64_t position = 0;
    for (int64_t d = 0, depth = indices.getType().getRank() == 2 ? rank : 1; d < depth; ++d) {
      int64_t index = numbers[i * depth + d], size = depth == rank && depth > 0 && indices.getType().getRank() == 2
                                                         ? dense.getDimSize(d)
                                                         : int64_t(total);
      if (index < 0 || index >= size)
        throw BuildError(who + ": index " + std::to_string(index) + " is out of range for size " + std::to_string(size));
      position = position * size + index;
    }
    if (isBool)
      flags[position] = stored.getValues<bool>()[i];
    else
      std::memcpy(raw.data() + position * bytes, stored.getRawData().data() + (stored.isSplat() ? 0 : i * bytes), bytes);
  }
  return isBool ? ElementsAttr(DenseElementsAttr::get(dense, flags))
                : ElementsAttr(DenseElementsAttr::getFromRawBuffer(dense, ArrayRef<char>(raw.data(), raw.size())));
}

Type TensorReader::typeOf(const TypeProto &type, SmallVectorImpl<std::string> *symbolic) {
  switch (type.value_case()) {
  case TypeProto::VALUE_NOT_SET:
    return {};
  case TypeProto::kTensorType: {
    const TypeProto::Tensor &tensor = type.tensor_type();
    if (!tensor.has_elem_type() || tensor.elem_type() == 0)
      return {};
    Type element = elementType(tensor.elem_type());
    if (!tensor.has_shape())
      return UnrankedTensorType::get(element);
    SmallVector<int64_t> shape;
    int64_t count = 1;
    for (const TensorShapeProto::Dimension &dim : tensor.shape().dim()) {
      // -1 stands for an unknown size in files of some exporters.
      bool known = dim.has_dim_value() && dim.dim_value() != -1;
      if (known && dim.dim_value() < 0)
        throw BuildError("a size in its shape is negative: " + std::to_string(dim.dim_value()));
      if (known && dim.dim_value() && llvm::MulOverflow(count, dim.dim_value(), count))
        throw BuildError("its shape has more than 2^63 elements");
      shape.push_back(known ? dim.dim_value() : ShapedType::kDynamic);
      if (dim.has_dim_param())
        checkName(dim.dim_param(), "dimension");
      if (symbolic)
        symbolic->push_back(dim.has_dim_param() ? dim.dim_param() : "");
    }
    if (count > (int64_t(1) << 55))
      throw BuildError("its shape has " + std::to_string(count) + " elements, more than any memory");
    if (shape.size() > 64)
      throw BuildError("its rank is " + std::to_string(shape.size()) + "; at most 64 is possible");
    return RankedTensorType::get(shape, element);
  }
  case TypeProto::kSequenceType:
  case TypeProto::kOptionalType: {
    bool sequence = type.value_case() == TypeProto::kSequenceType;
    Type element = typeOf(sequence ? type.sequence_type().elem_type() : type.optional_type().elem_type());
    if (!element)
      return {};
    // Many exporters write the empty shape for tensors of any shape in a sequence.
    if (auto tensor = dyn_cast<RankedTensorType>(element); sequence && tensor && tensor.getRank() == 0)
      element = UnrankedTensorType::get(tensor.getElementType());
    return sequence ? Type(SequenceType::get(context, element)) : Type(OptionalType::get(context, element));
  }
  case TypeProto::kMapType:
    throw BuildError("maps are not supported; use tensors of keys and values");
  case TypeProto::kOpaqueType:
    throw BuildError("opaque types are not supported");
  case TypeProto::kSparseTensorType:
    throw BuildError("sparse inputs and outputs are not supported; make the tensor dense");
  }
  return {};
}

ElementsAttr flame::readOnnxTensor(MLIRContext *context, StringRef bytes, std::string &name, std::string &error) {
  context->getOrLoadDialect<FlameDialect>();
  std::string reduced;
  error = scanWire(WireKind::Tensor, bytes, ~uint64_t(0), reduced);
  TensorProto tensor;
  if (error.empty() && !tensor.ParseFromString(reduced))
    error = "not a serialized tensor (TensorProto)";
  if (!error.empty())
    return {};
  ModelFolder nowhere("");
  try {
    name = tensor.name();
    return TensorReader(context, bytes, "", nowhere).elements(tensor);
  } catch (const BuildError &problem) {
    error = problem.what();
    return {};
  }
}
