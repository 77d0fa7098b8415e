//===- FolderView.cpp - see FolderView.h
//------------------------------------------------------------------------------===//
#include "FolderView.h"
#include "flame/IR/Flame.h"
#include "flame/Import/HuggingFace.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include <nlohmann/json.hpp>

using namespace flame;
using namespace flame::tool;
using OrderedJson = nlohmann::ordered_json;

namespace {

/// "f32[batch,4]"
std::string portType(mlir::Type type, mlir::ArrayAttr names) {
  auto tensor = llvm::cast<mlir::RankedTensorType>(type);
  std::string text = dtypeName(tensor.getElementType()) + "[";
  for (int64_t d = 0; d < tensor.getRank(); ++d) {
    text += d ? "," : "";
    if (!tensor.isDynamicDim(d))
      text += std::to_string(tensor.getDimSize(d));
    else if (auto name = names ? llvm::dyn_cast<mlir::StringAttr>(names[d]) : mlir::StringAttr())
      text += name.str();
    else
      text += "?";
  }
  return text + "]";
}

OrderedJson ports(mlir::ModuleOp module, bool inputs) {
  OrderedJson list = OrderedJson::array();
  auto function = module.lookupSymbol<mlir::func::FuncOp>("main");
  unsigned count = inputs ? function.getNumArguments() : function.getNumResults();
  for (unsigned i = 0; i < count; ++i) {
    auto attribute = [&](llvm::StringRef name) {
      return inputs ? function.getArgAttr(i, name) : function.getResultAttr(i, name);
    };
    mlir::Type type = inputs ? function.getArgumentTypes()[i] : function.getResultTypes()[i];
    list.push_back({{"name", llvm::cast<mlir::StringAttr>(attribute("flame.name")).str()},
                    {"type", portType(type, llvm::dyn_cast_or_null<mlir::ArrayAttr>(attribute("flame.dims")))}});
  }
  return list;
}

void describe(HuggingFaceResult &model, OrderedJson &out) {
  out["class"] = model.className;
  if (!model.part.empty())
    out["part"] = model.part;
  out["dtype"] = model.dtype;
  out["parameters"] = model.numParameters;
  out["weights"] = {{"count", model.numWeights}, {"bytes", model.weightBytes}, {"files", model.weightFiles}};
  out["inputs"] = ports(*model.module, true);
  out["outputs"] = ports(*model.module, false);
}

/// Adds one model; its errors are printed and give the exit code.
int describe(const std::string &folder, const ModelSettings &settings, OrderedJson &out, Console &console) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  HuggingFaceResult model = importHuggingFace(&context, folder, {settings.dtype, settings.part});
  for (const std::string &error : model.errors)
    console.error(error);
  if (model.status != ImportStatus::Ok)
    return int(model.status == ImportStatus::Unsupported ? Status::Unsupported : Status::BadInput);
  describe(model, out);
  return 0;
}

/// Adds what a pipeline is as one program, where it can be one.
void describeProgram(const std::string &folder, const ModelSettings &settings, OrderedJson &out) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  HuggingFaceResult program = importHuggingFace(&context, folder, {settings.dtype, ""});
  if (program.status == ImportStatus::Ok)
    describe(program, out["program"]);
}

std::string grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3;)
    text.insert(at -= 3, ",");
  return text;
}

/// One model as lines of `key  text`, or as a Markdown list.
std::string modelText(const OrderedJson &model, const char *lead, const char *separator) {
  auto row = [&](std::string key, const std::string &text) {
    if (*separator == ' ')
      key.resize(11, ' ');
    return lead + key + separator + text + "\n";
  };
  std::string out = row("class", model["class"].get<std::string>() +
                                     (model.contains("part") ? ", " + model["part"].get<std::string>() : ""));
  std::string files;
  for (const auto &file : model["weights"]["files"])
    files += " " + file.get<std::string>();
  out += row("weights", model["weights"]["count"].dump() + " tensors, " + grouped(model["parameters"]) +
                            " parameters, " + model["dtype"].get<std::string>() + ", " +
                            formatBytes(model["weights"]["bytes"]) + ", in" + files);
  for (const char *kind : {"inputs", "outputs"})
    for (const auto &port : model[kind])
      out += row(kind == std::string("inputs") ? "input" : "output",
                 port["name"].get<std::string>() + "  " + port["type"].get<std::string>());
  return out;
}

} // namespace

int flame::tool::inspectFolder(const ModelSettings &settings, const std::string &format, Console &console) try {
  OrderedJson out;
  int status = 0;
  bool isPipeline = isPipelineFolder(settings.path);
  if (isPipeline) {
    PipelineIndex index = readPipelineIndex(settings.path);
    out["class"] = index.className;
    out["parts"] = OrderedJson::array();
    for (const PipelinePart &part : index.parts) {
      OrderedJson entry{
          {"name", part.name}, {"library", part.library}, {"class", part.className}, {"model", part.isModel}};
      if (part.isModel)
        if (int code = describe(settings.path + "/" + part.name, settings, entry, console); code && !status)
          status = code;
      out["parts"].push_back(entry);
    }
    describeProgram(settings.path, settings, out);
  } else {
    status = describe(settings.path, settings, out, console);
  }
  if (status)
    return status;
  bool md = format == "md";
  const char *lead = md ? "- " : "  ", *separator = md ? ": " : " ";
  std::string text;
  if (format == "json") {
    text = out.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  } else if (!isPipeline) {
    text = (md ? "# " : "") + settings.path + "\n" + (md ? "\n" : "") + modelText(out, lead, separator);
  } else {
    text = (md ? "# " : "") + settings.path + (md ? "\n\n" : "  ") + out["class"].get<std::string>() + "\n";
    for (const OrderedJson &part : out["parts"]) {
      text += (md ? "\n## " : "") + part["name"].get<std::string>() + (md ? "\n\n" : "\n");
      text += part["model"].get<bool>()
                  ? modelText(part, lead, separator)
                  : lead + std::string("class") + (md ? ": " : "       ") + part["class"].get<std::string>() + "\n";
    }
    if (out.contains("program"))
      text += (md ? "\n## As one program\n\n" : "as one program\n") + modelText(out["program"], lead, separator);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
} catch (const ImportError &error) {
  console.error(error.what());
  return int(error.status == ImportStatus::Unsupported ? Status::Unsupported : Status::BadInput);
}
