//===- Scope.h - a place in a model
//-----------------------------------------------------------------------------------===//
//
// What PyTorch calls a module: a prefix of weight names, and the graph builder with ops named after it, behind the name
// that the model has among others. A model is written as functions of a scope and values, and reads like the paper:
//
//     Value mlp(Scope m, Value x) { return linear(m / "fc2", gelu(linear(m / "fc1", x, 4 * n)), n); }
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_MODELS_SCOPE_H
#define FLAME_MODELS_SCOPE_H

#include "flame/Builder/GraphBuilder.h"
#include <string>

namespace flame::models {

/// Where weights come from. A weight that is not there, or has another shape, is noted and stood in for, so that
/// building goes on and all problems come out at once.
class WeightSource {
public:
  virtual ~WeightSource() = default;
  virtual bool has(const std::string &name) const = 0;
  /// The weight in the element type `type`, whatever its file holds.
  virtual mlir::Value weight(GraphBuilder &g, const std::string &name, llvm::ArrayRef<int64_t> shape,
                             mlir::Type type) = 0;
};

class Scope {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;

  /// `model`: its name among several; empty for one alone.
  Scope(GraphBuilder &g, WeightSource &weights, Type type, llvm::StringRef model = "")
      : Scope(g, weights, type, "", model.str()) {}

  Scope operator/(llvm::StringRef child) const {
    return Scope(g, weights, type, path.empty() ? child.str() : path + "." + child.str(), model);
  }
  Scope operator/(const char *child) const { return *this / llvm::StringRef(child); }
  Scope operator/(int64_t child) const { return *this / llvm::StringRef(std::to_string(child)); }

  /// The graph builder; ops that it makes are named after this place.
  GraphBuilder *operator->() const {
    g.loc = loc;
    return &g;
  }
  GraphBuilder &graph() const { return *operator->(); }

  bool has(llvm::StringRef name) const { return weights.has(full(name)); }
  /// In the model's element type.
  Value weight(llvm::StringRef name, llvm::ArrayRef<int64_t> shape) const { return weight(name, shape, type); }
  Value weight(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, Type elementType) const {
    return weights.weight(*operator->(), full(name), shape, elementType);
  }

  Type type; // of the model's activations
  std::string path;

private:
  Scope(GraphBuilder &g, WeightSource &weights, Type type, std::string path, std::string model)
      : type(type), path(std::move(path)), model(std::move(model)), g(g), weights(weights),
        loc(mlir::NameLoc::get(g.b.getStringAttr(place()))) {}
  std::string place() const {
    if (path.empty() || model.empty())
      return path.empty() && model.empty() ? "model" : model + path;
    return model + "." + path;
  }
  std::string full(llvm::StringRef name) const { return path.empty() ? name.str() : path + "." + name.str(); }

  std::string model;
  GraphBuilder &g;
  WeightSource &weights;
  mlir::Location loc;
};

} // namespace flame::models

#endif // FLAME_MODELS_SCOPE_H
