//===- ModelClass.h - the models that can be built from a configuration
//-----------------------------------------------===//
//
// One entry a class of diffusers or transformers, by the name that its config.json gives. A builder reads the
// configuration, declares inputs, builds the graph from scopes, and names outputs. A pipeline's builder does so with
// several models, whose graphs are functions of values (Networks.h), in one function.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_MODELS_MODELCLASS_H
#define FLAME_MODELS_MODELCLASS_H

#include "flame/Builder/FunctionBuilder.h"
#include "flame/Models/ModelConfig.h"
#include "flame/Models/Scope.h"
#include <variant>
#include <vector>

namespace flame::models {

/// The weights of a whole model: what a builder asks besides single ones.
class ModelWeights : public WeightSource {
public:
  /// How many blocks "prefix.0", "prefix.1", … there are.
  virtual int64_t numBlocks(const std::string &prefix) const = 0;
  /// Tensors whose names begin so are no part of what is built.
  virtual void ignore(const std::string &prefix) = 0;
};

/// A dim of an input: a size, or the name of a symbolic one. Equal names mean equal sizes.
using InputDim = std::variant<int64_t, const char *>;

/// The sizes of symbolic dims that a model most often runs with: what its kernels are tuned for.
struct TypicalDim {
  const char *name;
  int64_t size;
};

/// The function that is built: its inputs, its outputs, and the graph between them.
class FunctionContext {
public:
  explicit FunctionContext(FunctionBuilder &function)
      : function(function), graph(function.builder, function.builder.getUnknownLoc(), function.shapes) {}

  FunctionBuilder &function;
  GraphBuilder graph;

  mlir::Value input(llvm::StringRef name, mlir::Type elementType, llvm::ArrayRef<InputDim> dims);
  void tuneFor(llvm::ArrayRef<TypicalDim> dims) {
    for (const TypicalDim &dim : dims)
      function.setTypical(dim.name, dim.size);
  }
  void output(llvm::StringRef name, mlir::Value value) { function.addResult(name, value); }

  mlir::Type f32() { return function.builder.getF32Type(); }
  mlir::Type i64() { return function.builder.getI64Type(); }
};

/// What a model's graph is built from, whatever leads to it and from it.
struct Network {
  const ModelConfig &config;
  ModelWeights &weights;
  Scope root;

  /// A number of layers of the configuration, whose blocks' names begin with `prefix`. Throws where the weights have
  /// fewer blocks, so that a wrong number costs nothing.
  int64_t layers(llvm::StringRef key, std::optional<int64_t> otherwise, const std::string &prefix) const;
};

/// A model that is a function by itself.
class ModelContext : public FunctionContext, public Network {
public:
  ModelContext(const ModelConfig &config, ModelWeights &weights, FunctionBuilder &function, mlir::Type type,
               std::string part)
      : FunctionContext(function), Network{config, weights, Scope(graph, weights, type)}, part(std::move(part)) {}

  const std::string part; // of the class's parts, the one to build
};

struct ModelClass {
  const char *name;
  std::vector<const char *> parts; // the first is the default; empty: there is one thing to build
  void (*build)(ModelContext &);
};

/// In alphabetical order.
const std::vector<ModelClass> &modelClasses();
const ModelClass *findModelClass(llvm::StringRef name);

// A class a file.
void buildAutoencoderKL(ModelContext &c);
void buildClipText(ModelContext &c);
void buildClipTextWithProjection(ModelContext &c);
void buildFluxTransformer(ModelContext &c);
void buildLlama(ModelContext &c);
void buildT5Encoder(ModelContext &c);

/// Several models that are one function.
class PipelineContext : public FunctionContext {
public:
  PipelineContext(FunctionBuilder &function, const ModelConfig &scheduler)
      : FunctionContext(function), scheduler(scheduler) {}

  const ModelConfig &scheduler;
  std::vector<Network> networks; // in the order of the class's models
};

struct PipelineClass {
  struct Model {
    const char *name, *className; // "vae", "AutoencoderKL"
  };
  const char *name;
  std::vector<Model> models;
  std::vector<const char *> schedulers; // classes
  void (*build)(PipelineContext &);
};

/// In alphabetical order.
const std::vector<PipelineClass> &pipelineClasses();
const PipelineClass *findPipelineClass(llvm::StringRef name);

void buildFluxPipeline(PipelineContext &c);

} // namespace flame::models

#endif // FLAME_MODELS_MODELCLASS_H
