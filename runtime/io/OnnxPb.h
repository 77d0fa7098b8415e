//===- OnnxPb.h - ONNX TensorProto, SequenceProto and OptionalProto files -===//
//
// The test data of ONNX models (input_0.pb …). A .pb file does not say what it is, so the caller names the kind of
// value it expects. The reader works on the wire format directly, without protobuf, and never recurses deeper than 4
// levels.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_IO_ONNXPB_H
#define FLAME_IO_ONNXPB_H

#include "Bytes.h"

namespace flame::io {

/// `name` names the file in messages. Throws InputError. External data is refused.
Value parseOnnxPb(std::span<const uint8_t> bytes, const std::string &name, flame_kind kind);
Value readOnnxPb(const std::string &path, flame_kind kind);

} // namespace flame::io

#endif
