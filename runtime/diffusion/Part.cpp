//===- Part.cpp - see Part.h -----------------------------------------------===//

#include "Part.h"

#include "Error.h"
#include "Files.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace flame::diffusion {

Part::Part(const std::string &folder, const std::string &artifacts, const std::string &name, const std::string &kind,
           const Options &options)
    : name(name), kind(kind), artifact(joinPath(artifacts, name + ".flame")), weights(joinPath(folder, name)),
      options(options) {
  if (!fileExists(artifact))
    rt::fail(FLAME_IO, artifact, " is missing: compile ", weights, " to it");
  open();
}

void Part::open() {
  options.weights_directory = weights.c_str();
  module = Module::load(artifact, options);
  inputs = module.inputs();
  outputs = module.outputs();
  weightBytes = module.weightBytes();
  onGpu = false;
  for (const auto &[key, value] : module.properties())
    onGpu |= key == "target" && value == "cuda";
}

void Part::wrong(const std::string &problem) const {
  rt::fail(FLAME_BAD_ARTIFACT, artifact, " ", problem, ": it was not compiled from the ", name, " of a FLUX pipeline",
           kind.empty() ? "" : " with --part=" + kind, ", or by another version; compile it again");
}

namespace {

const flame_port *find(const std::vector<flame_port> &ports, std::string_view name) {
  const auto port = std::find_if(ports.begin(), ports.end(), [&](const flame_port &p) { return p.name == name; });
  return port == ports.end() ? nullptr : &*port;
}

} // namespace

flame_dtype Part::input(const std::string &port, int32_t rank) const {
  const flame_port *found = find(inputs, port);
  if (!found)
    wrong(rt::cat("has no input '", port, "'"));
  if (found->kind != FLAME_TENSOR || found->rank != rank)
    wrong(rt::cat("has an input '", port, "' of the type ", found->type, ", of ", rank, " dims expected"));
  return found->dtype;
}

void Part::output(const std::string &port, int32_t rank) const {
  const flame_port *found = find(outputs, port);
  if (!found)
    wrong(rt::cat("has no output '", port, "'"));
  if (found->kind != FLAME_TENSOR || (found->rank != rank && found->rank != -1))
    wrong(rt::cat("has an output '", port, "' of the type ", found->type, ", of ", rank, " dims expected"));
}

size_t Part::fixedDim(const std::string &port, int32_t dim) const {
  const flame_port *found = find(inputs, port);
  if (!found || found->rank <= dim)
    wrong(rt::cat("has no input '", port, "' with a dimension ", dim));
  const char *text = found->dims[dim];
  size_t size = 0;
  if (const auto parsed = std::from_chars(text, text + std::strlen(text), size);
      parsed.ec != std::errc() || *parsed.ptr)
    wrong(rt::cat("has an input '", port, "' whose dimension ", dim, " is ", text, ", not a number"));
  return size;
}

void Part::load(bool inStream) {
  if (session)
    return;
  Session made(module);
  made.deviceOutputs(onGpu);
  if (onGpu && inStream)
    made.setStream(nullptr);
  if (profiling)
    check(flame_session_profile(made.get(), 1));
  const std::lock_guard lock(mutex);
  session = std::move(made);
}

void Part::unload(bool weightsToo) {
  {
    const std::lock_guard lock(mutex);
    session = Session();
  }
  if (weightsToo)
    open(); // what was there goes with the old module
}

std::vector<Value> Part::ordered(const NamedValues &given) const {
  std::vector<Value> values;
  for (const flame_port &input : inputs) {
    const auto value = given.find(input.name);
    if (value == given.end())
      wrong(rt::cat("has an input '", input.name, "' that is not known"));
    values.push_back(value->second);
  }
  return values;
}

NamedValues Part::run(const NamedValues &given, std::initializer_list<const char *> wanted) {
  const auto results = session.run(ordered(given), outputs.size());
  NamedValues named;
  for (const char *name : wanted) {
    const Value &result = results[find(outputs, name) - outputs.data()];
    named.emplace(name, result.device() < 0 ? result : result.copy());
  }
  return named;
}

void Part::runInto(const NamedValues &given, const NamedValues &results) {
  std::vector<Value> targets;
  for (const flame_port &output : outputs) {
    const auto value = results.find(output.name);
    if (value == results.end())
      wrong(rt::cat("has an output '", output.name, "' that is not known"));
    targets.push_back(value->second);
  }
  session.runInto(ordered(given), targets);
}

void Part::cancel() {
  const std::lock_guard lock(mutex);
  if (session)
    session.cancel();
}

PartBytes Part::planned(const NamedShapes &given) const {
  std::vector<std::vector<int64_t>> shapes;
  for (const flame_port &input : inputs) {
    const auto shape = given.find(input.name);
    if (shape == given.end())
      wrong(rt::cat("has an input '", input.name, "' that is not known"));
    shapes.push_back(shape->second);
  }
  return {weightBytes.bytes, module.plannedBytes(shapes).bytes, session ? 0 : weightBytes.loading};
}

PartBytes Part::held() const {
  uint64_t current = 0;
  flame_module_memory(module.get(), &current, nullptr);
  const uint64_t kept = std::min(current, weightBytes.bytes);
  return {kept, current - kept, 0};
}

uint64_t Part::peak() const {
  uint64_t peak = 0;
  flame_module_memory(module.get(), nullptr, &peak);
  return peak;
}

void Part::profile(bool enable) {
  profiling = enable;
  if (session)
    check(flame_session_profile(session.get(), enable));
}

} // namespace flame::diffusion
