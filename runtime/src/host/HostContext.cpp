//===- HostContext.cpp - arguments of host functions, and their table -----===//

#include "HostContext.h"
#include "../SmallFloat.h"

#include <algorithm>

#define FLAME_HOST_FAMILY_NAME(family)                                                                                 \
  namespace flame::rt {                                                                                                \
  std::span<const HostEntry> flameHostFamily##family();                                                                \
  }
#include "HostFamilies.def"
#undef FLAME_HOST_FAMILY_NAME

namespace flame::rt {

HostFunction findHostFunction(std::string_view name) {
#define FLAME_HOST_FAMILY_NAME(family)                                                                                 \
  for (const HostEntry &entry : flameHostFamily##family())                                                             \
    if (entry.name == name)                                                                                            \
      return entry.function;
#include "HostFamilies.def"
#undef FLAME_HOST_FAMILY_NAME
  return nullptr;
}

std::string HostContext::describeInput(size_t index) const {
  return cat("input ", index, " (", has(index) ? inputs[index]->describe() : "absent", ")");
}

const Value &HostContext::input(size_t index) const {
  if (!has(index))
    fail("input ", index, " is missing");
  return *inputs[index];
}

const Tensor &HostContext::tensor(size_t index) const {
  const Value &value = input(index);
  if (value.kind != FLAME_TENSOR)
    fail(describeInput(index), " is not a tensor");
  return value.tensor;
}

const Value &HostContext::sequence(size_t index) const {
  const Value &value = input(index);
  if (value.kind != FLAME_SEQUENCE)
    fail(describeInput(index), " is not a sequence");
  return value;
}

const Tensor &HostContext::stringTensor(size_t index) const {
  const Tensor &t = tensor(index);
  if (!t.isString())
    fail(describeInput(index), " is not a tensor of strings");
  return t;
}

int64_t HostContext::intScalar(size_t index) const {
  const Tensor &t = tensor(index);
  if (t.elements() != 1 || !(isInteger(t.dtype) || t.dtype == FLAME_BOOL))
    fail(describeInput(index), " is not a single integer");
  return readInteger(t, 0);
}

double HostContext::floatScalar(size_t index) const {
  const Tensor &t = tensor(index);
  if (t.elements() != 1 || t.isString() || t.dtype == FLAME_C64 || t.dtype == FLAME_C128)
    fail(describeInput(index), " is not a single number");
  return readReal(t, 0);
}

const Attribute *HostContext::attribute(std::string_view name) const {
  for (const Attribute &attribute : call.attributes)
    if (attribute.name == name)
      return &attribute;
  return nullptr;
}

int64_t HostContext::attrInt(std::string_view name, int64_t fallback) const {
  const Attribute *a = attribute(name);
  return a && !a->ints.empty() ? a->ints[0] : fallback;
}

double HostContext::attrFloat(std::string_view name, double fallback) const {
  const Attribute *a = attribute(name);
  return a && !a->floats.empty() ? a->floats[0] : fallback;
}

std::string HostContext::attrString(std::string_view name, std::string_view fallback) const {
  const Attribute *a = attribute(name);
  return a && !a->strings.empty() ? a->strings[0] : std::string(fallback);
}

std::span<const int64_t> HostContext::attrInts(std::string_view name) const {
  const Attribute *a = attribute(name);
  return a ? std::span<const int64_t>(a->ints) : std::span<const int64_t>();
}

std::span<const double> HostContext::attrFloats(std::string_view name) const {
  const Attribute *a = attribute(name);
  return a ? std::span<const double>(a->floats) : std::span<const double>();
}

std::span<const std::string> HostContext::attrStrings(std::string_view name) const {
  const Attribute *a = attribute(name);
  return a ? std::span<const std::string>(a->strings) : std::span<const std::string>();
}

int HostContext::axis(int rank, int64_t fallback, std::string_view axisName) const {
  const int64_t value = attrInt(axisName, fallback);
  if (value < -rank || value >= rank)
    fail("attribute ", axisName, " = ", value, " is out of range for rank ", rank);
  return static_cast<int>(value < 0 ? value + rank : value);
}

void HostContext::setOutput(size_t index, Value value) {
  if (index < outputs.size())
    outputs[index] = std::move(value);
}

int64_t readInteger(const Tensor &t, int64_t i) {
  switch (t.dtype) {
  case FLAME_I64:
    return t.as<int64_t>()[i];
  case FLAME_U64:
    return static_cast<int64_t>(t.as<uint64_t>()[i]);
  case FLAME_I32:
    return t.as<int32_t>()[i];
  case FLAME_U32:
    return t.as<uint32_t>()[i];
  case FLAME_I16:
    return t.as<int16_t>()[i];
  case FLAME_U16:
    return t.as<uint16_t>()[i];
  case FLAME_I8:
  case FLAME_I4:
  case FLAME_I2:
    return t.as<int8_t>()[i];
  default:
    return t.as<uint8_t>()[i];
  }
}

double readReal(const Tensor &t, int64_t i) {
  switch (t.dtype) {
  case FLAME_F32:
    return t.as<float>()[i];
  case FLAME_F64:
    return t.as<double>()[i];
  case FLAME_U64:
    return static_cast<double>(t.as<uint64_t>()[i]);
  default:
    if (isNarrowFloat(t.dtype))
      return narrowToFloat(t.dtype, t.as<char>() + i * elementSize(t.dtype));
    return static_cast<double>(readInteger(t, i));
  }
}

} // namespace flame::rt
