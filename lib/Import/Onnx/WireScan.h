//===- WireScan.h - takes large tensor payloads out of a serialized model ---------------------------------------------===//
//
// A model file is mostly weights. Before protobuf sees it, this bounded reader walks the wire format once, checks its
// framing and nesting, and copies everything but large tensor payloads; those stay in the mapped file, and the tensor
// says where (TensorProto.lifted_*). So a 1 GB model costs as much memory and time as its graph alone.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_ONNX_WIRESCAN_H
#define FLAME_LIB_IMPORT_ONNX_WIRESCAN_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace flame::onnx {

enum class WireKind : uint8_t { Model, Tensor };

/// Copies the message in `bytes` to `reduced`, with tensor payloads of more than `limit` bytes left out. Returns an
/// error message, which gives the byte offset, or an empty string. No nesting deeper than `kMaxWireDepth` passes.
std::string scanWire(WireKind kind, llvm::StringRef bytes, uint64_t limit, std::string &reduced);

inline constexpr unsigned kMaxWireDepth = 700;

} // namespace flame::onnx

#endif // FLAME_LIB_IMPORT_ONNX_WIRESCAN_H
