//===- Part.cpp - a compiled model of a pipeline ---------------------------===//

#include "Error.h"
#include "Files.h"
#include "Pipeline.h"

#include <algorithm>

namespace flame::diffusion {

Part::Part(const std::string &folder, const std::string &artifacts, const char *name, Options options)
    : name(name), artifact(joinPath(artifacts, std::string(name) + ".flame")) {
  if (!fileExists(artifact))
    rt::fail(FLAME_IO, artifact, " is missing: compile ", joinPath(folder, name), " to it");
  const std::string weights = joinPath(folder, name);
  options.weights_directory = weights.c_str();
  module = Module::load(artifact, options);
  inputs = module.inputs();
  outputs = module.outputs();
}

void Part::wrong(const std::string &problem) const {
  rt::fail(FLAME_BAD_ARTIFACT, artifact, " ", problem, ": it was not compiled from the ", name,
           " of a FLUX pipeline, or by another version; compile it again");
}

namespace {

const flame_port *find(const std::vector<flame_port> &ports, std::string_view name) {
  const auto port = std::find_if(ports.begin(), ports.end(), [&](const flame_port &p) { return p.name == name; });
  return port == ports.end() ? nullptr : &*port;
}

} // namespace

flame_dtype Part::input(const char *port, int32_t rank) const {
  const flame_port *found = find(inputs, port);
  if (!found)
    wrong(rt::cat("has no input '", port, "'"));
  if (found->kind != FLAME_TENSOR || found->rank != rank)
    wrong(rt::cat("has an input '", port, "' of the type ", found->type, ", of ", rank, " dims expected"));
  return found->dtype;
}

void Part::output(const char *port, int32_t rank) const {
  const flame_port *found = find(outputs, port);
  if (!found)
    wrong(rt::cat("has no output '", port, "'"));
  if (found->kind != FLAME_TENSOR || (found->rank != rank && found->rank != -1))
    wrong(rt::cat("has an output '", port, "' of the type ", found->type, ", of ", rank, " dims expected"));
}

Value Part::run(const std::map<std::string, Value> &given, const char *port) {
  {
    const std::lock_guard lock(mutex);
    if (!session)
      session = Session(module);
  }
  std::vector<Value> values;
  for (const flame_port &input : inputs) {
    const auto value = given.find(input.name);
    if (value == given.end())
      wrong(rt::cat("has an input '", input.name, "' that is not known"));
    values.push_back(value->second);
  }
  const auto results = session.run(values, outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i)
    if (std::string_view(outputs[i].name) == port)
      return results[i];
  wrong(rt::cat("has no output '", port, "'"));
}

void Part::cancel() {
  const std::lock_guard lock(mutex);
  if (session)
    session.cancel();
}

std::pair<uint64_t, uint64_t> Part::memory() const {
  uint64_t current = 0, peak = 0;
  flame_module_memory(module.get(), &current, &peak);
  return {current, peak};
}

} // namespace flame::diffusion
