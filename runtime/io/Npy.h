//===- Npy.h - NumPy's .npy and .npz files --------------------------------===//
//
// Element types that NumPy does not have are stored as ml_dtypes stores them with numpy.save: bf16 as '<V2', the 8-, 4-
// and 2-bit types as '<V1' or '|V1' ('<f1' for f8E5M2), one byte an element. Such a file does not say which type it
// holds: the reader needs `expected`, which comes from the model's signature, and takes '<V2' for bf16 without it. For
// the same types unsigned integers of the same width (u1, u2; i1) are accepted as raw bits. Strings are '<U…' (read and
// written) or '|S…' (read). Pickled objects are refused. In Python: numpy.load(f).view(ml_dtypes.bfloat16).
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_IO_NPY_H
#define FLAME_IO_NPY_H

#include "Bytes.h"

#include <utility>

namespace flame::io {

/// `name` names the file in messages. Throws InputError.
Value parseNpy(std::span<const uint8_t> bytes, const std::string &name, flame_dtype expected = FLAME_UNDEFINED);
Value readNpy(const std::string &path, flame_dtype expected = FLAME_UNDEFINED);

/// Tensors only. Throws InputError.
std::vector<uint8_t> formatNpy(const Value &tensor);
void writeNpy(const std::string &path, const Value &tensor);

/// The arrays of an .npz archive (stored or deflated, zip64) as bytes of .npy files, by name without ".npy".
std::vector<std::pair<std::string, std::vector<uint8_t>>> parseNpz(std::span<const uint8_t> bytes,
                                                                   const std::string &name);

/// Raw deflate, at most `size` bytes out. Throws InputError where the result is not exactly `size` bytes.
std::vector<uint8_t> inflate(std::span<const uint8_t> bytes, size_t size, const std::string &name);

} // namespace flame::io

#endif
