//===- flame_rt.hpp - C++20 over flame_rt.h -------------------------------===//
//
// RAII handles and exceptions, header-only, nothing but the C interface underneath. Copying a Module, Session or Value
// copies a reference.
//
//   flame::Module module = flame::Module::load("model.flame");
//   flame::Session session(module);
//   std::vector<flame::Value> out = session.run({flame::Value::tensor<float>({1, 4}, data)});
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RT_HPP
#define FLAME_RT_HPP

#include "flame_rt.h"

#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flame {

/// What a failed call throws; `code` as in flame_rt.h.
class RuntimeError : public std::runtime_error {
public:
  RuntimeError(flame_code code, const std::string &message) : std::runtime_error(message), errorCode(code) {}
  flame_code code() const { return errorCode; }

private:
  flame_code errorCode;
};

/// Throws RuntimeError unless `status` is NULL; frees it.
inline void check(flame_status *status) {
  if (!status)
    return;
  const std::unique_ptr<flame_status, void (*)(flame_status *)> owner(status, flame_status_free);
  throw RuntimeError(flame_status_code(status), flame_status_message(status));
}

namespace detail {

/// A reference to a C handle.
template <typename T, void (*Retain)(T *), void (*Release)(T *)> class Handle {
public:
  Handle() = default;
  Handle(const Handle &other) : object(other.object) { Retain(object); }
  Handle(Handle &&other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Handle &operator=(Handle other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  ~Handle() { Release(object); }

  T *get() const { return object; }
  explicit operator bool() const { return object != nullptr; }
  /// Gives the reference to the caller.
  T *detach() { return std::exchange(object, nullptr); }

protected:
  explicit Handle(T *object) : object(object) {}
  T *object = nullptr;
};

template <typename T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr flame_dtype value = FLAME_F32; };
template <> struct DTypeOf<double> { static constexpr flame_dtype value = FLAME_F64; };
template <> struct DTypeOf<int8_t> { static constexpr flame_dtype value = FLAME_I8; };
template <> struct DTypeOf<int16_t> { static constexpr flame_dtype value = FLAME_I16; };
template <> struct DTypeOf<int32_t> { static constexpr flame_dtype value = FLAME_I32; };
template <> struct DTypeOf<int64_t> { static constexpr flame_dtype value = FLAME_I64; };
template <> struct DTypeOf<uint8_t> { static constexpr flame_dtype value = FLAME_U8; };
template <> struct DTypeOf<uint16_t> { static constexpr flame_dtype value = FLAME_U16; };
template <> struct DTypeOf<uint32_t> { static constexpr flame_dtype value = FLAME_U32; };
template <> struct DTypeOf<uint64_t> { static constexpr flame_dtype value = FLAME_U64; };
template <> struct DTypeOf<bool> { static constexpr flame_dtype value = FLAME_BOOL; };

} // namespace detail

/// A tensor, sequence or optional.
class Value : public detail::Handle<flame_value, flame_value_retain, flame_value_release> {
public:
  Value() = default;
  /// Takes over the caller's reference.
  static Value adopt(flame_value *value) { return Value(value); }

