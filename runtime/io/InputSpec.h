//===- InputSpec.h - what the user says about a model's inputs ------------===//
//
// Shared by `flame-run` and `flamec run|bench|check`. A specification is "name=value", or the value alone for a model
// with one input:
//
//   name=file.npy       an array                          name=random      random numbers of the signature's shape
//   name=file.npz       its array of that name, or its only one; file.npz alone: all its arrays by name
//   name=file.pb        an ONNX TensorProto (SequenceProto, OptionalProto as the signature says)
//   name=4x16:f32       random numbers of this shape and type ("4x16" alone: the signature's type; ":f32": a scalar)
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_IO_INPUTSPEC_H
#define FLAME_IO_INPUTSPEC_H

#include "Bytes.h"

#include <map>

namespace flame::io {

struct InputOptions {
  std::vector<std::string> specs;
  std::string archive;                 // an .npz with arrays by input name
  std::map<std::string, int64_t> dims; // values of symbolic dimensions for random inputs
  bool randomOthers = false;           // inputs that nothing is said about are random
  uint64_t seed = 0;
};

/// The inputs in the order of the signature. A symbolic dimension that `dims` does not name is taken from the inputs
/// that are given, otherwise it is 1. Throws InputError.
std::vector<Value> resolveInputs(std::span<const flame_port> ports, const InputOptions &options);

/// A file by its suffix: .npy, or .pb of this kind. Throws InputError.
Value readValue(const std::string &path, flame_kind kind, flame_dtype expected);

/// The candidate nearest to `word`, or "" where none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

} // namespace flame::io

#endif
