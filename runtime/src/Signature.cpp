//===- Signature.cpp - see Signature.h ------------------------------------===//

#include "Signature.h"

#include <charconv>
#include <functional>
#include <map>
#include <string_view>

namespace flame::rt {

namespace {

std::string wantedShape(const PortInfo &port) {
  std::string out = "[";
  for (size_t i = 0; i < port.dims.size(); ++i)
    out += cat(i ? "," : "", port.dims[i].empty() ? "?" : port.dims[i]);
  return out + "]";
}

/// Dimension names are identifiers; anything else ("?", "2*n") says nothing about the caller's number here.
bool isName(std::string_view text) {
  if (text.empty() || text[0] == '?' || (text[0] >= '0' && text[0] <= '9'))
    return false;
  for (char c : text)
    if (c == ' ' || c == '*' || c == '+' || c == '-' || c == '/' || c == '(' || c == ')')
      return false;
  return true;
}

struct Binding {
  int64_t value;
  const PortInfo *port;
};
using Bindings = std::map<std::string_view, Binding>;

void checkShape(const PortInfo &port, const Dims &dims, Bindings &bindings) {
  if (!port.ranked)
    return;
  auto mismatch = [&](const std::string &detail) {
    fail(FLAME_INVALID_ARGUMENT, "input '", port.name, "' has shape ", dims.str(), ", the model wants ",
         wantedShape(port), detail);
  };
  if (dims.size() != port.dims.size())
    mismatch("");
  for (int i = 0; i < dims.rank(); ++i) {
    const std::string &wanted = port.dims[i];
    int64_t number;
    auto parsed = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
    if (!wanted.empty() && parsed.ec == std::errc() && parsed.ptr == wanted.data() + wanted.size()) {
      if (dims[i] != number)
        mismatch("");
    } else if (isName(wanted)) {
      auto [at, fresh] = bindings.try_emplace(wanted, Binding{dims[i], &port});
      if (!fresh && at->second.value != dims[i])
        mismatch(cat(" with ", wanted, " = ", at->second.value,
                     at->second.port == &port ? std::string() : cat(" as in input '", at->second.port->name, "'")));
    }
  }
}

void checkCount(const Plan &plan, size_t count) {
  if (count == plan.inputs.size())
    return;
  std::string names;
  for (const PortInfo &port : plan.inputs)
    names += cat(names.empty() ? "" : ", ", '\'', port.name, '\'');
  fail(FLAME_INVALID_ARGUMENT, "the model has ", plan.inputs.size(), plan.inputs.size() == 1 ? " input" : " inputs",
       names.empty() ? "" : " (", names, names.empty() ? "" : ")", "; ", count,
       count == 1 ? " was given" : " were given");
}

} // namespace

void checkInputs(const Plan &plan, std::span<const Value *const> inputs) {
  checkCount(plan, inputs.size());
  Bindings bindings;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const PortInfo &port = plan.inputs[i];
    const SlotInfo &slot = plan.slots[port.slot];
    const Value &value = *inputs[i];
    const bool kindFits = value.kind == slot.kind || slot.kind == FLAME_OPTIONAL;
    const bool typeFits = value.tensor.dtype == slot.dtype || (slot.kind != FLAME_TENSOR && !slot.dtype) ||
                          (value.kind != FLAME_TENSOR && value.length() == 0);
    if (!kindFits || !typeFits)
      fail(FLAME_INVALID_ARGUMENT, "input '", port.name, "' is ", value.describe(), ", the model wants ",
           port.type.empty() ? cat(dtypeName(slot.dtype), wantedShape(port)) : port.type);
    if (slot.kind == FLAME_TENSOR)
      checkShape(port, value.tensor.dims, bindings);
  }
}

void checkShapes(const Plan &plan, std::span<const Dims> shapes) {
  checkCount(plan, shapes.size());
  Bindings bindings;
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (plan.slots[plan.inputs[i].slot].kind != FLAME_TENSOR)
      continue;
    for (int64_t dim : shapes[i])
      if (dim < 0)
        fail(FLAME_INVALID_ARGUMENT, "input '", plan.inputs[i].name, "' has the negative dimension ", dim);
    checkShape(plan.inputs[i], shapes[i], bindings);
  }
}

} // namespace flame::rt
