//===- ModelClass.cpp - see ModelClass.h
//------------------------------------------------------------------------------===//
#include "flame/Models/ModelClass.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::models;

const std::vector<ModelClass> &models::modelClasses() {
  static const std::vector<ModelClass> classes = {
      {"AutoencoderKL", {"decoder", "encoder", "pictures"}, buildAutoencoderKL},
      {"CLIPTextModel", {}, buildClipText},
      {"CLIPTextModelWithProjection", {}, buildClipTextWithProjection},
      {"FluxTransformer2DModel", {"model", "step"}, buildFluxTransformer},
      {"LlamaForCausalLM", {"prefill", "decode"}, buildLlama},
      {"T5EncoderModel", {}, buildT5Encoder},
  };
  return classes;
}

const ModelClass *models::findModelClass(StringRef name) {
  const auto &classes = modelClasses();
  auto found = llvm::find_if(classes, [&](const ModelClass &one) { return name == one.name; });
  return found == classes.end() ? nullptr : &*found;
}

const std::vector<PipelineClass> &models::pipelineClasses() {
  static const std::vector<PipelineClass> classes = {
      {"FluxPipeline",
       {{"text_encoder", "CLIPTextModel"},
        {"text_encoder_2", "T5EncoderModel"},
        {"transformer", "FluxTransformer2DModel"},
        {"vae", "AutoencoderKL"}},
       {"FlowMatchEulerDiscreteScheduler"},
       buildFluxPipeline},
  };
  return classes;
}

const PipelineClass *models::findPipelineClass(StringRef name) {
  const auto &classes = pipelineClasses();
  auto found = llvm::find_if(classes, [&](const PipelineClass &one) { return name == one.name; });
  return found == classes.end() ? nullptr : &*found;
}

Value FunctionContext::input(StringRef name, Type elementType, ArrayRef<InputDim> dims) {
  SmallVector<int64_t> shape;
  SmallVector<Attribute> attributes;
  Builder &b = function.builder;
  for (const InputDim &dim : dims) {
    const int64_t *size = std::get_if<int64_t>(&dim);
    shape.push_back(size ? *size : ShapedType::kDynamic);
    attributes.push_back(size ? Attribute(b.getI64IntegerAttr(*size)) : b.getStringAttr(std::get<const char *>(dim)));
  }
  return function.addInput(name, RankedTensorType::get(shape, elementType), attributes);
}

int64_t Network::layers(StringRef key, std::optional<int64_t> otherwise, const std::string &prefix) const {
  int64_t count = config.layers(key, otherwise), present = weights.numBlocks(prefix);
  if (count > present)
    config.fail(key, "the weights have " + std::to_string(present) + " blocks '" + prefix +
                         ".…'; the configuration belongs to another model, or shards are missing");
  return count;
}
