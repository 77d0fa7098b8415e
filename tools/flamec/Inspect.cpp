//===- Inspect.cpp - flamec inspect -----------------------------------------------------------------------------------===//
#include "Commands.h"
#include "FolderView.h"
#include "Help.h"
#include "Model.h"
#include "PlanView.h"
#include "Run.h"
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

using namespace flame;
using namespace flame::tool;
using Json = nlohmann::ordered_json;

namespace {

std::string str(const flatbuffers::String *text) { return text ? text->str() : std::string(); }

class Inspection {
public:
  Inspection(const ModelSettings &settings, const ArtifactBytes &bytes, Console &console)
      : settings(settings), bytes(bytes), plan(bytes.span(), settings.path), root(plan.root()) {
    try {
      module = loadModule(bytes, settings, console);
    } catch (const RuntimeError &error) {
      if (error.code() == FLAME_BAD_ARTIFACT)
        throw;
      notRunnable = error.what(); // another processor, missing weights: it can be looked at all the same
    }
  }

  Json json() const {
    Json out;
    out["name"] = str(root.name());
    out["producer"] = str(root.producer());
    out["plan_version"] = root.version();
    out["bytes"] = bytes.span().size();
    out["inputs"] = ports(root.inputs());
    out["outputs"] = ports(root.outputs());
    Json target;
    target["code"] = Json::array();
    if (root.codes())
      for (const plan::Code *code : *root.codes()) {
        // The units of a GPU's code are one thing to a person.
        auto same = std::find_if(target["code"].begin(), target["code"].end(), [&](const Json &entry) {
          return code->unit() > 0 && entry["target"] == str(code->target());
        });
        if (same != target["code"].end()) {
          (*same)["bytes"] = (*same)["bytes"].get<uint64_t>() + code->size();
          continue;
        }
        Json entry{{"target", str(code->target())}, {"features", Json::array()}, {"bytes", code->size()}};
        if (code->features())
          for (const auto *feature : *code->features())
            entry["features"].push_back(feature->str());
        target["code"].push_back(entry);
      }
    Json properties = Json::object();
    if (root.properties())
      for (const plan::Property *property : *root.properties())
        properties[str(property->key())] = str(property->value());
    target["properties"] = properties;
    out["target"] = target;
    PlanView::Weights weights = plan.weights();
    Json files = Json::array();
    if (root.files())
      for (const plan::WeightFile *file : *root.files())
        files.push_back({{"path", str(file->path())}, {"bytes", file->size()}});
    out["weights"] = {
        {"count", weights.count}, {"bytes", weights.bytes}, {"embedded_bytes", weights.embedded}, {"files", files}};
    out["memory"] = memory();
    Json kernels = Json::array();
    for (const PlanView::Step &step : plan.steps())
      kernels.push_back({{"command", step.command}, {"name", step.name}, {"nodes", step.nodes}, {"init", step.init}});
    out["kernels"] = kernels;
    out["runs_here"] = notRunnable.empty();
    if (!notRunnable.empty())
      out["reason"] = notRunnable;
    return out;
  }

private:
  template <typename Ports> Json ports(const Ports *list) const {
    Json out = Json::array();
    if (!list)
      return out;
    for (const plan::Port *port : *list) {
      Json entry{{"name", str(port->name())}, {"type", str(port->type())}};
      const auto *slots = root.slots();
      if (slots && port->slot() >= 0 && uint32_t(port->slot()) < slots->size()) {
        const plan::Slot *slot = slots->Get(port->slot());
        static const char *const kinds[] = {"tensor", "sequence", "optional"};
        entry["kind"] = int(slot->kind()) < 3 ? kinds[int(slot->kind())] : "unknown";
        entry["dtype"] = flame_dtype_name(flame_dtype(slot->dtype()));
      }
      entry["dims"] = nullptr;
      if (port->dims()) {
        entry["dims"] = Json::array();
        for (const auto *dim : *port->dims()) {
          int64_t number;
          auto parsed = std::from_chars(dim->c_str(), dim->c_str() + dim->size(), number);
          if (parsed.ec == std::errc() && parsed.ptr == dim->c_str() + dim->size())
            entry["dims"].push_back(number);
          else
            entry["dims"].push_back(dim->str());
        }
      }
      out.push_back(entry);
    }
    return out;
  }