  /// An uninitialised tensor (strings: empty).
  static Value tensor(flame_dtype dtype, std::span<const int64_t> dims) {
    Value out;
    check(flame_tensor_create(nullptr, dtype, dims.data(), static_cast<int32_t>(dims.size()), &out.object));
    return out;
  }
  /// A tensor with a copy of `elements`, which must be as many as `dims` say.
  template <typename T> static Value tensor(const std::vector<int64_t> &dims, std::span<const T> elements) {
    Value out = tensor(detail::DTypeOf<T>::value, dims);
    if (out.elements() != elements.size())
      throw RuntimeError(FLAME_INVALID_ARGUMENT, "the dimensions do not match the number of elements");
    if (!elements.empty())
      std::memcpy(out.data(), elements.data(), elements.size_bytes());
    return out;
  }
  /// A view of the caller's memory, which must outlive the value.
  static Value wrap(flame_dtype dtype, std::span<const int64_t> dims, void *data, size_t bytes) {
    Value out;
    check(flame_tensor_wrap(dtype, dims.data(), static_cast<int32_t>(dims.size()), data, bytes, nullptr, nullptr,
                            &out.object));
    return out;
  }
  static Value strings(std::span<const int64_t> dims, std::span<const std::string> texts) {
    size_t count = 1;
    for (int64_t d : dims)
      count *= static_cast<size_t>(d);
    if (count != texts.size())
      throw RuntimeError(FLAME_INVALID_ARGUMENT, "the dimensions do not match the number of strings");
    std::vector<const char *> pointers;
    std::vector<size_t> lengths;
    for (const std::string &text : texts) {
      pointers.push_back(text.data());
      lengths.push_back(text.size());
    }
    Value out;
    check(flame_tensor_from_strings(dims.data(), static_cast<int32_t>(dims.size()), pointers.data(), lengths.data(),
                                    &out.object));
    return out;
  }
  static Value sequence(flame_dtype dtype, std::span<const Value> items) {
    std::vector<flame_value *> raw;
    for (const Value &item : items)
      raw.push_back(item.get());
    Value out;
    check(flame_sequence_create(dtype, raw.data(), raw.size(), &out.object));
    return out;
  }
  /// An optional; an empty Value gives an empty optional.
  static Value optional(const Value &content) {
    Value out;
    check(flame_optional_create(content.get(), &out.object));
    return out;
  }

  flame_kind kind() const { return flame_value_kind(object); }
  flame_dtype dtype() const { return flame_value_dtype(object); }
  bool isTensor() const { return object && kind() == FLAME_TENSOR; }

  std::span<const int64_t> dims() const {
    return {flame_tensor_dims(object), static_cast<size_t>(flame_tensor_rank(object))};
  }
  size_t elements() const { return flame_tensor_elements(object); }
  size_t bytes() const { return flame_tensor_bytes(object); }
  void *data() const { return flame_tensor_data(object); }
  /// The elements; throws where T is not the element type.
  template <typename T> std::span<T> as() const {
    if (!isTensor() || dtype() != detail::DTypeOf<std::remove_const_t<T>>::value)
      throw RuntimeError(FLAME_INVALID_ARGUMENT,
                         std::string("the tensor's element type is ") + flame_dtype_name(dtype()));
    return {static_cast<T *>(data()), elements()};
  }
  /// A copy in CPU memory, wherever the tensor is.
  Value copy() const {
    Value out;
    check(flame_tensor_copy(object, &out.object));
    return out;
  }
  /// Number of the GPU that the tensor is on; -1: CPU memory.
  int device() const { return flame_tensor_device(object); }
  std::string_view string(size_t index) const {
    const char *text;
    size_t length;
    check(flame_tensor_string(object, index, &text, &length));
    return {text, length};
  }

  /// Items of a sequence; of an optional: 0 or 1.
  size_t length() const {
    return kind() == FLAME_OPTIONAL ? static_cast<size_t>(flame_optional_has(object)) : flame_sequence_length(object);
  }
  Value at(size_t index) const {
    Value out;
    check(kind() == FLAME_OPTIONAL ? flame_optional_get(object, &out.object)
                                   : flame_sequence_at(object, index, &out.object));
    return out;
  }

private:
  explicit Value(flame_value *value) : Handle(value) {}
  friend class Session;
};

/// flame_options with its size set.
struct Options : flame_options {
  Options() : flame_options{} { struct_size = sizeof(flame_options); }
};

class Module : public detail::Handle<flame_module, flame_module_retain, flame_module_release> {
public:
  Module() = default;
  static Module load(const std::string &path, const Options &options = {}) {
    Module out;
    check(flame_module_load(path.c_str(), &options, &out.object));
    return out;
  }
  static Module loadMemory(std::span<const uint8_t> bytes, const Options &options = {}) {
    Module out;
    check(flame_module_load_memory(bytes.data(), bytes.size(), &options, &out.object));
    return out;
  }

