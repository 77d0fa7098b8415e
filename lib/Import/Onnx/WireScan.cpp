//===- WireScan.cpp - takes large tensor payloads out of a serialized model -------------------------------------------===//
#include "WireScan.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;
using namespace flame::onnx;

namespace {

enum class Message : uint8_t {
  Opaque, // copied as it is
  Model,
  Graph,
  Node,
  Attribute,
  Tensor,
  SparseTensor,
  Function,
  ValueInfo,
  Type,
  Wrapper // a sequence or optional type around another type
};

/// The messages that may contain a tensor, or nest.
Message childOf(Message parent, uint64_t field) {
  switch (parent) {
  case Message::Model:
    return field == 7 ? Message::Graph : field == 25 ? Message::Function : Message::Opaque;
  case Message::Graph:
    return field == 1                                    ? Message::Node
           : field == 5                                  ? Message::Tensor
           : field == 15                                 ? Message::SparseTensor
           : field == 11 || field == 12 || field == 13 ? Message::ValueInfo
                                                         : Message::Opaque;
  case Message::Node:
    return field == 5 ? Message::Attribute : Message::Opaque;
  case Message::Attribute:
    return field == 5 || field == 10    ? Message::Tensor
           : field == 6 || field == 11  ? Message::Graph
           : field == 22 || field == 23 ? Message::SparseTensor
           : field == 14 || field == 15 ? Message::Type
                                        : Message::Opaque;
  case Message::SparseTensor:
    return field == 1 || field == 2 ? Message::Tensor : Message::Opaque;
  case Message::Function:
    return field == 7    ? Message::Node
           : field == 11 ? Message::Attribute
           : field == 12 ? Message::ValueInfo
                         : Message::Opaque;
  case Message::ValueInfo:
    return field == 2 ? Message::Type : Message::Opaque;
  case Message::Type:
    return field == 4 || field == 9 ? Message::Wrapper : Message::Opaque;
  case Message::Wrapper:
    return field == 1 ? Message::Type : Message::Opaque;
  case Message::Tensor:
  case Message::Opaque:
    return Message::Opaque;
  }
  return Message::Opaque;
}

/// Fields that no reader of ours looks at and that may be long: documentation, metadata.
bool isDropped(Message parent, uint64_t field) {
  switch (parent) {
  case Message::Model:
    return field == 6 || field == 14 || field == 20 || field == 26;
  case Message::Graph:
    return field == 10 || field == 14 || field == 16;
  case Message::Node:
    return field == 6 || field == 9 || field == 10;
  case Message::Attribute:
    return field == 13;
  case Message::Tensor:
    return field == 12 || field == 16 || field > 100000;
  case Message::Function:
    return field == 8 || field == 14;
  default:
    return false;
  }
}

void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(char(value | 0x80));
  out.push_back(char(value));
}

class Scanner {
public:
  Scanner(StringRef file, uint64_t limit) : file(file), limit(limit) {}

  bool scan(Message kind, uint64_t begin, uint64_t end, unsigned depth, std::string &out);

  std::string error;

private:
  bool fail(uint64_t at, const Twine &what) {
    if (error.empty())
      error = ("byte " + Twine(at) + ": " + what).str();
    return false;
  }
  bool varint(uint64_t &at, uint64_t end, uint64_t &value) {
    value = 0;
    uint64_t start = at;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at >= end)
        return fail(start, "the file ends inside a number; it is truncated or not an ONNX model");
      uint8_t byte = file[at++];
      if (shift < 64)
        value |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return fail(start, "a number has more than ten bytes; this is not an ONNX model");
  }

  StringRef file;
  uint64_t limit;
};

bool Scanner::scan(Message kind, uint64_t begin, uint64_t end, unsigned depth, std::string &out) {
  if (depth > kMaxWireDepth)
    return fail(begin, "messages are nested more than " + Twine(kMaxWireDepth) +
                           " deep (about " + Twine(kMaxWireDepth / 3) + " nested subgraphs); flatten the control flow");
  uint64_t payloadField = 0;
  for (uint64_t at = begin; at < end;) {
    uint64_t start = at, tag, length;
    if (!varint(at, end, tag))
      return false;
    uint64_t field = tag >> 3;
    if (field == 0 || field > 0x1fffffff)
      return fail(start, "field number " + Twine(field) + " is not allowed; this is not an ONNX model");
    switch (tag & 7) {
    case 0:
      if (!varint(at, end, length))
        return false;
      break;
    case 1:
    case 5:
      length = (tag & 7) == 1 ? 8 : 4;
      if (end - at < length)
        return fail(start, "the file ends inside a number; it is truncated or not an ONNX model");
      at += length;
      break;
    case 2: {
      if (!varint(at, end, length))
        return false;
      if (length > end - at)
        return fail(start, "a field of " + Twine(length) + " bytes reaches " + Twine(length - (end - at)) +
                               " bytes past the end; the file is truncated or not an ONNX model");
      uint64_t data = at;
      at += length;
      if (isDropped(kind, field))
        continue;
      if (kind == Message::Tensor && (field == 4 || field == 9 || field == 10)) {
        if (payloadField && (payloadField == 9 || field == 9 || length > limit))
          return fail(start, "a tensor's data comes in several pieces; save the model again with onnx.save");
        payloadField = field;
        if (length > limit) {
          appendVarint(out, uint64_t(100001) << 3);
          appendVarint(out, field);
          appendVarint(out, uint64_t(100002) << 3);
          appendVarint(out, data);
          appendVarint(out, uint64_t(100003) << 3);
          appendVarint(out, length);
          payloadField = 9; // nothing may follow
          continue;
        }
        break;
      }
      Message child = childOf(kind, field);
      if (child == Message::Opaque)
        break;
      std::string inner;
      if (!scan(child, data, at, depth + 1, inner))
        return false;
      appendVarint(out, tag);
      appendVarint(out, inner.size());
      out += inner;
      continue;
    }
    default:
      return fail(start, "wire type " + Twine(tag & 7) + " is not allowed; this is not an ONNX model");
    }
    if (!isDropped(kind, field))
      out.append(file.data() + start, at - start);
  }
  return true;
}

} // namespace

std::string flame::onnx::scanWire(WireKind kind, StringRef bytes, uint64_t limit, std::string &reduced) {
  Scanner scanner(bytes, limit);
  if (!scanner.scan(kind == WireKind::Model ? Message::Model : Message::Tensor, 0, bytes.size(), 0, reduced))
    return scanner.error.empty() ? "malformed" : scanner.error;
  return "";
}