  /// The planned peak, with the sizes of --dim; every other symbolic dim is 1.
  Json memory() const {
    Json out;
    if (!module)
      return out;
    Json dims = Json::object();
    std::vector<std::vector<int64_t>> shapes;
    for (const flame_port &port : module.inputs()) {
      std::vector<int64_t> shape;
      for (int32_t d = 0; d < port.rank; ++d) {
        std::string name = port.dims[d];
        int64_t value = 1;
        auto parsed = std::from_chars(name.data(), name.data() + name.size(), value);
        if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) {
          auto given = settings.inputs.dims.find(name);
          value = given == settings.inputs.dims.end() ? 1 : given->second;
          dims[name] = value;
        }
        shape.push_back(value);
      }
      shapes.push_back(std::move(shape));
    }
    Module::Planned planned = module.plannedBytes(shapes);
    out["peak_bytes"] = planned.bytes;
    out["exact"] = planned.exact;
    out["dims"] = dims;
    Json largest = Json::array();
    for (const auto &[name, size] : plan.largestTensors(shapes, 5))
      largest.push_back({{"tensor", name}, {"bytes", size}});
    out["largest"] = largest;
    return out;
  }

  const ModelSettings &settings;
  const ArtifactBytes &bytes;
  PlanView plan;
  const plan::Artifact &root;
  Module module;
  std::string notRunnable;
};

std::string typeText(const Json &port) {
  if (port["dims"].is_null())
    return port["type"];
  std::string out = port.value("dtype", "?") + "[";
  for (size_t d = 0; d < port["dims"].size(); ++d)
    out += (d ? "," : "") + (port["dims"][d].is_string() ? port["dims"][d].get<std::string>() : port["dims"][d].dump());
  return out + "]";
}

std::string joined(const Json &list, const char *separator = ", ") {
  std::string out;
  for (const Json &item : list)
    out += (out.empty() ? "" : separator) + item.get<std::string>();
  return out;
}

std::string memoryText(const Json &memory) {
  if (memory.is_null())
    return "unknown: the artifact can't be loaded here";
  std::string out = (memory["exact"].get<bool>() ? "" : "at least ") + formatBytes(memory["peak_bytes"]) +
                    " beside weights and inputs";
  std::string dims;
  for (const auto &[name, value] : memory["dims"].items())
    dims += (dims.empty() ? " with " : ", ") + name + "=" + value.dump();
  return out + dims;
}

std::string weightsText(const Json &weights) {
  std::string out = weights["count"].dump() + (weights["count"] == 1 ? " tensor, " : " tensors, ") +
                    formatBytes(weights["bytes"]);
  if (weights["files"].empty())
    return out + (weights["count"] == 0 ? "" : ", inside the artifact");
  out += ", in";
  for (const Json &file : weights["files"])
    out += " " + file["path"].get<std::string>() + " (" + formatBytes(file["bytes"]) + ")";
  return out;
}

std::string targetText(const Json &target) {
  std::string out;
  for (const Json &code : target["code"])
    out += (out.empty() ? "" : "; ") + code["target"].get<std::string>() + ", " + formatBytes(code["bytes"]) + " of code";
  return out.empty() ? "any processor: no kernels" : out;
}

std::string requirements(const Json &target) {
  std::string out;
  for (const Json &code : target["code"])
    out += (out.empty() ? "" : "; ") + joined(code["features"], " ");
  return out.empty() ? "nothing beyond the architecture" : out;
}

std::string stepText(const Json &step) {
  std::string name = step["command"] == "kernel" ? step["name"].get<std::string>()
                                                 : "runtime: " + step["command"].get<std::string>();
  return name + (step["init"].get<bool>() ? " (once, at load)" : "");
}