  std::string_view name() const { return flame_module_name(object); }
  std::string_view producer() const { return flame_module_producer(object); }
  int threads() const { return flame_module_threads(object); }
  std::vector<std::pair<std::string, std::string>> properties() const {
    std::vector<std::pair<std::string, std::string>> out;
    const char *key, *value;
    for (size_t i = 0; flame_module_property(object, i, &key, &value); ++i)
      out.emplace_back(key, value);
    return out;
  }
  std::vector<flame_port> inputs() const {
    std::vector<flame_port> out(flame_module_input_count(object));
    for (size_t i = 0; i < out.size(); ++i)
      check(flame_module_input(object, i, &out[i]));
    return out;
  }
  std::vector<flame_port> outputs() const {
    std::vector<flame_port> out(flame_module_output_count(object));
    for (size_t i = 0; i < out.size(); ++i)
      check(flame_module_output(object, i, &out[i]));
    return out;
  }
  /// As flame_module_weight_bytes.
  struct Weights {
    uint64_t bytes, loading;
  };
  Weights weightBytes() const {
    Weights out{};
    flame_module_weight_bytes(object, &out.bytes, &out.loading);
    return out;
  }
  struct Planned {
    uint64_t bytes;
    bool exact;
  };
  /// The peak of a run with inputs of these shapes.
  Planned plannedBytes(std::span<const std::vector<int64_t>> shapes) const {
    std::vector<flame_shape> raw;
    for (const auto &dims : shapes)
      raw.push_back({static_cast<int32_t>(dims.size()), dims.data()});
    Planned out{};
    int exact = 0;
    check(flame_module_planned_bytes(object, raw.data(), raw.size(), &out.bytes, &exact));
    out.exact = exact != 0;
    return out;
  }
};

class Session : public detail::Handle<flame_session, flame_session_retain, flame_session_release> {
public:
  Session() = default;
  explicit Session(const Module &module) { check(flame_session_create(module.get(), &object)); }

  std::vector<Value> run(std::span<const Value> inputs, size_t outputCount) const {
    std::vector<const flame_value *> raw;
    for (const Value &input : inputs)
      raw.push_back(input.get());
    std::vector<Value> outputs(outputCount);
    std::vector<flame_value *> results(outputCount);
    check(flame_session_run(object, raw.data(), raw.size(), results.data(), results.size()));
    for (size_t i = 0; i < outputCount; ++i)
      outputs[i] = Value::adopt(results[i]);
    return outputs;
  }
  /// Writes the results into these tensors; one that is an input, too, is donated (flame_session_run).
  void runInto(std::span<const Value> inputs, std::span<const Value> outputs) const {
    std::vector<const flame_value *> raw;
    std::vector<flame_value *> results;
    for (const Value &input : inputs)
      raw.push_back(input.get());
    for (const Value &output : outputs)
      results.push_back(output.get());
    check(flame_session_run(object, raw.data(), raw.size(), results.data(), results.size()));
  }
  void cancel() const { flame_session_cancel(object); }
  /// As flame_session_upload.
  Value upload(const Value &tensor) const {
    Value out;
    check(flame_session_upload(object, tensor.get(), &out.object));
    return out;
  }
  /// Outputs stay in the GPU's memory.
  void deviceOutputs(bool enable) const { check(flame_session_device_outputs(object, enable)); }
  /// As flame_session_wait.
  void wait() const { check(flame_session_wait(object)); }
  /// As flame_session_set_stream.
  void setStream(void *stream, bool enable = true) const { check(flame_session_set_stream(object, stream, enable)); }
};

} // namespace flame

#endif
