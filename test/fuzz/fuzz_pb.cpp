//===- fuzz_pb.cpp - reader of ONNX's TensorProto, SequenceProto, OptionalProto -===//
//
// The first byte chooses the kind.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "OnnxPb.h"

using namespace flame;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  try {
    io::formatValue(io::parseOnnxPb({data + 1, size - 1}, "fuzz", static_cast<flame_kind>(data[0] % 3)));
  } catch (const io::InputError &) {
  }
  return 0;
}
