//===- fuzz_config.cpp - configurations of models on arbitrary bytes
//------------------------------------------------------===//
//
// The first line names a class, the rest is its config.json. Every tensor that a builder asks for is there, so that
// building goes on as far as the numbers allow. It ends with a module that verifies or with an error message, soon and
// in little memory.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/Json.h"
#include "flame/Models/ModelClass.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringMap.h"
#include <cstdio>
#include <cstdlib>

using namespace flame;

namespace {

class AllWeights : public models::ModelWeights {
public:
  explicit AllWeights(FunctionBuilder &function) : function(function) {}
  bool has(const std::string &) const override { return true; }
  int64_t numBlocks(const std::string &) const override { return 3; }
  void ignore(const std::string &) override {}
  mlir::Value weight(GraphBuilder &g, const std::string &name, llvm::ArrayRef<int64_t> shape,
                     mlir::Type type) override {
    auto ref = WeightRefAttr::get(type.getContext(), "weights", 0, 0);
    return function.weight(name, ref, mlir::RankedTensorType::get(shape, type), g.loc);
  }

private:
  FunctionBuilder &function;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  auto [name, json] = text.split('\n');
  const models::ModelClass *model = models::findModelClass(name);
  if (!model)
    return 0;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<FlameDialect, mlir::func::FuncDialect>();
  try {
    ModelConfig config(parseJson(std::string_view(json.data(), json.size()), "fuzz"), "fuzz");
    FunctionBuilder function(&context);
    mlir::OwningOpRef<mlir::ModuleOp> module = function.begin("fuzz");
    AllWeights weights(function);
    models::ModelContext build(config, weights, function, function.builder.getF32Type(),
                               model->parts.empty() ? "" : model->parts.front());
    model->build(build);
    function.finish();
    if (failed(mlir::verify(*module))) {
      std::fputs("the module is invalid\n", stderr);
      std::abort();
    }
  } catch (const ImportError &) {
  } catch (const BuildError &error) {
    if (llvm::StringRef(error.what()).contains("internal:")) {
      std::fprintf(stderr, "%s\n", error.what());
      std::abort();
    }
  }
  return 0;
}
