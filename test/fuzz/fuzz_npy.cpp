//===- fuzz_npy.cpp - .npy and .npz readers -------------------------------===//
//
// The first byte chooses: an element type to expect, 0xff for an archive, 0xfe for raw deflate of the size in the next
// byte.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "Npy.h"

using namespace flame;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  try {
    if (data[0] == 0xff) {
      for (const auto &[name, bytes] : io::parseNpz(rest, "fuzz"))
        io::parseNpy(bytes, name);
    } else if (data[0] == 0xfe) {
      io::inflate(rest.subspan(1), rest[0], "fuzz");
    } else {
      const Value value = io::parseNpy(rest, "fuzz", static_cast<flame_dtype>(data[0] % (FLAME_I2 + 1)));
      io::formatValue(value);
      io::parseNpy(io::formatNpy(value), "again", value.dtype());
    }
  } catch (const io::InputError &) {
  }
  return 0;
}
