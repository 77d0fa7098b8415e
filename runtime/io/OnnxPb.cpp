//===- OnnxPb.cpp - see OnnxPb.h ------------------------------------------===//
//
// Field numbers are those that ONNX publishes in onnx.proto.
//
//===----------------------------------------------------------------------===//

#include "OnnxPb.h"

#include <cstring>
#include <optional>

namespace flame::io {

namespace {

using Bytes = std::span<const uint8_t>;

struct Field {
  uint32_t number;
  int wire;       // 0 varint, 1 fixed64, 2 bytes, 5 fixed32
  uint64_t value; // varint, fixed
  Bytes bytes;
};

class Message {
public:
  Message(Bytes bytes, const std::string &name) : reader(bytes, name) {}

  bool next(Field &field) {
    if (reader.left() == 0)
      return false;
    const uint64_t tag = varint();
    field = {static_cast<uint32_t>(tag >> 3), static_cast<int>(tag & 7), 0, {}};
    if (tag >> 3 == 0 || tag >> 32)
      bad();
    switch (field.wire) {
    case 0:
      field.value = varint();
      break;
    case 1:
      field.value = reader.number<uint64_t>();
      break;
    case 2:
      field.bytes = reader.take(length());
      break;
    case 5:
      field.value = reader.number<uint32_t>();
      break;
    default:
      bad();
    }
    return true;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const uint8_t byte = reader.number<uint8_t>();
      value |= shift < 64 ? static_cast<uint64_t>(byte & 0x7F) << shift : 0;
      if (!(byte & 0x80))
        return value;
    }
    bad();
  }
  bool empty() const { return reader.left() == 0; }
  ByteReader &raw() { return reader; }
  [[noreturn]] void bad() const { reader.fail("it is not a valid ONNX protobuf of the expected kind"); }

private:
  size_t length() {
    const uint64_t value = varint();
    if (value > reader.left())
      reader.fail("it is truncated");
    return value;
  }
  ByteReader reader;
};

/// Values of a repeated numeric field, packed or not, as raw 64-bit patterns.
void appendNumbers(std::vector<uint64_t> &out, const Field &field, int wire, const std::string &name) {
  if (field.wire == wire) {
    out.push_back(field.value);
    return;
  }
  Message packed(field.bytes, name);
  if (field.wire != 2)
    packed.bad();
  while (!packed.empty())
    out.push_back(wire == 0   ? packed.varint()
                  : wire == 1 ? packed.raw().number<uint64_t>()
                              : packed.raw().number<uint32_t>());
}

int bitsOf(flame_dtype dtype) {
  switch (dtype) {
  case FLAME_U4:
  case FLAME_I4:
  case FLAME_F4E2M1FN:
    return 4;
  case FLAME_U2:
  case FLAME_I2:
    return 2;
  default:
    return static_cast<int>(flame_dtype_size(dtype)) * 8;
  }
}

/// Elements narrower than a byte, lowest bits first.
void unpack(Bytes packed, int bits, const Value &out) {
  auto *to = static_cast<uint8_t *>(out.data());
  const size_t perByte = 8 / bits, count = out.elements();
  for (size_t i = 0; i < count; ++i)
    to[i] = static_cast<uint8_t>(packed[i / perByte] >> (i % perByte * bits));
}

Value tensorProto(Bytes bytes, const std::string &name) {
  std::vector<uint64_t> dims, floats, ints32, ints64, doubles, unsigned64;
  std::vector<Bytes> strings;
  std::optional<Bytes> raw;
  uint64_t type = 0;
  Message message(bytes, name);
  for (Field f; message.next(f);) {
    switch (f.number) {
    case 1:
      appendNumbers(dims, f, 0, name);
      break;
    case 2:
      type = f.value;
      break;
    case 3:
      message.raw().fail("it holds a segment of a tensor, which is not supported");
    case 4:
      appendNumbers(floats, f, 5, name);
      break;
    case 5:
      appendNumbers(ints32, f, 0, name);
      break;
    case 6:
      if (f.wire != 2)
        message.bad();
      strings.push_back(f.bytes);
      break;
    case 7:
      appendNumbers(ints64, f, 0, name);
      break;
    case 9:
      if (f.wire != 2)
        message.bad();
      raw = f.bytes;
      break;
    case 10:
      appendNumbers(doubles, f, 1, name);
      break;
    case 11:
      appendNumbers(unsigned64, f, 0, name);
      break;
    case 13:
      message.raw().fail("its data is in another file, which is not supported here");
    default: // name, doc_string, metadata
      break;
    }
  }
  if (type == 0 || type > FLAME_I2)
    message.raw().fail("it has the unknown element type " + std::to_string(type));
  const auto dtype = static_cast<flame_dtype>(type);
  const std::vector<int64_t> shape(dims.begin(), dims.end());
  const uint64_t count = countElements(name, shape);
  auto wrongCount = [&](uint64_t got) {
    message.raw().fail("its shape has " + std::to_string(count) + " elements, its data " + std::to_string(got));
  };

  if (dtype == FLAME_STRING) {
    if (strings.size() != count)
      wrongCount(strings.size());
    std::vector<std::string> texts;
    for (Bytes text : strings)
      texts.emplace_back(text.begin(), text.end());
    return Value::strings(shape, texts);
  }

  const int bits = bitsOf(dtype);
  if (raw) {
    Value out = makeTensor(name, dtype, shape, raw->size(), bits);
    if (raw->size() != (count * bits + 7) / 8)
      wrongCount(raw->size() * 8 / bits);
    if (bits < 8)
      unpack(*raw, bits, out);
    else if (!raw->empty())
      std::memcpy(out.data(), raw->data(), raw->size());
    normaliseElements(out);
    return out;
  }

  const std::vector<uint64_t> *source = &ints32;
  uint64_t expected = count;
  int unit = bits / 8; // bytes that each number of the field contributes
  switch (dtype) {
  case FLAME_F32:
    source = &floats;
    break;
  case FLAME_C64:
    source = &floats;
    unit = 4;
    expected *= 2;
    break;
  case FLAME_F64:
    source = &doubles;
    break;
  case FLAME_C128:
    source = &doubles;
    unit = 8;
    expected *= 2;
    break;
  case FLAME_I64:
    source = &ints64;
    break;
  case FLAME_U64:
  case FLAME_U32:
    source = &unsigned64;
    break;
  default:
    break;
  }
  if (bits < 8) {
    std::vector<uint8_t> packed(source->begin(), source->end());
    if (packed.size() != (count * bits + 7) / 8)
      wrongCount(packed.size() * 8 / bits);
    Value out = makeTensor(name, dtype, shape, packed.size(), bits);
    unpack(packed, bits, out);
    normaliseElements(out);
    return out;
  }
  if (source->size() != expected)
    wrongCount(source->size() * unit * 8 / bits);
  Value out = makeTensor(name, dtype, shape, source->size() * unit, bits);
  auto *to = static_cast<uint8_t *>(out.data());
  for (uint64_t number : *source) {
    for (int b = 0; b < unit; ++b)
      *to++ = static_cast<uint8_t>(number >> (8 * b));
  }
  normaliseElements(out);
  return out;
}

Value sequenceProto(Bytes bytes, const std::string &name) {
  std::vector<Value> items;
  Message message(bytes, name);
  uint64_t elementKind = 0;
  for (Field f; message.next(f);) {
    if (f.number == 2)
      elementKind = f.value;
    else if (f.number == 3 && f.wire == 2)
      items.push_back(tensorProto(f.bytes, name));
    else if (f.number >= 4 && f.number <= 7)
      message.raw().fail("it holds a sequence of something else than tensors, which is not supported");
  }
  if (elementKind > 1)
    message.raw().fail("it holds a sequence of something else than tensors, which is not supported");
  for (const Value &item : items)
    if (item.dtype() != items[0].dtype())
      message.raw().fail("the tensors of its sequence differ in element type");
  return Value::sequence(items.empty() ? FLAME_F32 : items[0].dtype(), items);
}

Value optionalProto(Bytes bytes, const std::string &name) {
  Value content;
  Message message(bytes, name);
  for (Field f; message.next(f);) {
    if (f.number == 3 && f.wire == 2)
      content = tensorProto(f.bytes, name);
    else if (f.number == 5 && f.wire == 2)
      content = sequenceProto(f.bytes, name);
    else if (f.number == 4 || f.number == 6 || f.number == 7)
      message.raw().fail("it holds an optional of something else than a tensor or a sequence, which is not supported");
  }
  return Value::optional(content);
}

} // namespace

Value parseOnnxPb(std::span<const uint8_t> bytes, const std::string &name, flame_kind kind) {
  switch (kind) {
  case FLAME_SEQUENCE:
    return sequenceProto(bytes, name);
  case FLAME_OPTIONAL:
    return optionalProto(bytes, name);
  default:
    return tensorProto(bytes, name);
  }
}

Value readOnnxPb(const std::string &path, flame_kind kind) { return parseOnnxPb(readFile(path), path, kind); }

} // namespace flame::io
