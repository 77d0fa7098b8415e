//===- TestSupport.h - loading, running and comparing in the runtime's tests -===//
#ifndef FLAME_TEST_UNIT_RUNTIME_TESTSUPPORT_H
#define FLAME_TEST_UNIT_RUNTIME_TESTSUPPORT_H

#include "PlanBuilder.h"
#include "flame_rt.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace flame::test {

template <typename T, void (*Release)(T *)> struct Releaser {
  void operator()(T *object) const { Release(object); }
};
using ModulePtr = std::unique_ptr<flame_module, Releaser<flame_module, flame_module_release>>;
using SessionPtr = std::unique_ptr<flame_session, Releaser<flame_session, flame_session_release>>;
using ValuePtr = std::unique_ptr<flame_value, Releaser<flame_value, flame_value_release>>;

/// Code and message of a status, which it frees.
struct Result {
  Result(flame_status *status) : code(flame_status_code(status)), message(flame_status_message(status)) {
    flame_status_free(status);
  }
  bool ok() const { return code == FLAME_OK; }
  flame_code code;
  std::string message;
};

#define EXPECT_OK(expression)                                                                                          \
  do {                                                                                                                 \
    ::flame::test::Result flameResult(expression);                                                                     \
    EXPECT_TRUE(flameResult.ok()) << flameResult.message;                                                              \
  } while (0)
#define ASSERT_OK(expression)                                                                                          \
  do {                                                                                                                 \
    ::flame::test::Result flameResult(expression);                                                                     \
    ASSERT_TRUE(flameResult.ok()) << flameResult.message;                                                              \
  } while (0)
/// The expression fails with this code and a message that contains the text.
#define EXPECT_FAILS(expression, expectedCode, text)                                                                   \
  do {                                                                                                                 \
    ::flame::test::Result flameResult(expression);                                                                     \
    EXPECT_EQ(flameResult.code, expectedCode) << flameResult.message;                                                  \
    EXPECT_NE(flameResult.message.find(text), std::string::npos) << flameResult.message;                               \
  } while (0)

inline flame_options defaultOptions() {
  flame_options options{};
  options.struct_size = sizeof(options);
  options.threads = 2;
  options.flags = FLAME_POISON_FILL;
  return options;
}

inline Result tryLoad(const std::vector<uint8_t> &bytes, ModulePtr &module,
                      const flame_options &options = defaultOptions()) {
  flame_module *m = nullptr;
  Result result(flame_module_load_memory(bytes.data(), bytes.size(), &options, &m));
  module.reset(m);
  return result;
}

inline ModulePtr load(const std::vector<uint8_t> &bytes, const flame_options &options = defaultOptions()) {
  ModulePtr module;
  Result result = tryLoad(bytes, module, options);
  EXPECT_TRUE(result.ok()) << result.message;
  return module;
}

inline SessionPtr session(const ModulePtr &module) {
  flame_session *s = nullptr;
  Result result(flame_session_create(module.get(), &s));
  EXPECT_TRUE(result.ok()) << result.message;
  return SessionPtr(s);
}

template <typename T> constexpr flame_dtype dtypeOf();
template <> constexpr flame_dtype dtypeOf<float>() { return FLAME_F32; }
template <> constexpr flame_dtype dtypeOf<double>() { return FLAME_F64; }
template <> constexpr flame_dtype dtypeOf<int64_t>() { return FLAME_I64; }
template <> constexpr flame_dtype dtypeOf<int32_t>() { return FLAME_I32; }
template <> constexpr flame_dtype dtypeOf<int8_t>() { return FLAME_I8; }
template <> constexpr flame_dtype dtypeOf<uint8_t>() { return FLAME_U8; }
template <> constexpr flame_dtype dtypeOf<bool>() { return FLAME_BOOL; }

template <typename T> ValuePtr tensor(std::vector<int64_t> dims, const std::vector<T> &values) {
  flame_value *v = nullptr;
  Result result(flame_tensor_create(nullptr, dtypeOf<T>(), dims.data(), dims.size(), &v));
  EXPECT_TRUE(result.ok()) << result.message;
  EXPECT_EQ(flame_tensor_elements(v), values.size());
  for (size_t i = 0; i < values.size(); ++i)
    static_cast<T *>(flame_tensor_data(v))[i] = values[i];
  return ValuePtr(v);
}

inline ValuePtr strings(std::vector<int64_t> dims, const std::vector<std::string> &values) {
  std::vector<const char *> pointers;
  std::vector<size_t> lengths;
  for (const std::string &value : values) {
    pointers.push_back(value.data());
    lengths.push_back(value.size());
  }
  flame_value *v = nullptr;
  Result result(flame_tensor_from_strings(dims.data(), dims.size(), pointers.data(), lengths.data(), &v));
  EXPECT_TRUE(result.ok()) << result.message;
  return ValuePtr(v);
}

template <typename T> std::vector<T> values(const ValuePtr &value) {
  if (!value || flame_value_kind(value.get()) != FLAME_TENSOR || flame_value_dtype(value.get()) != dtypeOf<T>()) {
    ADD_FAILURE() << "not a tensor of " << flame_dtype_name(dtypeOf<T>());
    return {};
  }
  const T *data = static_cast<const T *>(flame_tensor_data(value.get()));
  return std::vector<T>(data, data + flame_tensor_elements(value.get()));
}

inline std::vector<std::string> stringValues(const ValuePtr &value) {
  std::vector<std::string> out;
  for (size_t i = 0; i < flame_tensor_elements(value.get()); ++i) {
    const char *text;
    size_t length;
    Result result(flame_tensor_string(value.get(), i, &text, &length));
    EXPECT_TRUE(result.ok()) << result.message;
    out.emplace_back(text, length);
  }
  return out;
}

inline std::vector<int64_t> dims(const ValuePtr &value) {
  const int64_t *d = flame_tensor_dims(value.get());
  return std::vector<int64_t>(d, d + flame_tensor_rank(value.get()));
}

/// Runs and returns the outputs; on an error `result` has it and the outputs are empty.
inline Result tryRun(const SessionPtr &session, const std::vector<const flame_value *> &inputs, size_t outputCount,
                     std::vector<ValuePtr> &outputs) {
  std::vector<flame_value *> raw(outputCount);
  Result result(flame_session_run(session.get(), inputs.data(), inputs.size(), raw.data(), raw.size()));
  outputs.clear();
  for (flame_value *v : raw)
    outputs.emplace_back(v);
  return result;
}

template <typename... Inputs>
std::vector<ValuePtr> run(const SessionPtr &session, size_t outputCount, const Inputs &...inputs) {
  std::vector<ValuePtr> outputs;
  Result result = tryRun(session, {inputs.get()...}, outputCount, outputs);
  EXPECT_TRUE(result.ok()) << result.message;
  return outputs;
}

} // namespace flame::test

#endif