std::string table(const Json &info) {
  std::string out = info["name"].get<std::string>() + "  " + formatBytes(info["bytes"]) + " · by " +
                    info["producer"].get<std::string>() + " · plan version " + info["plan_version"].dump() + "\n";
  size_t width = 0;
  for (const char *list : {"inputs", "outputs"})
    for (const Json &port : info[list])
      width = std::max(width, port["name"].get<std::string>().size());
  auto row = [&](std::string key, const std::string &text) {
    key.resize(10, ' ');
    out += key + text + "\n";
  };
  for (const char *list : {"inputs", "outputs"})
    for (const Json &port : info[list]) {
      std::string name = port["name"];
      name.resize(width + 2, ' ');
      row(std::string(list).substr(0, std::strlen(list) - 1), name + typeText(port));
    }
  row("target", targetText(info["target"]));
  row("requires", requirements(info["target"]));
  row("weights", weightsText(info["weights"]));
  row("peak", memoryText(info["memory"]));
  if (!info["runs_here"].get<bool>())
    row("note", "does not run here: " + info["reason"].get<std::string>());
  width = 0;
  for (const Json &step : info["kernels"])
    width = std::max(width, std::min<size_t>(stepText(step).size(), 40));
  row("kernels", std::to_string(info["kernels"].size()));
  for (const Json &step : info["kernels"]) {
    std::string name = stepText(step);
    name.resize(std::max(width, name.size()) + 2, ' ');
    std::string nodes;
    for (size_t i = 0; i < step["nodes"].size(); ++i) {
      std::string node = step["nodes"][i];
      if (i > 0 && nodes.size() + node.size() > 60) {
        nodes += ", and " + std::to_string(step["nodes"].size() - i) + " more";
        break;
      }
      nodes += (nodes.empty() ? "" : ", ") + node;
    }
    out += "  " + name + nodes + "\n";
  }
  return out;
}

std::string markdown(const Json &info) {
  std::string out = "# " + info["name"].get<std::string>() + "\n\n";
  out += "- artifact: " + formatBytes(info["bytes"]) + ", by " + info["producer"].get<std::string>() + "\n";
  out += "- target: " + targetText(info["target"]) + "\n- requires: " + requirements(info["target"]) + "\n";
  out += "- weights: " + weightsText(info["weights"]) + "\n- peak: " + memoryText(info["memory"]) + "\n";
  out += "\n| port | name | type |\n| --- | --- | --- |\n";
  for (const char *list : {"inputs", "outputs"})
    for (const Json &port : info[list])
      out += "| " + std::string(list).substr(0, std::strlen(list) - 1) + " | " + port["name"].get<std::string>() + " | `" +
             typeText(port) + "` |\n";
  out += "\n| kernel | source nodes |\n| --- | --- |\n";
  for (const Json &step : info["kernels"])
    out += "| " + stepText(step) + " | " + joined(step["nodes"]) + " |\n";
  return out;
}

} // namespace

Command flame::tool::addInspect(CLI::App &app, Console &console) {
  struct State {
    ModelSettings model;
    std::string format = "table";
  };
  auto state = std::make_shared<State>();
  CLI::App *sub = app.add_subcommand("inspect", "tell what an artifact takes, gives, needs and does");
  document(sub, {"flamec inspect MODEL [--dim NAME=NUMBER]... [--format FORMAT]",
                 "Prints the inputs and outputs with their element types and dims, the processor features the artifact "
                 "needs, its weights, the peak memory of a run, and every kernel with the nodes of the model that it "
                 "came from. Of a folder of diffusers or transformers it tells what models it holds, and what a pipeline "
                 "takes and gives as one program; nothing is compiled. Nothing is run.",
                 {{"For people:", "flamec inspect model.flame"},
                  {"The peak at batch 8, for scripts:", "flamec inspect model.flame --dim batch=8 --format json"},
                  {"The models of a diffusers pipeline:", "flamec inspect FLUX.1-schnell"}}});
  state->model.addModel(sub);
  sub->add_option("--dim", state->model.dims, "size of a symbolic dim for the peak memory (default: 1)")
      ->allow_extra_args(false)
      ->type_name("NAME=NUMBER");
  sub->add_option("--format", state->format, "table (default), json or md")
      ->check(oneOf({"table", "json", "md"}))
      ->type_name("FORMAT");
  return [state, &console]() -> int {
    state->model.resolve();
    if (std::filesystem::is_directory(state->model.path))
      return inspectFolder(state->model, state->format, console);
    ArtifactBytes bytes = artifactOf(state->model, console);
    Json info = Inspection(state->model, bytes, console).json();
    // Names may hold any bytes; JSON takes UTF-8 alone.
    std::string text = state->format == "json" ? info.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                       : state->format == "md" ? markdown(info)
                                               : table(info);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  };
}
