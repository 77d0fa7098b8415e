//===- Reference.h - where flamec check takes expected values from ----------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_REFERENCE_H
#define FLAME_TOOLS_FLAMEC_REFERENCE_H

#include "flame_rt.hpp"
#include <map>
#include <string>
#include <vector>

namespace flame::tool {

struct Reference {
  std::string name; // "ONNX Runtime 1.27.0", or the path
  std::map<std::string, Value> values;
};

/// Runs the model by ONNX Runtime in a Python process: the values of these names as far as they are tensors of types that
/// NumPy has. `scratch` is an empty folder. Throws Exit with a message printed: 3 where Python or a package is missing, 4
/// where ONNX Runtime refuses the model.
Reference runOnnxRuntime(const std::string &model, const std::vector<flame_port> &inputs, const std::vector<Value> &feeds,
                         const std::vector<flame_port> &wanted, const std::string &scratch, class Console &console);

/// Expected values from a file or folder: an .npz with arrays by name; one .npy or .pb for a model with one output; a folder
/// of NAME.npy, N-NAME.npy (as `flamec run --output-dir` writes them) or output_N.pb (a test data set). Throws InputError.
Reference readReference(const std::string &path, const std::vector<flame_port> &wanted, size_t outputs);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_REFERENCE_H
